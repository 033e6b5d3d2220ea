"""Baselines written to a folder of the test, and systems of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from metis_bench.baselines.manifest import Baseline, read
from metis_bench.cli import main
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


@dataclass
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Done]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `metis-bench ARGS` in this process, in a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delenv("METIS_BENCH_CONFIG", raising=False)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capfd.readouterr()
        assert "internal error" not in err, err
        return Done(int(ended.value.code or 0), out, err)

    return run


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
