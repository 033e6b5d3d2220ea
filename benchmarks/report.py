"""Time, memory and size of `report` and `publish` for a large synthetic run, each in its own process.

    python benchmarks/report.py [--systems 10] [--items 2020] [--seeds 3] [--clusters 500]

Every output is the same short clip; texts, alignments and scores differ item by item.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import Aim, Row, add_option, write

from metis_bench.audio import Audio, encode_wav
from metis_bench.hashing import sha256_bytes

SET = "speech/test"
AIMS = (Aim("ours", "<=", 10), Aim("ours", "<=", 1000))  # seconds and MB of a report
# id, label, direction, decimals, unit, best value, worst value
COLUMNS = (
    ("wer.synthetic", "WER", "lower", 2, "%", 0.0, 100.0),
    ("sim.synthetic", "SIM", "higher", 3, "", 1.0, -1.0),
    ("dnsmos.ovrl", "DNSMOS", "higher", 2, "", 5.0, 1.0),
    ("utmos", "UTMOS", "higher", 2, "", 5.0, 1.0),
    ("rtf", "RTF", "lower", 3, "", 0.0, None),
)
WORDS = [f"word{n}" for n in range(17)]


def fabricate(folder: Path, systems: int, items: int, seeds: int, clusters: int) -> None:
    """A run folder as the engine leaves it, and `store/` beside it with the one clip."""
    rng = np.random.default_rng(0)
    clip = encode_wav(Audio((0.1 * rng.standard_normal(8000)).astype(np.float32), 16000))
    sha = sha256_bytes(clip)
    folder.mkdir()
    (folder.parent / "clip.wav").write_bytes(clip)
    about = {"rate": 16000, "channels": 1, "seconds": 0.5, "container": "WAV", "subtype": "PCM_16"}
    names = ["ground-truth", *(f"system-{n}" for n in range(1, systems))]
    values = {
        c[0]: rng.normal(0.6, 0.15, (systems, items, seeds)).clip(0, 1) + 0.02 * np.arange(systems)[:, None, None]
        for c in COLUMNS
    }
    plan: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    generations: list[dict[str, Any]] = []
    prompt = {"path": str(folder.parent / "clip.wav"), "sha256": sha, **about}
    for i in range(items):
        text = " ".join(WORDS[(i + k) % len(WORDS)] for k in range(10))
        item = {"type": "item", "set": SET, "item": f"utterance-{i:05}", "task": "tts", "language": "en", "text": text}
        plan.append({**item, "prompt_text": text, "cluster": f"talker-{i % clusters}", "audio": {"prompt": prompt}})
    for s, system in enumerate(names):
        for i in range(items):
            for seed in range(seeds if s else 1):
                row = {"system": system, "set": SET, "item": f"utterance-{i:05}", "seed": seed}
                plan.append({"type": "row", **row, "key": "k"})
                sound = {"sha256": sha, "rate": 16000, "seconds": 0.5}
                generations.append({**row, "status": "ok", "reason": None, "key": "k", "audio": sound, "wall_s": 0.1})
                scores += (_score(row, column, float(values[column[0]][s, i, seed]), i) for column in COLUMNS)
    for name, lines in (("plan", plan), ("generations", generations), ("scores", scores)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "results.json").write_text(json.dumps(_results(names, items, seeds, clusters, values)))
    made = {"created": "2026-01-01T00:00:00+00:00", "argv": ["metis-bench", "run", "suite.yaml"], "hardware": {}}
    run = {"id": "synthetic", "suite": {}, "store": "", "provenance": made, "seeds": list(range(seeds)), "resolved": {}}
    (folder / "run.json").write_text(json.dumps(run))


def _score(row: dict[str, Any], column: tuple[Any, ...], quality: float, item: int) -> dict[str, Any]:
    name, _, _, _, _, best, worst = column
    value = (1.0 if worst is None else worst) + quality * (best - (1.0 if worst is None else worst))
    line = {**row, "column": name, "signature": "0123456789ab", "protocol": None if worst is None else "abc"}
    detail: dict[str, Any] = {}
    if name.startswith("wer"):
        words = [WORDS[(item + k) % len(WORDS)] for k in range(10)]
        parts = [
            ["equal", words[:4], words[:4]],
            ["substitute", words[4:5], ["wrong"]],
            ["equal", words[5:], words[5:]],
        ]
        detail = {"errors": 1, "words": 10, "reference": " ".join(words), "hypothesis": " ".join(words)}
        detail["alignment"] = parts
    return {**line, "status": "ok", "value": value, "reason": None, "detail": detail}


def _results(names: list[str], items: int, seeds: int, clusters: int, values: dict[str, Any]) -> dict[str, Any]:
    cells = []
    for name, _, _, _, _, best, worst in COLUMNS:
        for s, system in enumerate(names):
            low = 1.0 if worst is None else worst
            n = items * (seeds if s else 1)
            value = low + float(values[name][s, :, : seeds if s else 1].mean()) * (best - low)
            cell = {"set": SET, "system": system, "column": name, "status": "complete", "n": n, "N": n, "value": value}
            cell |= {"ci": [value - 0.01, value + 0.01], "clusters": clusters, "rank": s if s else None}
            cells.append({**cell, "signature": "0123456789ab", "protocol": None if worst is None else "abc"})
    columns = [
        {"id": i, "metric": i, "label": label, "direction": way, "decimals": digits, "unit": unit, "headline": True}
        | {"worst": worst}
        for i, label, way, digits, unit, _, worst in COLUMNS
    ]
    kinds = [("bound", False), *(("imported", True) for _ in names[1:])]
    return {
        "schema": 1,
        "suite": {"name": "synthetic", "task": "tts", "title": "A synthetic run"},
        "stats": {"resamples": 10_000, "level": 0.95, "seed": 0},
        "systems": [
            {"name": n, "kind": k, "ranked": r, "fingerprint": n} for n, (k, r) in zip(names, kinds, strict=True)
        ],
        "sets": [
            {"id": SET, "corpus": "speech", "subset": "test", "task": "tts", "items": items, "list_hash": "e" * 64}
        ],
        "columns": columns,
        "cells": cells,
        "signatures": {"0123456789ab": {"metric": "synthetic"}},
    }


def measured(what: str, folder: Path, to: Path | None = None) -> None:
    """One of the two in this process: seconds, MB of memory, MB of pages, files. to: a file for the first two."""
    from metis_bench.report import render

    def audio(_: str) -> Path:
        return folder.parent / "clip.wav"

    started, busy = time.perf_counter(), time.process_time()
    if what == "report":
        out = render(folder, audio).parent
    else:
        from metis_bench.report.site import Source, publish

        out = publish([Source(folder, audio)], folder.parent / "site").parent
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = [p for p in out.rglob("*") if p.is_file()]
    html = sum(p.stat().st_size for p in files if p.suffix == ".html") / 1e6
    data = sum(p.stat().st_size for p in files if p.suffix == ".js") / 1e6
    told = f"{what:8} {seconds:5.1f} s ({busy:.1f} s of CPU)  {peak:6.0f} MB"
    if to is not None:
        to.write_text(json.dumps([seconds, peak]), encoding="utf-8")
    print(f"{told}  HTML {html:5.2f} MB  data {data:6.1f} MB  {len(files)} files")


def main() -> None:
    """Print a line a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("systems", 10), ("items", 2020), ("seeds", 3), ("clusters", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    add_option(parser)
    args = parser.parse_args()
    if args.measure:
        measured(args.measure[0], *map(Path, args.measure[1:]))
        return
    rows, size = [], f"{args.systems} systems x {args.items} items x {args.seeds} seeds"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        fabricate(run, args.systems, args.items, args.seeds, args.clusters)
        for what in ("report", "publish"):
            to = Path(folder) / f"{what}.json"
            subprocess.run([sys.executable, __file__, "--measure", what, str(run), str(to)], check=True)
            seconds, peak = json.loads(to.read_text(encoding="utf-8"))
            aims = AIMS if what == "report" else (None, None)
            rows += [Row(f"{what} of {size}", "s", seconds, aim=aims[0])]
            rows += [Row(f"{what} of {size}: memory", "MB", peak, aim=aims[1])]
    write(args.rows, rows)


if __name__ == "__main__":
    main()
