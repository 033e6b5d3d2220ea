"""Several runs, of several machines, as one leaderboard a (task, test set).

Numbers share a leaderboard only if they compare: the same list of items and, for every column that two runs have, the
same protocol (`engine/protocol.py`). What does not becomes a leaderboard of its own, and the reason is told. A merged
leaderboard is a RunData like any other, so whatever shows a run can show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from metis_bench.comparison import why_unequal
from metis_bench.readings import Heard, nothing_kept
from metis_bench.report.data import (
    Cell,
    Facts,
    Failure,
    Generation,
    Item,
    PlanRow,
    RowKey,
    RunData,
    Score,
    System,
    TestSet,
)
from metis_bench.report.published import merged_published

CLOSE = 1e-9  # relative: values that differ by less are equal


@dataclass(frozen=True)
class Run:
    """A finished run. name: unique among those that are merged; audio: where the output of a sha256 lies.

    heard: its kept transcripts
    """

    name: str
    data: RunData
    audio: Callable[[str], Path]
    heard: Heard = nothing_kept


@dataclass(frozen=True)
class Part:
    """One test set of a run."""

    run: Run
    set: TestSet

    @property
    def task(self) -> str:
        """The set's, or the suite's."""
        return self.set.task or self.run.data.results.suite.task

    def cells(self) -> Iterator[Cell]:
        """The run's cells of this set."""
        return (cell for cell in self.run.data.results.cells if cell.set == self.set.id)


@dataclass(frozen=True)
class Leaderboard:
    """data: one test set, systems under names that are unique here, no ranks yet where several runs are in it.

    id: unique among all leaderboards; origins: by system, the runs that measured it; names: by system, its own name
    notes: what was not merged, and why
    """

    id: str
    task: str
    data: RunData
    origins: Mapping[str, tuple[Run, ...]]
    names: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def set(self) -> TestSet:
        """Its test set."""
        return self.data.results.sets[0]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs in it, once each."""
        return tuple({run.name: run for runs in self.origins.values() for run in runs}.values())


def merge(runs: Sequence[Run]) -> tuple[Leaderboard, ...]:
    """The leaderboards of all runs, in the order in which their sets first appear."""
    groups: dict[tuple[str, str], list[list[Part]]] = {}
    reasons: dict[int, list[str]] = {}
    for run in runs:
        for test_set in run.data.results.sets:
            part = Part(run, test_set)
            _place(part, groups.setdefault((part.task, test_set.id), []), reasons)
    found = []
    for (task, name), several in groups.items():
        for number, parts in enumerate(several, start=1):
            unique = name if number == 1 else f"{name} ({number})"
            taken = any(other != task and other_name == name for other, other_name in groups)
            found.append(_combine(f"{task} {unique}" if taken else unique, task, parts, reasons.get(id(parts), [])))
    return tuple(found)


def _place(part: Part, several: list[list[Part]], reasons: dict[int, list[str]]) -> None:
    """Into the first group that it compares with, else into one of its own, with why on both sides."""
    refused: list[tuple[list[Part], str]] = []
    for parts in several:
        why = next((text for other in parts if (text := _why_apart(other, part))), None)
        if why is None:
            parts.append(part)
            return
        refused.append((parts, why))
    own = [part]
    several.append(own)
    for parts, why in refused:
        text = f"{part.run.name} is not merged with {', '.join(other.run.name for other in parts)}: {why}"
        for group in (parts, own):
            reasons.setdefault(id(group), []).append(text)


def _why_apart(a: Part, b: Part) -> str | None:
    """Why two runs of a set may not stand in one table; None if they may."""
    lists = [a.set.list_hash, b.set.list_hash]
    if lists[0] != lists[1]:
        return f"the lists of items differ ({lists[0]} and {lists[1]})"
    one, other = (part.run.data.results for part in (a, b))
    if one.stats != other.stats:
        return "their intervals are made differently"
    ours, theirs = ({c.column: c for c in part.cells() if c.signature is not None} for part in (a, b))
    labels = {c.id: c for c in one.columns}
    for column in other.columns:
        known = labels.get(column.id)
        if known is None or column.id not in ours or column.id not in theirs:
            continue
        cells = ours[column.id], theirs[column.id]
        if (known.direction, known.aggregate, known.ratio, known.unit) != (
            column.direction,
            column.aggregate,
            column.ratio,
            column.unit,
        ):
            return f"{column.label} means two things"
        if cells[0].protocol == cells[1].protocol is None and _tells(a) and _tells(b):
            if cells[0].signature == cells[1].signature:
                continue  # a cost: the machine decides it, so it is shown and never compared
            return f"{column.label}: the metrics' signatures differ ({cells[0].signature} and {cells[1].signature})"
        if None in (cells[0].protocol, cells[1].protocol):
            return f"{column.label}: its protocol is not told"
        why = why_unequal(*cells, lists)
        if why is not None:
            return f"{column.label}: {why}"
    return None


def _tells(part: Part) -> bool:
    """Whether its numbers carry protocols: those of older versions do not, costs never do."""
    return any(cell.protocol is not None for cell in part.cells())


@dataclass
class _Entry:
    """A system as some runs measured it, under one name of the leaderboard."""

    system: System
    parts: list[Part]
    cells: dict[str, Cell]
    label: str = ""


Notes: TypeAlias = list[str]
T = TypeVar("T")


def _combine(unique: str, task: str, parts: Sequence[Part], reasons: Sequence[str]) -> Leaderboard:
    notes: Notes = list(reasons)
    entries = _entries(parts, notes)
    _label(entries, notes)
    first, set_id = parts[0].run.data, parts[0].set.id
    cells = tuple(replace(cell, system=e.label) for e in entries for cell in e.cells.values())
    if len(parts) > 1:  # the engine ranked those of one run alone
        cells = tuple(replace(cell, rank=None) for cell in cells)
        if any(cell.protocol is None and cell.status != "not_applicable" for cell in cells):
            notes.append("Costs are of several runs, and the machine decides them: they are shown, and not ranked.")
    results = replace(
        first.results,
        systems=tuple(replace(e.system, name=e.label) for e in entries),
        sets=(replace(parts[0].set, warnings=_distinct(w for part in parts for w in part.set.warnings)),),
        columns=tuple({c.id: c for part in parts for c in part.run.data.results.columns}.values()),
        cells=cells,
        signatures={k: v for part in parts for k, v in part.run.data.results.signatures.items()},
        oracle_checks=_distinct(c for p in parts for c in p.run.data.results.oracle_checks if c.set == set_id),
        failures=tuple(_failures(entries, set_id)),
        warnings=(),
        published=merged_published([part.run.data.results.published for part in parts], set_id),
    )
    rows, generations, scores = _planned(parts, entries)
    data = RunData(
        run=replace(first.run, resolved={**first.run.resolved, "systems": {e.label: _options(e) for e in entries}}),
        results=results,
        cells={(cell.set, cell.system, cell.column): cell for cell in cells},
        items={key: item for part in reversed(parts) for key, item in _items(part)},
        rows=tuple(rows),
        generations=generations,
        scores=scores,
    )
    origins = {e.label: tuple(part.run for part in e.parts) for e in entries}
    return Leaderboard(unique, task, data, origins, {e.label: e.system.name for e in entries}, tuple(notes))


def _options(entry: _Entry) -> Facts:
    """What the suite says of a system."""
    told: Facts = (entry.parts[0].run.data.run.resolved.get("systems") or {}).get(entry.system.name) or {}
    return told


def _items(part: Part) -> Iterator[tuple[tuple[str, str], Item]]:
    return ((key, item) for key, item in part.run.data.items.items() if key[0] == part.set.id)


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Without repetitions, in order; for values that may not be hashable."""
    found: list[T] = []
    for value in values:
        if value not in found:
            found.append(value)
    return tuple(found)


def _entries(parts: Sequence[Part], notes: Notes) -> list[_Entry]:
    """Systems by name and fingerprint; measured twice with equal values: one entry, else one a run."""
    found: list[_Entry] = []
    for part in parts:
        planned = {cell.system for cell in part.cells()}
        for system in (s for s in part.run.data.results.systems if s.name in planned):
            cells = {cell.column: cell for cell in part.cells() if cell.system == system.name}
            same = [e for e in found if (e.system.name, e.system.fingerprint) == (system.name, system.fingerprint)]
            equal = next((e for e in same if not _unequal(e.cells, cells)), None)
            if equal is not None:
                equal.parts.append(part)
                equal.cells = {**cells, **equal.cells}
                continue
            for other in same[:1]:
                told = ", ".join(_unequal(other.cells, cells))
                runs = f"{other.parts[0].run.name} and {part.run.name}"
                notes.append(
                    f"{system.name} was measured twice, with unequal values in {runs}: {told}. Both are shown."
                )
            found.append(_Entry(system, [part], cells))
    return found


def _unequal(ours: Mapping[str, Cell], theirs: Mapping[str, Cell]) -> list[str]:
    """Where the same system has different values; costs are the machine's and do not count."""
    return [
        f"{column} {_shown(cell)} and {_shown(theirs[column])}"
        for column, cell in ours.items()
        if column in theirs and cell.protocol is not None and not _same(cell, theirs[column])
    ]


def _shown(cell: Cell) -> str:
    return f"{'no value' if cell.value is None else f'{cell.value:.6g}'} ({cell.n}/{cell.N})"


def _same(a: Cell, b: Cell) -> bool:
    if a.value is None or b.value is None:
        return (a.value, a.n, a.N) == (b.value, b.n, b.N)
    return (a.n, a.N) == (b.n, b.N) and abs(a.value - b.value) <= CLOSE * max(abs(a.value), abs(b.value))


def _label(entries: Sequence[_Entry], notes: Notes) -> None:
    """Names that are unique: with the run where several systems have one name."""
    for entry in entries:
        entry.label = entry.system.name
    for name in dict.fromkeys(entry.system.name for entry in entries):
        same = [entry for entry in entries if entry.system.name == name]
        if len(same) == 1:
            continue
        for entry in same:
            entry.label = f"{name} ({entry.parts[0].run.name})"
        runs = [entry.parts[0].run.name for entry in {e.system.fingerprint: e for e in reversed(same)}.values()][::-1]
        if len(runs) > 1:
            told = f"{', '.join(runs[:-1])} and {runs[-1]}"
            notes.append(f"{name} is not the same system in {told}: weights, code or parameters differ.")


def _failures(entries: Sequence[_Entry], set_id: str) -> Iterator[Failure]:
    for entry in entries:
        for failure in entry.parts[0].run.data.results.failures:
            if (failure.set, failure.system) == (set_id, entry.system.name):
                yield replace(failure, system=entry.label)


Planned: TypeAlias = tuple[list[PlanRow], dict[RowKey, Generation], dict[RowKey, Mapping[str, Score]]]


def _planned(parts: Sequence[Part], entries: Sequence[_Entry]) -> Planned:
    """Rows, generations and scores under the names of the leaderboard; columns of several runs side by side."""
    labels = {(part.run.name, e.system.name): (e.label, part is e.parts[0]) for e in entries for part in e.parts}
    rows: list[PlanRow] = []
    generations: dict[RowKey, Generation] = {}
    scores: dict[RowKey, Mapping[str, Score]] = {}
    for part in parts:
        data = part.run.data
        for row in (r for r in data.rows if r.set == part.set.id and (part.run.name, r.system) in labels):
            label, first = labels[part.run.name, row.system]
            key = (row.set, row.item, label, row.seed)
            if first:
                rows.append(row if label == row.system else replace(row, system=label))
                if row.key in data.generations:
                    generations[key] = data.generations[row.key]
            if row.key in data.scores:
                scores[key] = {**data.scores[row.key], **scores[key]} if key in scores else data.scores[row.key]
    return rows, generations, scores
