"""Axes cover the data with round ticks; marks stand where the numbers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metis_bench.report.data import load_run
from metis_bench.report.plots import LEFT, RIGHT, WIDTH, build_plots, shorten, ticks
from metis_bench.report.tables import build_boards
from tests.report.conftest import Fabricated

finite = st.floats(-1e6, 1e6).map(lambda x: round(x, 4))


@given(finite, finite)
def test_ticks_cover_the_data(a: float, b: float) -> None:
    axis = ticks(min(a, b), max(a, b))
    slack = 1e-6 * max(1.0, abs(a), abs(b))
    assert axis[0] <= min(a, b) + slack and axis[-1] >= max(a, b) - slack
    assert 2 <= len(axis) <= 8 and axis == sorted(set(axis))


def test_ticks_are_round_and_start_at_zero_when_near() -> None:
    assert ticks(0.03, 0.39) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert ticks(1.1, 4.6, least=1.0) == pytest.approx([1, 2, 3, 4, 5])
    assert ticks(2.1, 3.6) == pytest.approx([2, 2.5, 3, 3.5, 4])


def test_marks_are_placed_linearly(fabricated: Fabricated) -> None:
    board = build_boards(load_run(fabricated.save().path))[0]
    plot = build_plots(board)[0]
    low, high = float(plot.ticks[0].text), float(plot.ticks[-1].text)
    for mark, row in zip(plot.marks, board.rows, strict=True):
        value = row.cells[0].sort
        assert value is not None
        assert mark.x == pytest.approx(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), abs=0.01)
        assert mark.x1 is not None and mark.x2 is not None and mark.x1 <= mark.x <= mark.x2
    assert [m.complete for m in plot.marks if m.name == "rnnoise"] == [False]


def test_shorten_counts_wide_characters() -> None:
    assert shorten("short", 18) == "short"
    assert shorten("a" * 30, 10) == "a" * 9 + "…"
    assert shorten("語" * 10, 10) == "語語語語…"
