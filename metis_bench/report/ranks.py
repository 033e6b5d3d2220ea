"""Ranks with ties: systems whose difference is not significant share a range of ranks, like 1-2.

In every column all complete systems are compared in pairs, item by item (`comparison.py`); the tests of a column are
one family (Holm). A system's first rank is one more than the systems proved better, its last one leaves room for those
proved worse. What is not compared in pairs (costs, numbers without a protocol) keeps its run's rank, if it is of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

from metis_bench.comparison import Comparison, Difference, Side, corrected, resampled_differences
from metis_bench.report.data import Cell, Column, RunData


@dataclass(frozen=True)
class Ranked:
    """data: with ranks; pairs: by test set, every two systems that rank, all columns, p corrected within each."""

    data: RunData
    pairs: Mapping[str, tuple[Comparison, ...]]


def rank(data: RunData) -> Ranked:
    """Every test set of its own."""
    found = {test_set.id: _ranked(data, test_set.id) for test_set in data.results.sets}
    cells = tuple(_with_rank(cell, found[cell.set][0]) for cell in data.results.cells)
    ranked = replace(
        data,
        results=replace(data.results, cells=cells),
        cells={(cell.set, cell.system, cell.column): cell for cell in cells},
    )
    return Ranked(ranked, {name: pairs for name, (_, pairs) in found.items()})


Ranks: TypeAlias = dict[str, dict[str, tuple[int, int]]]  # first and last rank, by column and system


def _ranked(data: RunData, test_set: str) -> tuple[Ranks, tuple[Comparison, ...]]:
    level = data.results.stats.level
    columns = [c for c in data.results.columns if c.aggregate != "max" and _keyed(data, test_set, c)]
    names = [s.name for s in data.results.systems if s.ranked]
    pairs = list(combinations(names, 2))
    tests = [
        (Side("", a, data), Side("", b, data), column)
        for a, b in pairs
        for column in columns
        if all(_has_value(data, test_set, name, column) for name in (a, b))
    ]
    found: dict[tuple[str, str], list[Difference]] = {pair: [] for pair in pairs}
    for (a, b, _), (difference, _) in zip(tests, resampled_differences(tests, test_set), strict=True):
        found[a.system, b.system].append(difference)
    ranks = {c.id: _ranks(data, test_set, c, found, level) for c in columns if c.ranked}
    return ranks, tuple(Comparison(a, b, level, tuple(corrected(found[a, b]))) for a, b in pairs if found[a, b])


def _keyed(data: RunData, test_set: str, column: Column) -> bool:
    """Whether its numbers carry a protocol: what does not is a cost, or of an older run."""
    cells = [c for c in data.results.cells if c.set == test_set and c.column == column.id]
    return any(cell.protocol is not None for cell in cells)


def _has_value(data: RunData, test_set: str, system: str, column: Column) -> bool:
    cell = data.cells.get((test_set, system, column.id))
    return cell is not None and cell.value is not None


def _ranks(
    data: RunData, test_set: str, column: Column, found: Mapping[tuple[str, str], Sequence[Difference]], level: float
) -> dict[str, tuple[int, int]]:
    """First and last rank of every complete system that has a value: nothing over nothing is none."""
    names = [
        s.name
        for s in data.results.systems
        if s.ranked
        and _has_value(data, test_set, s.name, column)
        and data.cells[test_set, s.name, column.id].status == "complete"
    ]
    mine = {pair: d for pair in combinations(names, 2) for d in found[pair] if d.column == column.id}
    verdicts = [d.verdict(level) for d in corrected(list(mine.values()))]
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for (a, b), verdict in zip(mine, verdicts, strict=True):
        if verdict in ("better", "worse"):
            first, second = (a, b) if verdict == "better" else (b, a)
            worse[first] += 1
            better[second] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}


def _with_rank(cell: Cell, ranks: Ranks) -> Cell:
    if cell.column not in ranks:
        return cell
    first, last = ranks[cell.column].get(cell.system, (None, None))
    return replace(cell, rank=first, rank_to=last)
