"""A finished run whose systems have telling names, and raters made to order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.engine.progress import quiet
from metis_bench.engine.store import Store
from metis_bench.hashing import sha256_bytes
from metis_bench.listen.build import Built, Options, build

SYSTEMS = [
    ("ground-truth", "bound"),
    ("alphavoice", "reference"),
    ("bravovoice", "neural"),
    ("charlie <b>|", "imported"),
]
NAMES = [name for name, _ in SYSTEMS]
RATES = {"ground-truth": 24_000, "alphavoice": 16_000, "bravovoice": 24_000, "charlie <b>|": 22_050}


def sound(seed: int, rate: int) -> bytes:
    rng = np.random.default_rng(seed)
    tone = 0.2 * np.sin(np.arange(rate // 4) / rate * 2 * np.pi * (150 + 10 * (seed % 40)))
    return encode_wav(Audio((tone + 0.01 * rng.standard_normal(rate // 4)).astype(np.float32), rate))


def make_run(folder: Path, items: int = 6, failed: tuple[tuple[str, int], ...] = ()) -> Path:
    """RUN with `items` items in one set: prompt, reference and every system's output, but those in `failed`."""
    store, inputs = Store(folder / "store"), folder / "corpus"
    inputs.mkdir(parents=True)
    plan: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for i in range(items):
        audio = {}
        for k, name in enumerate(("prompt", "reference")):
            data = sound(1000 * (k + 1) + i, 24_000)
            (inputs / f"{name}{i}.wav").write_bytes(data)
            audio[name] = {"path": str(inputs / f"{name}{i}.wav"), "sha256": sha256_bytes(data)}
        key = {"set": "secretset", "item": f"utterance{i}"}
        plan.append({"type": "item", **key, "text": "spokentext", "cluster": f"speaker{i % 2}", "audio": audio})
        for s, name in enumerate(NAMES):
            row = {"system": name, **key, "seed": 0}
            plan.append({"type": "row", **row})
            if (name, i) in failed:
                made.append({**row, "status": "failed", "reason": "it crashed", "audio": None})
                continue
            sha256 = store.put_audio(sound(100 * s + i, RATES[name]))
            made.append({**row, "status": "ok", "audio": {"sha256": sha256}})
    suite = {"name": "secretsuite", "task": "tts"}
    systems = [{"name": n, "kind": k, "ranked": k != "bound"} for n, k in SYSTEMS]
    results = {"schema": 1, "suite": suite, "stats": {"resamples": 10, "level": 0.95, "seed": 0}, "systems": systems}
    results |= {"sets": [{"id": "secretset", "items": items}], "columns": [], "cells": []}
    run = folder / "secretrun"
    run.mkdir()
    header = {"id": "0" * 64, "suite": suite, "store": str(store.root), "provenance": {}}
    for name, value in (("run.json", header), ("results.json", results)):
        (run / name).write_text(json.dumps(value))
    for name, lines in (("plan", plan), ("generations", made), ("scores", [])):
        (run / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


Answer = Callable[[int, dict[str, Any]], int]  # rater, the trial's meaning -> what he or she says


def rate(key: dict[str, Any], rater: int, answer: Answer, form: int | None = None) -> dict[str, Any]:
    """The file that the page would save for a rater who hears everything and answers by `answer`."""
    page = key["page"]
    form = rater % len(page["forms"]) + 1 if form is None else form
    ratings = [
        {"trial": t, "value": answer(rater, key["meanings"][t]), "plays": [1] * len(page["trials"][t]), "seconds": 3.5}
        for t in page["forms"][form - 1]
    ]
    about = {"format": "metis-bench-ratings", "schema": 1, "test": key["test"], "hash": key["hash"]}
    return {**about, "rater": f"r{rater}", "form": form, "started": None, "finished": None, "ratings": ratings}


def honest(values: dict[str, int]) -> Answer:
    """Answers that depend on the system alone, with checks and anchors right."""

    def answer(_: int, meaning: dict[str, Any]) -> int:
        if meaning["kind"] == "check":
            return int(meaning["expect"])
        if meaning["kind"] == "system":
            return meaning["sign"] * values[meaning["system"]]
        return meaning["sign"] * (2 if meaning["kind"] == "high" else 1)

    return answer


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "made")


@pytest.fixture
def built(run: Path, tmp_path: Path) -> Callable[..., tuple[Built, dict[str, Any]]]:
    """Build a test of the run; what was built and its key."""

    def make(test: str = "qmos", out: str = "test", **how: Any) -> tuple[Built, dict[str, Any]]:
        if test == "cmos":
            how.setdefault("reference", "ground-truth")
        made = build(run, tmp_path / out, Options(test, **{"raters": 6, **how}), quiet)  # type: ignore[arg-type]
        return made, json.loads((tmp_path / out / "key.json").read_text())

    return make
