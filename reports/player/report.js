"use strict";
// Everything works without this file: native players, tables in the order of their ranks.
document.documentElement.classList.add("js");

// ---- sortable leaderboards: the rank column always shows the ranks of the column sorted by
function sortBy(table, head, wanted) {
  const index = head.cellIndex;
  const bestFirst = head.dataset.direction === "higher" ? "descending" : "ascending";
  const reverse = bestFirst === "ascending" ? "descending" : "ascending";
  const order = wanted || (head.getAttribute("aria-sort") === bestFirst ? reverse : bestFirst);
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

function filterBy(table, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of table.querySelectorAll("tbody tr:not(.group)")) {
    const name = row.querySelector(".system").textContent.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word));
  }
}

// An address says what a reader sees: #set-NAME~sort=COLUMN.ascending~filter=TEXT
function remember(table) {
  const head = table.tHead.querySelector("th[aria-sort]");
  const filter = table.closest(".board").querySelector(".filter");
  const parts = [table.closest("section").id];
  if (head && table.dataset.sorted) parts.push(`sort=${encodeURIComponent(head.dataset.column)}.${head.getAttribute("aria-sort")}`);
  if (filter && filter.value) parts.push(`filter=${encodeURIComponent(filter.value)}`);
  history.replaceState(null, "", `#${parts.join("~")}`);
}

function recall() {
  const [id, ...rest] = location.hash.slice(1).split("~");
  const section = id && document.getElementById(decodeURIComponent(id));
  if (!section) return;
  for (let box = section; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
  const table = section.querySelector("table.leaderboard");
  for (const [key, value] of table ? rest.map((part) => part.split("=")) : []) {
    const text = decodeURIComponent(value || "");
    const [, column, order] = /^(.*)\.(ascending|descending)$/.exec(text) || [];
    const head = [...table.tHead.rows[0].cells].find((cell) => cell.dataset.column === column);
    const filter = table.closest(".board").querySelector(".filter");
    if (key === "sort" && column && head) {
      if (getComputedStyle(head).display === "none") table.closest(".board").querySelector(".all-columns").checked = true;
      table.dataset.sorted = "yes";
      sortBy(table, head, order);
    } else if (key === "filter" && filter) {
      filter.value = text;
      filterBy(table, text);
    }
  }
  section.scrollIntoView({ behavior: "instant" });
}

for (const table of document.querySelectorAll("table.leaderboard")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      table.dataset.sorted = "yes";
      sortBy(table, head);
      remember(table);
    });
  }
  const filter = table.closest(".board").querySelector(".filter");
  if (!filter) continue;
  filter.addEventListener("input", () => {
    filterBy(table, filter.value);
    remember(table);
  });
  filter.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    filter.value = "";
    filterBy(table, "");
    remember(table);
  });
}
if (!document.body.dataset.set) {
  recall();
  window.addEventListener("hashchange", recall);
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
