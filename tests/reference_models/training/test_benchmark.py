"""`benchmarks/training.py`: what it prints is what training logs."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from reference_models.training.batches import TokenBatches
from reference_models.training.models import build
from reference_models.training.recipe import load
from tests.conftest import REPO

pytest.importorskip("accelerate")


def test_padding_is_that_of_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    benchmark = importlib.import_module("training")
    trainee = build(load("tts", ["size=tiny", "start=scratch"]))
    data = benchmark.Synthetic(trainee, 60)
    batches = TokenBatches(data, tokens=5000, seed=0, names=["phones"])
    made = [batches(step) for step in range(len(batches.order.bounds) - 1)]
    assert len(made) > 3 and all(batch is not None for batch in made)
    tokens, places = (sum(getattr(batch, name) for batch in made) for name in ("tokens", "places"))
    share, largest = benchmark.padding(batches)
    assert tokens == data.frames.sum() + data.phones.sum()
    assert share == pytest.approx(1 - tokens / places) and largest == max(batch.places for batch in made)  # type: ignore[union-attr]


@pytest.mark.long
def test_ways_stand_side_by_side() -> None:
    """One process and two, whole and in parts; every process gets as many tokens."""
    given = (
        "--size tiny --precision fp32 --recompute both --processes 1 2 --exchange ddp fsdp --steps 1 --rounds 1 --cpu"
    )
    command = [sys.executable, str(REPO / "benchmarks" / "training.py"), *given.split()]
    command += ["--batch-tokens", "3000", "--examples", "60", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, _, rows = ended.stdout.partition("\n")
    assert first.startswith("padding of 60 examples")
    found = json.loads(rows)
    ways = [[1, "ddp"], [2, "ddp"], [2, "fsdp"]]
    assert [(row["launch"], row["recompute"]) for row in found] == [
        (way, again) for way in ways for again in (False, True)
    ]
    per_step = [[line["tokens_per_second"] / line["steps_per_second"] for line in row["lines"]] for row in found]
    assert all(len(tokens) == 3 for tokens in per_step)
    assert per_step[2] == pytest.approx(per_step[5])  # the same batches, however the model lies
    assert 1.5 * sum(per_step[0]) < sum(per_step[2]) < 2.5 * sum(per_step[0])
