"""Tokens, arithmetic and seconds of a line of the log."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from reference_models.training import throughput
from reference_models.training.batches import TokenBatches, collate
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, train
from reference_models.training.models import build
from reference_models.training.progress import described
from reference_models.training.recipe import load
from reference_models.training.shards import Shards
from tests.reference_models.training.toys import toy, toy_shards

BATCH = collate([toy(0), toy(1)], ["phones"], [1, 2], 0.5)
CPU = torch.device("cpu")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(throughput, "time", made)
    return made


def test_a_batch_knows_its_tokens() -> None:
    frames, longest = [toy(i).frames for i in (0, 1)], max(toy(i).frames for i in (0, 1))
    assert BATCH.tokens == sum(frames) + 2 * 6 and BATCH.places == 2 * (longest + 6)
    assert frames[0] != frames[1]
    bare = collate([toy(0)], [], [1], 0.5)
    assert bare.tokens == bare.places == toy(0).frames


def test_a_line_is_what_happened_by_the_time_of_its_steps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes alike; three seconds of a validation between the steps are left out."""
    layer = nn.Linear(10, 4)
    x = torch.randn(5, 10)
    monkeypatch.setattr(throughput, "peak", lambda _: 1000.0)
    with throughput.Throughput(layer, CPU, 2) as speed:
        for _ in range(2):
            with speed.forward(BATCH):
                layer(x)
            layer(x)  # repeated in a backward pass
            clock.now += 2
            speed.step(7.0)
            clock.now += 3
            speed.go_on()
        line = speed.line(lambda values: 2 * values)
        empty = speed.line(lambda values: values)
    assert line["steps_per_second"] == 0.5 and line["counted_per_second"] == 3.5
    assert line["tokens_per_second"] == 2 * 2 * BATCH.tokens / 4
    assert line["padding"] == pytest.approx(1 - BATCH.tokens / BATCH.places) and 0 < line["padding"] < 0.5
    flops = 2 * 2 * (2 * 5 * 10 * 4) * 2  # processes, steps, forward, and as much for the weight's gradient
    assert line["tflop_per_second"] == pytest.approx(flops / 4 / 1e12)
    assert line["mfu"] == pytest.approx(flops / 4 / (2 * 1000.0))
    assert "tokens_per_second" not in empty


def test_batches_without_tokens_have_no_arithmetic(clock: Clock) -> None:
    with throughput.Throughput(nn.Linear(2, 2), CPU, 1) as speed:
        with speed.forward(object()):
            pass
        clock.now += 1
        speed.step(3.0)
        assert speed.line(lambda values: values) == {"steps_per_second": 1.0, "counted_per_second": 3.0}


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989.5),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A10G", None),
        ("NVIDIA GH200 480GB", None),
        ("Tesla V100-SXM2-32GB", None),
    ],
)
def test_peaks_are_of_the_very_device(name: str, tflops: float | None) -> None:
    assert throughput.peak_of(name) == (None if tflops is None else tflops * 1e12)


def test_cpus_have_no_peak() -> None:
    assert throughput.peak(CPU) is None


@pytest.mark.parametrize("accumulate", [1, 3])
def test_recomputing_is_not_counted(accumulate: int, tmp_path: Path) -> None:
    """A step has the same arithmetic with and without, and all of its micro-batches."""
    pytest.importorskip("accelerate")
    data = toy_shards(tmp_path / "data")
    found = []
    for recompute in ("false", "true"):
        recipe = load("tts", ["size=tiny", "start=scratch", "batch_tokens=400", f"recompute={recompute}"])
        trainee = build(recipe)
        batches = TokenBatches(Shards([data]), tokens=400, seed=0, names=trainee.arrays)
        config = LoopConfig(steps=2, log_every=1, accumulate=accumulate, cpu=True, checkpoint_every=0)
        train(trainee.objective, batches, config, tmp_path / recompute)
        assert not (tmp_path / recompute / "checkpoints").exists()
        lines = read_metrics(tmp_path / recompute / "metrics.jsonl")
        found.append([line["tflop_per_second"] / line["steps_per_second"] for line in lines])
        assert [round(line["tokens_per_second"] / line["steps_per_second"]) for line in lines] == [
            batches(step).tokens
            for step in range(2)  # type: ignore[union-attr]
        ]
        assert all("mfu" not in line for line in lines)
    assert found[0] == pytest.approx(found[1]) and found[0][0] > 0


def test_what_the_screen_says() -> None:
    assert described({"discriminator_loss": 2.0, "lr": 1.0}) == "loss 2.0000"
    line = {"gradient": 9.0, "loss": 1.5, "tokens_per_second": 81234.4, "tflop_per_second": 123.456, "mfu": 0.4321}
    assert described(line) == "loss 1.5000, 81,234 tokens/s, 123 TFLOP/s, MFU 43.2%"
