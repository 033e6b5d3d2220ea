"use strict";
// The items of a set: a page of them is one small script in data/, read when it is wanted (fetch() is refused where
// pages are opened from disk). Texts only ever become text nodes. An address is #p3 or #p3.item-NAME.

const set = document.body.dataset.set;
const pages = Number(document.body.dataset.pages);
const place = document.getElementById("items");
const head = document.getElementById("outputs").content.firstElementChild;
const columns = [...head.querySelectorAll("th.score")];
const hasSeeds = head.querySelector("th.seed") !== null;
let shown = 0;
let index = null;

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== "") element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function load(name) {
  const script = make("script", { src: `data/items-${set}-${name}.js` });
  script.addEventListener("error", () => {
    place.replaceChildren(make("p", { class: "box warning" }, `data/items-${set}-${name}.js cannot be read.`));
  });
  document.head.append(script);
}

function player([url, note, time, seconds], label) {
  if (!url) return make("span", { class: "missing" }, `⚠ ${note}`);
  const audio = make("audio", { controls: "controls", preload: "none", src: url, "aria-label": label });
  const about = { class: "player", "data-label": label, "data-seconds": seconds };
  return make("span", about, audio, make("span", { class: "clock" }, time));
}

function alignment([pieces, summary], lang) {
  const text = make("p", { class: "alignment", dir: "auto", lang });
  for (const [op, said, heard] of pieces) {
    if (op === "equal") text.append(heard);
    else if (op === "insert") text.append(make("ins", { title: "inserted" }, heard));
    else if (op === "delete") text.append(make("del", { title: "deleted" }, said));
    else text.append(make("span", { class: "sub", title: "substituted" }, make("del", {}, said), " ", make("ins", {}, heard)));
    text.append(" ");
  }
  if (summary) text.append(make("small", {}, summary));
  return text;
}

function score(value, i) {
  const [text, title] = Array.isArray(value) ? value : [value, null];
  const more = columns[i].classList.contains("more") ? " more" : "";
  return make("td", { class: `num${title === null ? "" : " missing"}${more}`, title }, text);
}

function row(system, output, first, count, item) {
  const [seed, sound, failure, scores, words, notes, picture] = output;
  const line = make("tr");
  if (first) {
    const about = { scope: "rowgroup", rowspan: count, class: "system" };
    line.append(make("th", about, make("bdi", {}, system[0]), " ", make("span", { class: "kind" }, system[1])));
  }
  if (hasSeeds) line.append(make("td", { class: "num seed" }, String(seed)));
  const label = `${system[0]} on ${item.id}`;
  const heard = sound ? player(sound, label) : make("span", { class: "missing bad" }, `✗ ${failure}`);
  line.append(make("td", { class: "sound" }, heard), ...scores.map(score));
  const told = make("td", { class: "heard" });
  if (words) told.append(alignment(words, item.lang));
  told.append(...notes.map((note) => make("small", { class: "note" }, note)));
  if (picture) {
    const about = { class: "picture", loading: "lazy", width: 320, height: 104, src: picture };
    told.append(make("img", { ...about, alt: `Waveform and spectrogram of ${label}` }));
  }
  line.append(told);
  return line;
}

function table(item, systems) {
  const box = head.cloneNode(true);
  box.setAttribute("aria-label", `Outputs for ${item.id}`);
  for (const [number, outputs] of item.systems) {
    const rows = outputs.map((output, i) => row(systems[number], output, i === 0, outputs.length, item));
    box.firstElementChild.append(make("tbody", {}, ...rows));
  }
  return box;
}

function inputs(item) {
  const list = make("dl", { class: "inputs" });
  for (const [label, sound, text] of item.inputs) {
    const told = make("dd", {}, player(sound, `${label} of ${item.id}`));
    if (text) told.append(make("span", { class: "prompt-text", dir: "auto", lang: item.lang }, text));
    list.append(make("div", {}, make("dt", {}, label[0].toUpperCase() + label.slice(1)), told));
  }
  return item.inputs.length ? list : null;
}

function article(item, systems) {
  const link = make("a", { href: `#${item.anchor}` }, make("bdi", {}, item.id));
  const about = make("p", { class: "about meta" }, make("span", {}, item.language || "no language"));
  if (item.cluster) about.append(make("span", {}, "cluster ", make("bdi", {}, item.cluster)));
  const text = item.text ? make("blockquote", { dir: "auto", lang: item.lang }, item.text) : null;
  const title = make("h2", { id: `${item.anchor}-title` }, link);
  const head = { class: "item", id: item.anchor, "aria-labelledby": `${item.anchor}-title`, tabindex: -1 };
  return make("article", head, title, about, text, inputs(item), table(item, systems));
}

function turn() {
  const [, page, item] = /^#p(\d+)(\..+)?$/.exec(location.hash) || [null, "1", null];
  const wanted = Math.min(Math.max(Number(page), 1), pages);
  if (wanted === shown) jump();
  else load(wanted);
}

function jump() {
  const wanted = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (const item of place.querySelectorAll(".current")) item.classList.remove("current");
  if (!wanted) return;
  wanted.classList.add("current");
  wanted.scrollIntoView();
  wanted.focus({ preventScroll: true });
}

function pagers() {
  const near = [...Array(pages).keys()].map((i) => i + 1).filter((n) => n === 1 || n === pages || Math.abs(n - shown) < 3);
  for (const pager of document.querySelectorAll(".pager")) {
    pager.hidden = pages < 2;
    pager.replaceChildren();
    const link = (n, text, about) => pager.append(make("a", { href: `#p${n}`, ...about }, text), " ");
    if (shown > 1) link(shown - 1, "← Previous", { rel: "prev" });
    near.forEach((n, i) => {
      if (i && n > near[i - 1] + 1) pager.append("… ");
      link(n, String(n), n === shown ? { "aria-current": "page" } : {});
    });
    if (shown < pages) link(shown + 1, "Next →", { rel: "next" });
  }
}

// called by data/items-SET-N.js
function metisItems(page, first, systems, items) {
  shown = page;
  players.length = 0;
  place.replaceChildren(...items.map((item) => article(item, systems)));
  place.querySelectorAll(".player").forEach(upgrade);
  document.querySelector(".shown").textContent = items.length ? `, ${first} to ${first + items.length - 1} shown` : "";
  pagers();
  if (location.hash.includes(".")) jump();
  else window.scrollTo(0, 0);
}

// called by data/items-SET-index.js
function metisIndex(entries) {
  index = entries;
  search();
}

function search() {
  const words = document.getElementById("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length && index === null) {
    load("index");
    return;
  }
  const hits = words.length ? index.filter(([id, , text]) => words.every((w) => `${id} ${text}`.toLowerCase().includes(w))) : [];
  const links = hits.slice(0, 50).map(([id, anchor]) => make("li", {}, make("a", { href: `#${anchor}` }, make("bdi", {}, id))));
  if (hits.length > 50) links.push(make("li", {}, `and ${hits.length - 50} more`));
  if (words.length && !hits.length) links.push(make("li", {}, "nothing found"));
  document.getElementById("found").replaceChildren(...links);
}

document.getElementById("find").addEventListener("input", search);
document.addEventListener("keydown", (event) => {
  const move = { "[": -1, "]": 1 }[event.key];
  if (!move || event.target.matches("input[type=search]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const wanted = shown + move;
  if (wanted >= 1 && wanted <= pages) location.hash = `#p${wanted}`;
});
window.addEventListener("hashchange", turn);
turn();
