"use strict";
// Everything works without this file: native players, tables in the order of their ranks.
document.documentElement.classList.add("js");

// ---- sortable leaderboards: the rank column always shows the ranks of the column sorted by
function sortBy(table, head) {
  const index = head.cellIndex;
  const bestFirst = head.dataset.direction === "higher" ? "descending" : "ascending";
  const reverse = bestFirst === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === bestFirst ? reverse : bestFirst;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const isText = head.dataset.kind === "text";
  const compare = (a, b) => {
    if (isText) return sign * a.cells[index].textContent.localeCompare(b.cells[index].textContent);
    const [x, y] = [a, b].map((row) => row.cells[index].dataset.value);
    if (x === "" || y === "") return (x === "") - (y === ""); // no value: last, whatever the order
    return sign * (Number(x) - Number(y));
  };
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    body.append(...rows.sort(compare));
    if (isText) continue;
    for (const row of rows) {
      const cell = row.cells[index];
      row.cells[0].textContent = cell.dataset.rank || "–";
      row.cells[0].title = cell.dataset.why;
    }
  }
  const by = table.closest(".board").querySelector(".ranked-by");
  if (!isText && by) by.textContent = head.dataset.label;
}

for (const table of document.querySelectorAll("table.leaderboard")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sortBy(table, head));
  }
}

// ---- compact players: one at a time, nothing is loaded before it is played
const players = [];
let current = null;

function clock(seconds) {
  const whole = seconds > 0 ? Math.max(1, Math.round(seconds)) : 0;
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function start(player) {
  if (current && current !== player) {
    const keep = document.getElementById("keep");
    const sameItem = current.box.closest("article") === player.box.closest("article");
    const position = current.audio.currentTime;
    if (keep && keep.checked && sameItem && !current.audio.paused && position < player.length()) {
      player.audio.currentTime = position;
    }
    current.audio.pause();
  }
  current = player;
  player.audio.play().catch(() => player.fail());
}

function toggle(player) {
  if (player.audio.paused) start(player);
  else player.audio.pause();
}

function upgrade(box) {
  const audio = box.querySelector("audio");
  const time = box.querySelector(".clock");
  const button = document.createElement("button");
  const seek = document.createElement("input");
  const planned = Number(box.dataset.seconds);
  const player = { box, audio, button, length: () => audio.duration || planned };
  const show = () => {
    const length = player.length();
    seek.value = length ? (1000 * audio.currentTime) / length : 0;
    seek.style.setProperty("--done", `${seek.value / 10}%`);
    time.textContent = clock(audio.paused && !audio.currentTime ? length : audio.currentTime);
    box.classList.toggle("playing", !audio.paused);
    button.setAttribute("aria-label", `${audio.paused ? "Play" : "Pause"} ${box.dataset.label}`);
  };
  player.fail = () => {
    if (!audio.error) return; // interrupted by another player, not broken
    box.classList.add("broken");
    time.textContent = "cannot play";
  };
  button.type = "button";
  Object.assign(seek, { type: "range", min: 0, max: 1000, step: 1 });
  seek.setAttribute("aria-label", `Position in ${box.dataset.label}`);
  audio.controls = false;
  box.prepend(button, seek);
  button.addEventListener("click", () => toggle(player));
  seek.addEventListener("input", () => {
    audio.currentTime = (seek.value / 1000) * player.length();
    show();
  });
  for (const event of ["play", "pause", "timeupdate", "ended", "durationchange"]) audio.addEventListener(event, show);
  audio.addEventListener("ended", () => { audio.currentTime = 0; });
  audio.addEventListener("error", player.fail);
  button.addEventListener("keydown", (event) => step(event, player));
  players.push(player);
  show();
}

function step(event, player) {
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const next = move && players[players.indexOf(player) + move];
  if (!next) return;
  event.preventDefault();
  next.button.focus();
  if (!player.audio.paused) start(next);
}

document.querySelectorAll(".player").forEach(upgrade);
