"""Leaderboards say what the cells say: order, ranks, reasons, signatures."""

from __future__ import annotations

import pytest

from metis_bench.report.data import load_run
from metis_bench.report.plots import build_plots
from metis_bench.report.tables import Board, build_boards, number
from tests.report.conftest import Fabricated


def boards(fabricated: Fabricated) -> dict[str, Board]:
    return {board.set.id: board for board in build_boards(load_run(fabricated.save().path))}


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(-0.004, 2, "0.00"), (-0.006, 2, "-0.01"), (2.345678, 1, "2.3"), (-0.4, 0, "0")]
)
def test_number(value: float, decimals: int, text: str) -> None:
    assert number(value, decimals) == text


def test_ranked_rows_come_by_rank_and_oracles_apart(fabricated: Fabricated) -> None:
    board = boards(fabricated)["dns2020/no_reverb"]
    assert [row.rank for row in board.ranked] == [1, 2, 3, 4, None]
    assert [row.system.name for row in board.unranked] == ["clean", "noisy", "silence"]  # by value, best first
    assert all(row.rank is None and cell.rank is None for row in board.unranked for cell in row.cells)


def test_lower_is_better_orders_ascending(fabricated: Fabricated) -> None:
    for column in fabricated.results["columns"]:
        column["headline"] = column["id"] == "wer.pocketsphinx"
    board = boards(fabricated)["dns2020/no_reverb"]
    values = [row.cells[0].sort for row in board.ranked if row.rank]
    assert board.by is not None and board.by.id == "wer.pocketsphinx" and values == sorted(values)


def test_incomplete_system_shows_counts_penalty_and_why(fabricated: Fabricated) -> None:
    board = boards(fabricated)["dns2020/no_reverb"]
    row = next(row for row in board.ranked if row.system.name == "rnnoise")
    cell = row.cells[0]
    source = next(c for c in fabricated.results["cells"] if c["system"] == "rnnoise" and c["column"] == "dnsmos.ovrl")
    assert (cell.counts, cell.penalised) == ("3/5", f"{source['penalised']:.2f}")
    assert row.rank_reason == "incomplete: 3 of 5" and "crashed & burned (×2)" in cell.title


def test_column_that_applies_nowhere_leaves_the_table_with_its_reason(fabricated: Fabricated) -> None:
    board = boards(fabricated)["dns2020/real_recordings"]
    assert "PESQ-WB" not in [column.label for column in board.columns]
    assert ("PESQ-WB", "the set provides no reference") in board.not_applicable
    assert next(r for r in board.unranked if r.system.name == "clean").cells[0].text == "n/a"


def test_mixed_signatures_are_a_warning(fabricated: Fabricated) -> None:
    cell = next(c for c in fabricated.results["cells"] if c["column"] == "dnsmos.ovrl" and c["signature"])
    cell["signature"] = "ffffffffffff"
    first, second, *_ = boards(fabricated).values()
    assert first.warnings == ("DNSMOS OVRL: its cells carry different signatures and do not compare",)
    assert not second.warnings


def test_costs_of_what_only_copies_files_are_not_applicable(fabricated: Fabricated) -> None:
    board = boards(fabricated)["dns2020/no_reverb"]
    place = [column.id for column in board.columns].index("rtf")
    cells = {row.system.name: row.cells[place] for row in board.rows}
    assert {name for name, cell in cells.items() if cell.text == "n/a"} == {"clean", "noisy"}
    assert cells["clean"].title == "it only copies a file" and cells["clean"].counts == cells["clean"].ci == ""
    plot = next(p for p in build_plots(board) if p.column.id == "rtf")
    marks = {mark.name: mark for mark in plot.marks}
    assert (marks["clean"].text, marks["clean"].x, marks["clean"].x1) == ("n/a", None, None)
    assert marks["clean"].complete and marks["rnnoise"].x is not None


def test_a_set_of_copies_alone_has_no_cost_column(fabricated: Fabricated) -> None:
    for cell in fabricated.results["cells"]:
        if cell["column"] == "rtf":
            cell.update(status="not_applicable", value=None, ci=None, n=0, N=0, rank=None, extra={})
            cell.update(reasons={"it only copies a file": 0})
    board = boards(fabricated)["dns2020/no_reverb"]
    assert "rtf" not in [column.id for column in board.columns]
    assert ("RTF", "it only copies a file") in board.not_applicable


@pytest.mark.parametrize(("level", "text"), [(0.6, "60 %"), (0.95, "95 %"), (0.999, "99.9 %"), (0.55, "55 %")])
def test_intervals_are_called_by_their_level(fabricated: Fabricated, level: float, text: str) -> None:
    fabricated.results["stats"]["level"] = level
    board = boards(fabricated)["dns2020/no_reverb"]
    assert board.interval == f"{text} interval"
    titles = [cell.title for row in board.rows for cell in row.cells if cell.ci]
    assert titles and all(f" · {text} interval [" in title for title in titles)
