"""Networks' features: in batches, before anything is scored, none twice; what goes wrong costs its own item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metis_bench.config import Config
from metis_bench.engine.run import RunResult, run
from metis_bench.errors import MissingPrerequisite
from tests.engine.test_run import cells, stamps

Go = Callable[..., RunResult]


@pytest.fixture
def batches(house: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The batches that were extracted so far: how many clips, and which GPUs the worker saw."""
    log = house / "batches.log"
    monkeypatch.setenv("TOY_BATCH_LOG", str(log))
    return lambda: log.read_text().splitlines() if log.exists() else []


def network(mood: str = "undefined", at: float = -1.0, **more: Any) -> dict[str, Any]:
    return {"metrics": [{"toy-level": {"network": mood, "at": at, **more}}]}


def test_batches_before_scores_and_none_twice(go: Go, config: Config, batches: Callable[[], list[str]]) -> None:
    plain = go()
    result = go(**network())
    assert sorted(batches()) == ["2 None", "4 None"], "six outputs, four at a time"
    assert cells(result)["toy-gain"]["value"] == cells(plain)["toy-gain"]["value"]
    before = stamps(config.store, "feature")
    go(**network(scale=2.0))
    assert len(batches()) == 2, "another score of the same features"
    assert stamps(config.store, "feature") == before


def test_one_worker_a_gpu(
    make_suite: Callable[..., Any], config: Config, batches: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder)
    run(make_suite(**network()), replace(config, devices=("5", "7")))
    assert {line.split()[1] for line in batches()} == {"5", "7"}


@pytest.mark.parametrize("mood", ["undefined", "failed", "raise", "die"])
def test_what_goes_wrong_costs_one_item(go: Go, mood: str, batches: Callable[[], list[str]]) -> None:
    """The third output's level is 0.3 / sqrt(2) / 10."""
    result = go(**network(mood, at=0.03 / 2**0.5))
    cell = cells(result)["toy-gain"]
    assert (cell["n"], cell["N"]) == (5, 6)
    (reason,) = cell["reasons"]
    told = {"undefined": "undefined: not this one", "failed": "failed: not this one", "raise": "out of memory"}
    assert told.get(mood, "died") in reason
    assert result.exit_code == 6
    values = {s: c["value"] for s, c in cells(result).items()}
    assert values["toy-gain"] is not None
    assert batches()


def test_damaged_weights_end_the_run_in_one_line(go: Go) -> None:
    """Not a failed row for every item; what was generated is kept."""
    with pytest.raises(MissingPrerequisite, match="the weights are damaged"):
        go(**network("damaged", at=0.03 / 2**0.5))
