"""Runs an adapter through worker.py in an interpreter of its own, where `upstreams_vc` stands in for its packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metis_bench.baselines import manifest

HERE = Path(__file__).parent
BASELINES = HERE.parents[1] / "baselines"
WORKER = Path(manifest.__file__).with_name("worker.py")
PROMPT = {"prompt": "/in/prompt.wav", "seed": 2**33 + 5}
TTS = {**PROMPT, "task": "tts", "language": "en", "text": "Good morning.", "prompt_text": "A prompt."}
VC = {**PROMPT, "task": "vc", "language": "en", "source": "/in/source.wav"}


@dataclass
class Ran:
    """What a worker answered, and what the fakes recorded. `weights`: the paths that the adapter was given."""

    events: list[dict[str, Any]]
    calls: list[dict[str, Any]]
    weights: dict[str, str]
    work: Path

    def made(self) -> list[Path]:
        """The output of every item, in order; an item that failed is an error here."""
        return [Path(event["path"]) for event in self.of_items("made")]

    def of_items(self, event: str) -> list[dict[str, Any]]:
        """The answers to items, which must all be of this kind."""
        answers = [answer for answer in self.events if answer["event"] in ("made", "failed", "broken")]
        assert [answer["event"] for answer in answers] == [event] * len(answers), answers
        return answers

    def call(self, name: str) -> dict[str, Any]:
        """The arguments of the only call of that name."""
        (found,) = self.of(name)
        return found

    def of(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every call of that name."""
        return [{k: v for k, v in call.items() if k != "call"} for call in self.calls if call["call"] == name]


def run(
    name: str,
    items: list[dict[str, Any]],
    tmp: Path,
    *,
    preset: str | None = None,
    options: Mapping[str, Any] = {},
    device: str = "cpu",
    upstream: str | None = None,
    files: Mapping[str, bytes] = {},
) -> Ran:
    """Load a baseline with a preset (default: the first) and run items.

    options: changes of the preset; files: contents of weights, by id
    """
    baseline = manifest.read(BASELINES / name)
    presets = baseline.manifest.presets
    work = tmp / "work"
    work.mkdir(parents=True)
    weights = {weight.id: tmp / "weights" / weight.place for weight in baseline.manifest.weights}
    for weight, content in files.items():
        weights[weight].parent.mkdir(parents=True, exist_ok=True)
        weights[weight].write_bytes(content)
    places = {weight: str(path) for weight, path in weights.items()}
    load = {
        "op": "load",
        "adapter": str(baseline.adapter),
        "options": {**presets[preset or next(iter(presets))], **options},
        "device": device,
        "repo": str(tmp) if baseline.manifest.upstream.clone else None,
        "weights": places,
        "work": str(work),
    }
    given = [{"id": f"item-{i}", "out": str(work / f"out-{i}"), **item} for i, item in enumerate(items)]
    commands = [load, {"op": "run", "first": 0, "items": given}]
    packages = [HERE / "upstreams_vc" / (upstream or name), HERE / "upstreams_vc" / "common"]
    recorded = tmp / "calls.jsonl"
    process = subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=work,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, packages)), "FAKE_CALLS": str(recorded)},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    with process:  # its stdin stays open until it has answered: a worker without a host ends at once
        for command in commands:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
        for line in process.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] in ("end", "broken"):
                break
        process.kill()
    lines = recorded.read_text().splitlines() if recorded.exists() else []
    return Ran(events, [json.loads(line) for line in lines], places, work)
