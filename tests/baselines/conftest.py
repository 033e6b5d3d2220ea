"""Baselines written to a folder of the test, and systems of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metis_bench.baselines.manifest import Baseline, read
from metis_bench.config import BASELINES
from metis_bench.systems.base import System
from metis_bench.systems.baseline import class_of

MANIFEST: dict[str, Any] = {
    "schema": 1,
    "title": "A toy",
    "tasks": ["tts"],
    "status": "runnable",
    "upstream": {"url": "https://example.org/toy"},
    "licence": {"code": "MIT", "weights": "none"},
    "device": {"gpu": "none"},
    "limits": {"item_s": 20, "load_s": 30},
}
TONE = """
import math

def load(ctx):
    return Tone()

class Tone:
    def run(self, item):
        return [0.3 * math.sin(i / 7) for i in range(8000)], 16000
"""
Write = Callable[..., Baseline]
Build = Callable[..., System]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, adapter, **manifest)`: the folder, and what is read of it."""

    def written(name: str = "toy", adapter: str | None = TONE, **changes: Any) -> Baseline:
        folder = tmp_path / "own" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "system.yaml").write_text(
            yaml.safe_dump({**MANIFEST, "name": name, **changes}, sort_keys=False), encoding="utf-8"
        )
        if adapter is not None:
            (folder / "adapter.py").write_text(adapter, encoding="utf-8")
        return read(folder)

    return written


@pytest.fixture
def build(write: Write) -> Iterator[Build]:
    """As `write`, set up as a system, and closed after the test."""
    running: list[System] = []

    def built(adapter: str = TONE, params: dict[str, Any] | None = None, **changes: Any) -> System:
        cls = class_of(write(adapter=adapter, **changes))
        system = cls(cls.params_type.model_validate(params or {}))
        system.check()
        system.setup()
        running.append(system)
        return system

    yield built
    for system in running:
        system.close()


@pytest.fixture
def machine_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`machine_says(toy={"python": ...})`: as the user's config."""
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path / "home"))

    def say(**entries: Any) -> None:
        monkeypatch.setenv(BASELINES, json.dumps({"folders": [str(tmp_path / "own")], "baselines": entries}))

    say()
    return say
