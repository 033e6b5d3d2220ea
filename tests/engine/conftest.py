"""A suite of toys, run by real worker processes in a temporary house."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metis_bench.config import Config, load_plugins
from metis_bench.engine.run import RunResult, run
from metis_bench.suite.load import load_suite
from metis_bench.suite.schema import Suite

TOYS = str(Path(__file__).parent.parent / "toys.py")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is also METIS_BENCH_HOME and the current directory; the toys are registered."""
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    load_plugins((TOYS,))
    (tmp_path / "one.ckpt").write_text("1.0")
    return tmp_path


@pytest.fixture
def make_suite(house: Path) -> Callable[..., Suite]:
    """Write a suite from keyword overrides and load it."""

    def make(**overrides: Any) -> Suite:
        data: dict[str, Any] = {
            "name": "toy",
            "task": "se",
            "corpora": {"toy": {"corpus": "toy"}},
            "systems": [{"toy-gain": {"checkpoint": str(house / "one.ckpt")}}],
            "metrics": ["toy-level"],
            "stats": {"resamples": 200},
            **overrides,
        }
        (house / "suite.yaml").write_text(yaml.safe_dump(data))
        return load_suite(house / "suite.yaml")

    return make


@pytest.fixture
def config(house: Path) -> Config:
    """One worker (pytest runs several of us), short patience, everything under `house`."""
    return Config(store=house / "store", runs=house / "runs", workers=1, plugins=(TOYS,), timeout_s=20)


@pytest.fixture
def go(make_suite: Callable[..., Suite], config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunResult]:
    """Make a suite and run it; the report is written by its own tests."""
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder / "report" / "index.html")

    def run_it(**overrides: Any) -> RunResult:
        return run(make_suite(**overrides), config)

    return run_it
