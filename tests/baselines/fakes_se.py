"""Runs an adapter in a process of its own, through the worker's protocol, against a fake of its upstream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from metis_bench.baselines import manifest

BASELINES = Path(__file__).resolve().parents[2] / "baselines"
UPSTREAM = Path(__file__).with_name("upstream_se")
WORKER = Path(manifest.__file__).with_name("worker.py")  # importing it would take over our stdout
LAST_WORDS_S = 60


@dataclass(frozen=True)
class Ran:
    """What became of it. calls: (name, arguments) of the fakes, in their order."""

    loaded: dict[str, Any]
    outcome: dict[str, Any]
    samples: npt.NDArray[np.float32]
    rate: int
    calls: list[tuple[str, dict[str, Any]]]

    def of(self, call: str) -> list[dict[str, Any]]:
        """The arguments of every such call."""
        return [arguments for name, arguments in self.calls if name == call]


def write_wav(path: Path, seconds: float, rate: int) -> str:
    """A 16-bit mono file of a tone at half scale."""
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, tone, rate, subtype="PCM_16")
    return str(path)


def run(
    name: str,
    tmp: Path,
    weights: dict[str, Path],
    item: dict[str, Any],
    *,
    preset: str | None = None,
    device: str = "cpu",
    repo: Path | None = None,
    fakes: Sequence[str] = (),
) -> Ran:
    """One item through the adapter of a baseline. fakes: folders of `upstream_se` (default: the baseline's, common)."""
    facts = manifest.read(BASELINES / name).manifest
    work, calls = tmp / "work", tmp / "calls.jsonl"
    work.mkdir()
    calls.touch()
    path = os.pathsep.join(str(UPSTREAM / folder) for folder in fakes or (name, "common"))
    process = subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=work,
        env={**os.environ, "PYTHONPATH": path, "RECORD": str(calls), "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    load = {
        "op": "load",
        "adapter": str(BASELINES / name / "adapter.py"),
        "options": facts.presets[preset or next(iter(facts.presets))],
        "device": device,
        "repo": None if repo is None else str(repo),
        "weights": {key: str(value) for key, value in weights.items()},
        "work": str(work),
    }
    whole = {"id": "utt", "task": facts.tasks[0], "language": "en", "seed": 7, "out": str(work / "utt")} | item
    commands = [load, {"op": "run", "first": 0, "items": [whole]}, {"op": "quit"}]
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("".join(json.dumps(command) + "\n" for command in commands).encode())
    process.stdin.flush()  # left open: a worker whose host is gone ends at once
    events = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    assert process.wait(LAST_WORDS_S) == 0
    loaded, outcome = events[1], next((e for e in events if e["event"] in ("made", "failed")), {})
    samples, rate = soundfile.read(outcome["path"], dtype="float32") if "path" in outcome else (np.zeros(0, "f4"), 0)
    return Ran(loaded, outcome, samples, rate, [tuple(json.loads(line)) for line in calls.read_text().splitlines()])
