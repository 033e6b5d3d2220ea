"""A blinded listening test from a finished run: the folder to publish, and the key that stays with the researcher.

    OUT/publish/index.html  OUT/publish/audio/<random id>.wav        OUT/key.json  OUT/raters.csv

Everything follows from the run's audio and the seed: the same seed makes the same test, byte by byte.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import Audio
from metis_bench.engine.run import write_json
from metis_bench.errors import UsageError
from metis_bench.hashing import sha256_bytes, sha256_json
from metis_bench.listen import clips
from metis_bench.listen.design import SCALES, Test, Trial, insert_evenly, latin, spread, windows
from metis_bench.listen.key import KEY_FORMAT, SCHEMA
from metis_bench.listen.page import checked_submit, render_page
from metis_bench.listen.select import PROMPT, REFERENCE, Chosen, Material, select
from metis_bench.report.data import Item
from reference_models.seeds import derive_seed

MAX_RATE = 48_000
CHECKS = {"qmos": 5, "smos": 5, "cmos": 3}  # the most beeps of an attention check
AGE = 946_684_800  # of every published file (2000-01-01): times of writing tell nothing


@dataclass(frozen=True)
class Options:
    """What `listen build` is asked for. systems (): all that rank; sets (): all; per_rater None: everything."""

    test: Test
    systems: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    reference: str | None = None
    items: int | None = None
    raters: int = 24
    per_rater: int | None = None
    anchors: int = 2
    checks: int = 3
    seed: int = 0
    loudness: float | None = None
    inline: bool = False
    submit: str | None = None
    title: str = "Listening test"


@dataclass(frozen=True)
class Built:
    """A written test. notes: what was left out, or is not as one may expect."""

    folder: Path
    test: str
    trials: int
    per_rater: int
    forms: int
    clips: int
    exposure: tuple[int, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        facts = {"test": self.test, "trials": self.trials, "per_rater": self.per_rater, "forms": self.forms}
        heard = {"clips": self.clips, "exposure": list(self.exposure), "notes": list(self.notes)}
        return {"folder": str(self.folder), **facts, **heard}


@dataclass
class _Draft:
    """Trials and wav files as they are made; ids are random, and so is their order on disk."""

    rng: np.random.Generator
    rate: int
    loudness: float | None
    prompts: dict[tuple[str, str], str] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def clip(self, audio: Audio) -> str:
        """Keep a clip as a file of its own; its id."""
        name = self._id(self.files)
        levelled = audio if self.loudness is None else clips.at_level(audio, self.loudness)
        self.files[name] = clips.anonymous_wav(levelled, self.rate, self.rng)
        return name

    def prompt(self, material: Material, item: Item) -> str:
        """An item's prompt, the same file wherever it is heard: a prompt of its own would mark a check or an anchor."""
        key = (item.set, item.item)
        if key not in self.prompts:
            self.prompts[key] = self.clip(material[item.set, item.item, PROMPT])
        return self.prompts[key]

    def trial(self, trial: Trial) -> str:
        """Keep a trial; its id."""
        name = self._id(self.trials)
        self.trials[name] = trial
        return name

    def _id(self, taken: dict[str, Any]) -> str:
        while (name := self.rng.bytes(6).hex()) in taken:
            pass
        return name


def build(run: Path, out: Path, options: Options, progress: Callable[[str, int, int], None]) -> Built:
    """Choose items, make every clip and write the test to `out`, which must be empty. Raises MetisBenchError."""
    checked_submit(options.submit)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", fix="choose another --out, or delete it")
    chosen, material = select(run, options, progress)
    for name in chosen.systems:
        if len(name) > 2 and name.casefold() in options.title.casefold():
            raise UsageError(
                f"the title names the system '{name}'", fix="choose a --title that tells listeners nothing"
            )
    # the run's audio is part of it: with the harness and the seed alone nobody can work out which id is whose
    identity = [options.test, chosen.identity(), options.seed, options.anchors, options.checks, options.loudness]
    rng = np.random.default_rng(derive_seed(options.seed, "listen", sha256_json(identity)))
    rate = min(MAX_RATE, max(a.rate for a in material.values()))
    draft = _Draft(rng, rate, options.loudness)
    cells = _system_trials(draft, chosen, material, options)
    extra = _anchor_trials(draft, chosen, material, options)
    checks = [_check_trial(draft, chosen, material, options, k) for k in range(options.checks)]
    forms, exposure = _forms(draft, cells, extra, checks, options)
    page = _page(draft, forms, options)
    key = _key(run, chosen, draft, page, options)
    _write(out, draft, page, key, options)
    per_rater = len(forms[0])
    notes = _notes(chosen, material, rate, options)
    return Built(out, page["test"], len(draft.trials), per_rater, len(forms), len(draft.files), exposure, notes)


def _system_trials(draft: _Draft, chosen: Chosen, material: Material, options: Options) -> list[tuple[str, ...]]:
    """The trials of each cell (item, system), in Latin order: one, or for CMOS one with each side first."""
    items, systems = draft.rng.permutation(len(chosen.items)), draft.rng.permutation(len(chosen.systems))
    out: list[tuple[str, ...]] = []
    for i, s in latin(len(items), len(systems)):
        item, system = chosen.items[items[i]], chosen.systems[systems[s]]
        own = draft.clip(material[item.set, item.item, system])
        if options.test == "cmos":
            other = draft.clip(material[item.set, item.item, str(options.reference)])
            pairs = ((other, own), 1), ((own, other), -1)
            out.append(tuple(draft.trial(Trial("system", c, item.set, item.item, system, sign)) for c, sign in pairs))
            continue
        heard = (draft.prompt(material, item), own) if options.test == "smos" else (own,)
        out.append((draft.trial(Trial("system", heard, item.set, item.item, system)),))
    return out


def _anchor_trials(draft: _Draft, chosen: Chosen, material: Material, options: Options) -> list[str]:
    """High and low anchors that every rater hears; none where the corpus has no references."""
    out = []
    for item, other in chosen.anchors:
        about = (item.set, item.item)
        reference = material[item.set, item.item, REFERENCE]
        if options.test == "smos":
            prompt = draft.prompt(material, item)
            high = (prompt, draft.clip(reference))
            out.append(draft.trial(Trial("high", high, *about)))
            if other is not None:
                stranger = draft.clip(material[other.set, other.item, REFERENCE])
                out.append(draft.trial(Trial("low", (prompt, stranger), *about)))
            continue
        good, bad = draft.clip(reference), draft.clip(clips.low_anchor(reference, draft.rng))
        if options.test == "cmos":
            sign = 1 if draft.rng.random() < 0.5 else -1
            out.append(draft.trial(Trial("high", (bad, good) if sign > 0 else (good, bad), *about, sign=sign)))
        else:
            out += [draft.trial(Trial("high", (good,), *about)), draft.trial(Trial("low", (bad,), *about))]
    return out


def _check_trial(draft: _Draft, chosen: Chosen, material: Material, options: Options, number: int) -> str:
    """A clip that beeps as often as the listener has to answer; nothing on the page tells it from the others."""
    most = CHECKS[options.test]
    count = 1 + (number + int(draft.rng.integers(most))) % most
    sound = clips.beeps(count, draft.rate)
    if options.test == "qmos":
        return draft.trial(Trial("check", (draft.clip(sound),), expect=count))
    if options.test == "smos":
        item = chosen.items[int(draft.rng.integers(len(chosen.items)))]
        prompt = draft.prompt(material, item)
        return draft.trial(Trial("check", (prompt, draft.clip(sound)), expect=count))
    pair = (draft.clip(clips.silence(sound.seconds, draft.rate)), draft.clip(sound))
    if draft.rng.random() < 0.5:
        return draft.trial(Trial("check", (pair[1], pair[0]), expect=-count))
    return draft.trial(Trial("check", pair, expect=count))


def _forms(
    draft: _Draft, cells: Sequence[tuple[str, ...]], extra: Sequence[str], checks: Sequence[str], options: Options
) -> tuple[list[list[str]], tuple[int, int]]:
    """The order of trials of each form; and how often the least and the most used cell is in one."""
    length = min(options.per_rater or len(cells), len(cells))
    heard = draft.rng.integers(2, size=len(cells))  # which of a cell's trials (sides) is next
    used = np.zeros(len(cells), dtype=int)
    forms = []
    for window in windows(len(cells), options.raters, length):
        trials = [cells[c][heard[c] % len(cells[c])] for c in window]
        heard[window] += 1
        used[window] += 1
        trials += extra
        groups = [(draft.trials[t].set, draft.trials[t].item) for t in trials]
        order = [trials[k] for k in spread(groups, draft.rng)]
        forms.append(insert_evenly(order, [checks[k] for k in draft.rng.permutation(len(checks))], draft.rng))
    return forms, (int(used.min()), int(used.max()))


def _page(draft: _Draft, forms: list[list[str]], options: Options) -> dict[str, Any]:
    """All that the page holds, in an order that tells nothing; its `hash` is over the rest and the audio."""
    trials = {name: list(draft.trials[name].clips) for name in sorted(draft.trials)}
    audio = {name: sha256_bytes(draft.files[name]) for name in sorted(draft.files)}
    body: dict[str, Any] = {
        "kind": options.test,
        "title": options.title,
        "scale": SCALES[options.test].to_json(),
        "has_checks": options.checks > 0,
        "submit": options.submit,
        "trials": trials,
        "forms": forms,
    }
    digest = sha256_json([body, audio])
    return {"test": digest[:12], "hash": digest, **body, "audio": audio}


def _key(run: Path, chosen: Chosen, draft: _Draft, page: dict[str, Any], options: Options) -> dict[str, Any]:
    facts = {"format": KEY_FORMAT, "schema": SCHEMA, "test": page["test"], "hash": page["hash"]}
    how = {
        "run": run.name,
        "run_id": chosen.run_id,
        "seed": options.seed,
        "loudness_dbov": options.loudness,
        "rate": draft.rate,
        "left_out": list(chosen.left_out),
    }
    meanings = {name: draft.trials[name].to_json() for name in sorted(draft.trials)}
    systems = {"systems": list(chosen.systems), "reference": options.reference}
    return {**facts, **systems, "built": how, "page": page, "meanings": meanings}


def _write(out: Path, draft: _Draft, page: dict[str, Any], key: dict[str, Any], options: Options) -> None:
    """Everything beside `out` first, then one rename: an interrupted build leaves no half of a test."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        publish = temporary / "publish"
        publish.mkdir(parents=True)
        if not options.inline:
            (publish / "audio").mkdir()
            for name in sorted(draft.files):  # in the order of the random ids
                (publish / "audio" / f"{name}.wav").write_bytes(draft.files[name])
        html = render_page(page, draft.files if options.inline else {})
        (publish / "index.html").write_text(html, encoding="utf-8", newline="\n")
        for path in [*publish.rglob("*"), publish]:
            os.utime(path, (AGE, AGE))
        write_json(temporary / "key.json", key)
        (temporary / "raters.csv").write_text(_links(options.raters), encoding="utf-8", newline="\n")
        if out.exists():
            out.rmdir()
        temporary.replace(out)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _links(raters: int) -> str:
    """raters.csv: one line a rater, with the address that opens his or her form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rater", "form", "link"])
    digits = len(str(raters))
    for form in range(1, raters + 1):
        name = f"r{form:0{digits}d}"
        writer.writerow([name, form, f"index.html?rater={name}&form={form}"])
    return text.getvalue()


def _notes(chosen: Chosen, material: Material, rate: int, options: Options) -> tuple[str, ...]:
    notes = list(chosen.left_out)
    if not chosen.anchors and options.anchors:
        notes.append("no anchors: no item has a reference that can be read")
    elif options.test == "smos" and not all(other for _, other in chosen.anchors):
        notes.append("no low anchor for some items: the set has no other speaker's reference")
    level = "as the systems left it" if options.loudness is None else f"{options.loudness:g} dBov active level (P.56)"
    notes.append(f"loudness: {level}; all clips are 16-bit wav at {rate} Hz")
    if options.loudness is not None:
        short = sum(not clips.reaches(a, options.loudness) for a in material.values())
        if short:
            notes.append(f"{short} clips stay softer: their peaks would pass full scale; --loudness -26 avoids that")
    loud = sum(bool(np.abs(a.samples).max() > 1) for a in material.values()) if options.loudness is None else 0
    if loud:
        notes.append(f"{loud} clips pass full scale and are clipped, as players would do; --loudness -26 avoids that")
    return tuple(notes)
