"""A fabricated but complete run folder, as the engine leaves it: several sets, systems, seeds and failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.hashing import sha256_bytes
from metis_bench.report import render

XSS = '"><script>alert(1)</script>'
RTL = "\u202egpj.exe \u05d0\u05d1"
HOSTILE_IDS = [XSS, "../../etc/passwd", "a/b'c\"d", "A/B'C\"D", RTL, "| pipe `tick` *star* {{ 7*7 }} &amp;"]
HOSTILE_SET = "wild/<b>x</b>|'\""

# name, kind, mean quality in 0..1; only the last is stochastic and gets a row a seed
SYSTEMS = [
    ("clean", "bound", 1.0),
    ("noisy", "oracle", 0.35),
    ("silence", "oracle", 0.0),
    ("spectral-gating", "classical", 0.5),
    ("rnnoise", "neural", 0.62),
    ("metis-mini-se", "reference", 0.8),
    ("metis-mini-se-lora32-without-guidance", "reference", 0.72),
    ("their <i>model</i> | v2", "imported", 0.78),
]
STOCHASTIC = "metis-mini-se"
# id, label, direction, decimals, unit, headline, worst, (value at quality 0, at quality 1), needs a reference
COLUMNS = [
    ("dnsmos.ovrl", "DNSMOS OVRL", "higher", 2, "", True, 1.0, (1.1, 3.6), False),
    ("pesq.wb", "PESQ-WB", "higher", 2, "", True, 1.04, (1.04, 4.5), True),
    ("sisdr", "SI-SDR", "higher", 1, "dB", True, -50.0, (-12.0, 28.0), True),
    ("wer.pocketsphinx", "WER", "lower", 1, "%", True, 100.0, (96.0, 8.0), False),
    ("rtf", "RTF", "lower", 3, "", True, None, (0.02, 0.4), False),
    ("dnsmos.sig", "DNSMOS SIG", "higher", 2, "", False, 1.0, (1.2, 3.9), False),
    ("dnsmos.bak", "DNSMOS BAK", "higher", 2, "", False, 1.0, (1.0, 4.2), False),
    ("stoi", "STOI", "higher", 3, "", False, 0.0, (0.3, 1.0), True),
]
TEXTS = ["the birch canoe slid on the smooth planks", "glue the sheet to the dark blue background", None]
ALIGNMENT = [
    ["equal", ["the"], ["the"]],
    ["substitute", ["birch"], ["<b>birds</b>"]],
    ["equal", ["canoe", "slid"], ["canoe", "slid"]],
    ["delete", ["on"], []],
    ["insert", [], ["uh"]],
    ["equal", ["the", "smooth"], ["the", "smooth"]],
]


@dataclass
class Fabricated:
    """The folder and what was put into it."""

    path: Path
    store: dict[str, Path] = field(default_factory=dict)
    plan: list[dict[str, Any]] = field(default_factory=list)
    generations: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def audio(self, sha256: str) -> Path:
        """What the engine's store lookup does: KeyError for what is not there."""
        return self.store[sha256]

    def save(self) -> Fabricated:
        """Write the five files."""
        for name in ("plan", "generations", "scores"):
            lines = (json.dumps(line, allow_nan=False) + "\n" for line in getattr(self, name))
            (self.path / f"{name}.jsonl").write_text("".join(lines))
        for name in ("run", "results"):
            (self.path / f"{name}.json").write_text(json.dumps(getattr(self, name), allow_nan=False))
        return self

    def render(self) -> Path:
        """Save and render; the report folder."""
        return render(self.save().path, self.audio).parent


def item_data(folder: Path, slug: str) -> list[dict[str, Any]]:
    """The items of a set's page, of all of its data files in order; each with its page's systems."""
    found: list[dict[str, Any]] = []
    paths = [path for path in (folder / "data").glob(f"items-{slug}-*.js") if path.stem.rpartition("-")[2].isdigit()]
    for path in sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2])):
        text = path.read_text(encoding="ascii")
        assert text.startswith("metisItems(") and text.endswith(");\n")
        page, _, systems, items = json.loads(f"[{text.removeprefix('metisItems(').removesuffix(');' + chr(10))}]")
        assert path.stem.endswith(f"-{page}")
        found += [{**item, "systems": [(systems[n][0], outputs) for n, outputs in item["systems"]]} for item in items]
    return found


def wav(path: Path, seed: int) -> dict[str, Any]:
    """A short noisy tone at `path`, and what the plan would say about it."""
    rng = np.random.default_rng(seed)
    time = np.arange(4000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * (200 + 10 * (seed % 50)) * time) + 0.05 * rng.standard_normal(len(time))
    data = encode_wav(Audio((np.round(tone * 32767) / 32768).astype(np.float32), 16000))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    about = {"rate": 16000, "channels": 1, "seconds": 0.25, "container": "WAV", "subtype": "PCM_16"}
    return {"path": str(path), "sha256": sha256_bytes(data), **about}


def fabricate(path: Path, items: int) -> Fabricated:
    """A run with a partial set of `items` items, one without references and one with hostile ids."""
    path.mkdir()
    made = Fabricated(path)
    sets = {
        "dns2020/no_reverb": [f"clnsp{n}_snr{n}_fileid_{n}" for n in range(items)],
        "dns2020/real_recordings": [f"ms_realrec_{n}" for n in range(4)],
        HOSTILE_SET: HOSTILE_IDS,
    }
    for number, (name, ids) in enumerate(sets.items()):
        for index, item in enumerate(ids):
            _add_item(made, name, item, 1000 * number + index)
    made.results = _results(made, sets)
    made.run = _run_file(made)
    return made


def _has_reference(set_id: str) -> bool:
    return set_id != "dns2020/real_recordings"


def _untimed(system: str, column: str) -> bool:
    """A system that only copies a file has no cost."""
    return column == "rtf" and system in ("clean", "noisy")


def _add_item(made: Fabricated, set_id: str, item: str, seed: int) -> None:
    inputs = made.path.parent / "corpus"
    audio: dict[str, Any] = {"prompt": None, "source": wav(inputs / f"{seed}-noisy.wav", seed), "reference": None}
    if _has_reference(set_id):
        audio["reference"] = wav(inputs / f"{seed}-clean.wav", seed + 500_000)
    if item == HOSTILE_IDS[1]:
        audio["reference"] = {"path": str(inputs / "gone.wav"), "error": "cannot read <the file>"}
    line = {"type": "item", "set": set_id, "item": item, "language": "en", "text": TEXTS[seed % 3], "prompt_text": None}
    made.plan.append({**line, "cluster": f"speaker-{seed % 5}", "audio": audio})
    for system, _, quality in SYSTEMS:
        if system == "clean" and not _has_reference(set_id):
            continue
        for s in (0, 1) if system == STOCHASTIC else (0,):
            made.plan.append({"type": "row", "system": system, "set": set_id, "item": item, "seed": s, "key": "k"})
            _add_output(made, {"system": system, "set": set_id, "item": item, "seed": s}, quality, seed)


def _add_output(made: Fabricated, key: dict[str, Any], quality: float, seed: int) -> None:
    generation: dict[str, Any] = {**key, "status": "ok", "reason": None, "key": "k", "audio": None, "wall_s": 0.1}
    made.generations.append(generation)
    if key["system"] == "rnnoise" and seed % 1000 in (2, 3):
        generation.update(status="failed", reason="RuntimeError: <rnnoise> crashed & burned", wall_s=None)
        return
    count = len(made.generations)
    path = made.path.parent / "store" / f"{count}.wav"
    about = wav(path, 1_000_000 + count)
    made.store[about["sha256"]] = path
    generation["audio"] = {k: about[k] for k in ("sha256", "rate", "seconds")}
    rng = np.random.default_rng([seed, key["seed"], len(key["system"])])
    for column, _, _, _, _, _, _, (low, high), needs_reference in COLUMNS:
        if (needs_reference and not _has_reference(key["set"])) or _untimed(key["system"], column):
            continue
        here = float(np.clip(quality + 0.08 * rng.standard_normal(), 0, 1))
        score: dict[str, Any] = {**key, "column": column, "status": "ok", "value": low + here * (high - low)}
        score.update(reason=None, signature="0123456789ab", detail={})
        if column == "pesq.wb" and key["system"] == "silence":
            score.update(status="undefined", value=None, reason="PESQ of silence is undefined")
        if column == "wer.pocketsphinx":
            score["detail"] = {"errors": 3, "words": 7, "alignment": ALIGNMENT, "reference": "r", "hypothesis": "h"}
        made.scores.append(score)


def _results(made: Fabricated, sets: dict[str, list[str]]) -> dict[str, Any]:
    columns = [
        {"id": i, "metric": i.partition(".")[0], "label": name, "direction": way, "decimals": digits, "unit": unit}
        | {"headline": head, "worst": worst, "aggregate": "mean", "help": f"{name}, as its authors compute it"}
        for i, name, way, digits, unit, head, worst, _, _ in COLUMNS
    ]
    systems = [
        {"name": n, "kind": k, "class": "X", "fingerprint": "f" * 64, "ranked": k not in ("bound", "oracle")}
        for n, k, _ in SYSTEMS
    ]
    about_sets = [
        {
            "id": s,
            "corpus": s.partition("/")[0],
            "subset": s.partition("/")[2],
            "items": len(ids),
            "list_hash": "e" * 64,
        }
        | {"official_count": 150 if "no_reverb" in s else None, "licence": "research only", "clusters": 5}
        | {"warnings": ["with <em>emphasis</em>"] if s == HOSTILE_SET else []}
        for s, ids in sets.items()
    ]
    cells = [cell for s in sets for column in COLUMNS for cell in _cells(made, s, column)]
    failures = [
        {"stage": "generate", **{k: g[k] for k in ("system", "set", "item", "seed", "reason")}, "column": None}
        for g in made.generations
        if g["status"] == "failed"
    ] + [
        {"stage": "measure", **{k: s[k] for k in ("system", "set", "item", "seed", "reason", "column")}}
        for s in made.scores
        if s["status"] != "ok"
    ]
    check = {"set": "dns2020/no_reverb", "column": "dnsmos.ovrl", "better": "clean", "worse": "noisy"}
    checks = [
        {**check, "better_value": 3.51, "worse_value": 2.02, "ok": True, "reason": None, "items": 3},
        {**check, "worse": "silence", "better_value": 3.51, "worse_value": 3.6, "ok": False, "reason": "<wrong> order"},
        {**check, "column": "pesq.wb", "better_value": 4.4, "worse_value": None, "ok": None, "reason": "no value"},
    ]
    checks[1]["items"], checks[2]["items"] = len(sets["dns2020/no_reverb"]), 0
    suite = {"name": "se", "title": "Speech <enhancement>, the mini suite", "task": "se", "profile": "mini"}
    suite["description"] = "Every system cleans the same noisy recordings; oracles show that the metrics work."
    warnings = ["dns2020/no_reverb: 24 of 150 official items; do not compare with published numbers"]
    signature = {"metric": "dnsmos", "version": 1, "weights": {"sig_bak_ovr.onnx": "a" * 64}, "rate": 16000}
    tables = {"suite": suite, "systems": systems, "sets": about_sets, "columns": columns, "cells": cells}
    rest = {"oracle_checks": checks, "failures": failures, "warnings": warnings}
    stats = {"resamples": 1000, "level": 0.6, "seed": 0}
    return {"schema": 1, "stats": stats, **tables, "signatures": {"0123456789ab": signature}, **rest}


def _cells(made: Fabricated, set_id: str, column: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    name, direction, worst = column[0], column[2], column[6]
    cells = []
    for system, kind, _ in SYSTEMS:
        planned = [p for p in made.plan if p["type"] == "row" and (p["system"], p["set"]) == (system, set_id)]
        mine = [s for s in made.scores if (s["system"], s["set"], s["column"]) == (system, set_id, name)]
        values = [s["value"] for s in mine if s["status"] == "ok"]
        n, total = len(values), len(planned)
        cell: dict[str, Any] = {"set": set_id, "system": system, "column": name, "value": None, "ci": None, "extra": {}}
        cell |= {"penalised": None, "n": n, "N": total, "clusters": 5, "signature": None, "rank": None, "reasons": {}}
        cell["status"] = "complete" if n == total else "incomplete" if n else "empty"
        if _untimed(system, name):
            cell |= {"status": "not_applicable", "reasons": {"it only copies a file": 0}, "N": 0}
        elif not planned or (column[8] and not _has_reference(set_id)):
            cell |= {"status": "not_applicable", "reasons": {"the set provides no reference": 1}}
        elif values:
            mean, half = float(np.mean(values)), 1.96 * float(np.std(values)) / n**0.5
            cell |= {"value": mean, "ci": [mean - half, mean + half], "signature": "0123456789ab"}
            cell["extra"] = {"p50": float(np.median(values)), "p95": max(values)} if name == "rtf" else {}
        if n < total and cell["status"] != "not_applicable":
            cell["penalised"] = None if worst is None else (sum(values) + worst * (total - n)) / total
            cell["reasons"] = {"RuntimeError: <rnnoise> crashed & burned": total - n}
        cells.append((kind not in ("bound", "oracle"), cell))
    complete = [c for ranked, c in cells if ranked and c["status"] == "complete"]
    for place, cell in enumerate(sorted(complete, key=lambda c: c["value"], reverse=direction == "higher"), start=1):
        cell["rank"] = place
    return (cell for _, cell in cells)


def _run_file(made: Fabricated) -> dict[str, Any]:
    hardware = {"cpu": "Some CPU", "cores": 2, "memory_gb": 8, "gpus": []}
    provenance = {"created": "2026-11-21T01:02:03+00:00", "argv": ["metis-bench", "run", "suites/<se>.yaml"]}
    provenance |= {"git": {"commit": "c" * 40, "dirty": True}, "packages": {"numpy": "2.4.6"}, "hardware": hardware}
    provenance |= {"python": "3.11.2", "platform": "Linux"}
    return {"suite": made.results["suite"], "provenance": provenance, "seeds": [0, 1], "resolved": {"name": "se"}}


def with_protocols(made: Fabricated, clusters: int = 24) -> Fabricated:
    """As the engine writes them today: every score of a metric has a protocol, costs have a signature alone.

    And every system a fingerprint of its own, every item a cluster, so that tests between systems can find something.
    """
    for line in (*made.scores, *made.results["cells"]):
        cost = line["column"] == "rtf"
        line["protocol"] = None if cost else f"protocol of {line['column']}"
        line["signature"] = "c057c057c057" if cost else line["signature"]
    for number, system in enumerate(made.results["systems"]):
        system["fingerprint"] = f"{number:064x}"
    for number, item in enumerate(line for line in made.plan if line["type"] == "item"):
        item["cluster"] = f"speaker-{number % clusters}"
    for test_set in made.results["sets"]:
        test_set["task"] = "se"
    made.results["stats"]["level"] = 0.95
    return made


@pytest.fixture
def fabricated(tmp_path: Path) -> Fabricated:
    """A fresh run folder, not yet saved, with few items."""
    return fabricate(tmp_path / "run", items=5)


@pytest.fixture(scope="session")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Fabricated:
    """A run whose first set fills two pages, rendered; do not change it."""
    made = fabricate(tmp_path_factory.mktemp("paged") / "run", items=24)
    made.render()
    return made


@pytest.fixture
def page(paged: Fabricated) -> Callable[[str], str]:
    """The text of a file of the rendered report."""
    return lambda name: (paged.path / "report" / name).read_text(encoding="utf-8")
