"use strict";
// The logic first, without a page: it is tested on its own.

// Which form a rater without one in the link gets: FNV-1a of the name, so that coming back means the same form.
function formOf(name, count) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return (hash % count) + 1;
}

// rater and form of the address (?rater=NAME&form=K); form null when it is absent or not one of the test's.
function fromAddress(search, forms) {
  const query = new URLSearchParams(search);
  const form = Number(query.get("form"));
  const rater = (query.get("rater") || "").trim().slice(0, 64);
  return { rater, form: Number.isInteger(form) && form >= 1 && form <= forms ? form : null };
}

function emptyState(rater, form, now) {
  return { rater, form, started: now, finished: null, at: 0, answers: {} };
}

// What was kept in the browser, if it is of this rater and form; else null.
function restored(text, rater, form) {
  try {
    const state = JSON.parse(text);
    const fits = state.rater === rater && state.form === form && Number.isInteger(state.at) && typeof state.answers === "object";
    return fits && state.answers !== null ? state : null;
  } catch {
    return null;
  }
}

function answerOf(state, trial) {
  if (!Object.hasOwn(state.answers, trial)) state.answers[trial] = { value: null, plays: [], seconds: 0 };
  return state.answers[trial];
}

function heardAll(answer, clips) {
  return Array.from({ length: clips }, (_, k) => answer.plays[k] || 0).every((n) => n > 0);
}

// The clip that space plays: the first not yet heard to its end, else the one after the last played.
function nextClip(answer, clips, last) {
  for (let k = 0; k < clips; k++) if (!answer.plays[k]) return k;
  return last === null ? 0 : (last + 1) % clips;
}

function rated(test, state) {
  return test.forms[state.form - 1].filter((t) => Object.hasOwn(state.answers, t) && state.answers[t].value !== null);
}

// The file that `metis-bench listen import` reads.
function ratingsFile(test, state) {
  const ratings = rated(test, state).map((trial) => {
    const { value, plays, seconds } = state.answers[trial];
    return { trial, value, plays: test.trials[trial].map((_, k) => plays[k] || 0), seconds: Math.round(seconds * 10) / 10 };
  });
  const { rater, form, started, finished } = state;
  return { format: "metis-bench-ratings", schema: 1, test: test.test, hash: test.hash, rater, form, started, finished, ratings };
}

function start(test) {
  const by = (id) => document.getElementById(id);
  const values = test.scale.options.map(([value]) => value);
  const radios = [...document.querySelectorAll("input[name=rating]")];
  const buttons = [...document.querySelectorAll(".clip")];
  const address = fromAddress(location.search, test.forms.length);
  let state = null;
  let form = [];
  let sounds = [];
  let last = null;
  let shownAt = 0;

  const place = (rater) => `metis-bench-listen:${test.hash}:${rater}`;
  const say = (text) => { by("status").textContent = text; };
  const complain = (text) => { by("problem").textContent = text; by("problem").hidden = !text; };
  const trial = () => form[state.at];
  const answer = () => answerOf(state, trial());
  const keep = () => {
    try {
      localStorage.setItem(place(state.rater), JSON.stringify(state));
    } catch {
      complain("This browser does not keep your progress: finish the test without closing the page.");
    }
  };
  const show = (name) => {
    for (const id of ["start", "trial", "end"]) by(id).hidden = id !== name;
    by(`${name}-head`).focus();
  };
  const stop = () => sounds.forEach((sound) => sound.pause());
  const clock = () => {
    if (state && form[state.at]) answer().seconds += (performance.now() - shownAt) / 1000;
    shownAt = performance.now();
  };
  const source = (clip) => test.inline[clip] || `audio/${clip}.wav`;

  function refresh() {
    const mine = answer();
    const open = heardAll(mine, sounds.length);
    by("scale").disabled = !open;
    for (const radio of radios) radio.checked = mine.value === Number(radio.value);
    by("on").disabled = mine.value === null;
    by("back").disabled = state.at === 0;
    by("bar").value = rated(test, state).length / form.length;
    buttons.forEach((button, k) => {
      button.querySelector(".sign").textContent = sounds[k].paused ? "▶" : "❚❚";
      button.querySelector(".state").textContent = mine.plays[k] ? "heard" : "";
    });
  }

  function open(index) {
    stop();
    state.at = index;
    last = null;
    shownAt = performance.now();
    by("trial-head").textContent = `Rating ${index + 1} of ${form.length}`;
    document.title = `${index + 1}/${form.length} ${test.title}`;
    sounds = test.trials[trial()].map((clip, k) => prepare(new Audio(source(clip)), k, trial()));
    for (const clip of test.trials[form[index + 1]] || []) new Audio(source(clip)).preload = "auto";
    say("");
    show("trial");
    refresh();
    keep();
  }

  function prepare(sound, k, name) {
    const bar = buttons[k].querySelector("progress");
    const current = () => sounds[k] === sound;
    sound.preload = "auto";
    bar.value = 0;
    sound.addEventListener("timeupdate", () => { if (current() && sound.duration) bar.value = sound.currentTime / sound.duration; });
    sound.addEventListener("pause", () => { if (current()) refresh(); });
    sound.addEventListener("error", () => { if (current()) complain("A clip cannot be played. Reload the page; if that does not help, tell whoever asked you."); });
    sound.addEventListener("ended", () => {
      const plays = answerOf(state, name).plays;
      while (plays.length <= k) plays.push(0);
      plays[k] += 1;
      keep();
      if (!current()) return;
      bar.value = 1;
      refresh();
      if (heardAll(answer(), sounds.length) && answer().value === null) say("You can rate now.");
    });
    return sound;
  }

  function play(k) {
    const sound = sounds[k];
    if (!sound.paused) return sound.pause();
    stop();
    last = k;
    complain("");
    return sound.play().then(refresh, (error) => { if (error.name !== "AbortError") complain("A clip cannot be played. Reload the page."); });
  }

  function rate(value) {
    if (by("scale").disabled) return say("Listen to the end first.");
    answer().value = value;
    refresh();
    keep();
    return say(state.at + 1 < form.length ? "Rated. → goes on." : "Rated. → ends the test.");
  }

  function go(step) {
    if (step > 0 && answer().value === null) return say("Rate this first.");
    if (state.at + step < 0) return undefined;
    clock();
    if (state.at + step < form.length) return open(state.at + step);
    stop();
    const missing = form.findIndex((t) => answerOf(state, t).value === null);
    if (missing >= 0) return open(missing);
    state.finished = state.finished || new Date().toISOString();
    keep();
    say("");
    return show("end");
  }

  function save() {
    const name = state.rater.replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 40);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(ratingsFile(test, state), null, 1)], { type: "application/json" }));
    link.download = `ratings-${test.test}-${name || "rater"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say(`Saved as ${link.download}.`);
  }

  function send() {
    by("send").disabled = true;
    say("Sending.");
    const body = JSON.stringify(ratingsFile(test, state));
    fetch(test.submit, { method: "POST", headers: { "Content-Type": "application/json" }, body, credentials: "omit" })
      .then((reply) => { if (!reply.ok) throw new Error(String(reply.status)); say("Sent. You may close the page."); })
      .catch((error) => { by("send").disabled = false; say(`Not sent (${error.message}). Try again, or download the ratings.`); });
  }

  by("enter").addEventListener("submit", (event) => {
    event.preventDefault();
    const rater = by("rater").value.trim();
    if (!rater) return;
    const mine = rater === address.rater && address.form !== null ? address.form : formOf(rater, test.forms.length);
    form = test.forms[mine - 1];
    let kept = null;
    try { kept = localStorage.getItem(place(rater)); } catch { kept = null; }
    state = restored(kept, rater, mine) || emptyState(rater, mine, new Date().toISOString());
    open(Math.min(Math.max(state.at, 0), form.length - 1));
  });
  buttons.forEach((button, k) => button.addEventListener("click", () => play(k)));
  radios.forEach((radio) => radio.addEventListener("change", () => rate(Number(radio.value))));
  by("on").addEventListener("click", () => go(1));
  by("back").addEventListener("click", () => go(-1));
  by("review").addEventListener("click", () => open(form.length - 1));
  by("save").addEventListener("click", save);
  if (by("send")) by("send").addEventListener("click", send);
  document.addEventListener("keydown", (event) => {
    if (by("trial").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
    const number = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    const does = {
      " ": event.target.closest("button") ? null : () => play(nextClip(answer(), sounds.length, last)),
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
    };
    const act = number >= 1 && number <= values.length ? () => rate(values[number - 1]) : does[event.key];
    if (!act || (event.repeat && event.key !== "Tab")) return;
    event.preventDefault();
    act();
  });
  by("rater").value = address.rater;
  show("start");
  (address.rater ? by("begin") : by("rater")).focus();
}

if (typeof document === "undefined") module.exports = { formOf, fromAddress, emptyState, restored, answerOf, heardAll, nextClip, rated, ratingsFile };
else start(JSON.parse(document.getElementById("test").textContent));
