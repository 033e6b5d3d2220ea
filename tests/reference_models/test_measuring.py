"""How fast the models generate: what is told of each mode is what was measured of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from reference_models.errors import MetisError
from reference_models.measuring.inputs import held, weights
from reference_models.measuring.modes import Bench, Observed, Row, Setting
from reference_models.prepare import Prepared
from reference_models.random_weights import RandomWeights

SECONDS = 0.1
SETTING = Setting("tiny", "se", ("float32", "bfloat16"), seconds=SECONDS, repeats=2, device="cpu")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(SETTING)


@pytest.fixture(scope="module")
def rows(bench: Bench) -> list[Row]:
    return bench.rows(2)


def test_every_ratio_follows_from_the_times_of_this_run(bench: Bench, rows: list[Row]) -> None:
    assert [(r["mode"], r["dtype"], r["batch"]) for r in rows] == [
        ("official", "float32", 2),
        ("default", "float32", 2),
        ("default", "bfloat16", 2),
    ]
    official = rows[0]
    for row, entry in zip(rows, bench.entries, strict=True):
        assert len(entry.times) == 2 and row["failed"] is None
        assert row["seconds"] == pytest.approx(sum(t["total"] for t in entry.times) / 2)
        assert row["speed_up"] == pytest.approx(official["seconds"] / row["seconds"])
        assert row["rtf"] == pytest.approx(row["seconds"] / (2 * SECONDS))
        assert row["tflop_per_second"] == pytest.approx(row["tflop"] / row["seconds"])
        assert row["of_limit"] == pytest.approx(row["tflop"] * 1e12 / row["seconds"] / bench.limits[row["dtype"]])
        assert 0 < sum(row["stages"].values()) < row["seconds"] * 1.01
        assert row["memory_gb"] is None or row["memory_gb"] > 0
    assert official["calls"] == official["passes"], "one by one"
    assert rows[1]["calls"] < official["calls"] / 2, "both of the batch in one call, and no second pass without context"


def test_tokens_are_compared(bench: Bench, rows: list[Row]) -> None:
    assert [r["tokens"] for r in rows] == [True, True, None]
    assert rows[0]["alike"] is None and 0.5 < rows[2]["alike"] < 1
    default = bench.entries[1].metis
    equal, other = default.parts, Observed(RandomWeights("tiny", seed=1), "se").parts
    try:
        default.parts = other
        assert bench.rows(1, compare=False)[1]["tokens"] is False
    finally:
        default.parts = equal


def test_a_mode_that_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Observed.run

    def picky(self: Observed, batch: Sequence[Prepared]) -> None:
        if not self.official:
            raise torch.OutOfMemoryError("out of memory\nand much more")
        run(self, batch)

    monkeypatch.setattr(Observed, "run", picky)
    official, default = Bench(Setting("tiny", "se", seconds=SECONDS, repeats=1, device="cpu")).rows(1)
    assert official["failed"] is None and official["seconds"] > 0
    assert default["failed"] == "out of memory" and default["speed_up"] is None and default["seconds"] is None


def test_a_compiled_mode_computes_what_its_precision_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C++ compiler is not needed for that."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compiled(self, **{**how, "backend": "eager"}))
    bench = Bench(Setting("tiny", "se", compiled=True, seconds=SECONDS, repeats=1, device="cpu"))
    _, plain, quick = bench.rows(1)
    assert quick["compiled"] and quick["failed"] is None and quick["seconds"] > 0
    assert (quick["tflop"], quick["passes"]) == (plain["tflop"], plain["passes"])
    assert quick["alike"] > 0.9


def test_what_weights_take_is_known_before_they_are_built() -> None:
    parts = Observed(RandomWeights("tiny", dtype=torch.bfloat16), "tts").parts
    built = held(parts.stage1, parts.first, parts.fine, parts.decoder)
    assert weights("tiny", "tts", ["bfloat16"]) == pytest.approx(built, rel=0.02)  # weight norm is folded
    assert 5e9 < weights("full", "tts", ["float32"]) < 8e9


def test_no_such_device() -> None:
    with pytest.raises(MetisError, match="no device"):
        Setting(device="cuda:99").place()
