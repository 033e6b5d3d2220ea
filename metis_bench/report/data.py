"""A finished run folder, read into frozen dataclasses and validated; nothing later touches JSON again.

Unknown keys are ignored (a newer engine may add some), missing ones and NaN are errors that name the file and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from metis_bench.errors import MetisBenchError
from metis_bench.published.attach import Attached
from metis_bench.report.reading import RERUN, no_collection, read_file, read_lines
from metis_bench.systems.base import Kind

SCHEMA = 1  # of results.json
Facts: TypeAlias = dict[str, Any]  # free-form JSON that is only shown
RowKey: TypeAlias = tuple[str, str, str, int]  # set, item, system, seed


class _Strict:
    """NaN and infinities are refused wherever a dataclass below is read from JSON."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)


@dataclass(frozen=True)
class Suite(_Strict):
    """What was run."""

    name: str
    task: str
    title: str | None = None
    profile: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class System(_Strict):
    """One row of the leaderboards. Bounds and oracles have `ranked` false."""

    name: str
    kind: Kind
    ranked: bool
    class_name: Annotated[str | None, Field(alias="class")] = None
    fingerprint: str | None = None
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # fields of an item it was given, by task
    sizes: Mapping[str, int] = field(default_factory=dict)
    hardware: tuple[str, ...] = ()


@dataclass(frozen=True)
class TestSet(_Strict):
    """One test set: `items` were planned, `official_count` is what the official release has."""

    __test__ = False  # not a test class, whatever pytest thinks of its name
    id: str
    items: int
    corpus: str = ""
    subset: str = ""
    task: str = ""
    official_count: int | None = None
    list_hash: str | None = None
    licence: str | None = None
    clusters: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Fewer items than the official release: the numbers do not compare with published ones."""
        return self.official_count is not None and self.items < self.official_count


@dataclass(frozen=True)
class Column(_Strict):
    """One number a metric reports, as the engine describes it."""

    id: str
    label: str
    direction: Literal["higher", "lower"]
    metric: str = ""
    decimals: int = 2
    unit: str = ""
    headline: bool = False
    ranked: bool = True  # False: no system has a rank by it
    worst: float | None = None
    aggregate: str = "mean"
    ratio: tuple[str, str] | None = None
    family: str = ""
    help: str = ""


@dataclass(frozen=True)
class Cell(_Strict):
    """The aggregate of one column for one system on one test set: n of N planned rows have a value.

    rank_to: the last rank that it may have, where differences that are not significant are ties (`report/ranks.py`)
    """

    set: str
    system: str
    column: str
    status: Literal["complete", "incomplete", "empty", "not_applicable"]
    n: int
    N: int
    value: float | None = None
    ci: tuple[float, float] | None = None
    penalised: float | None = None
    clusters: int | None = None
    signature: str | None = None
    protocol: str | None = None
    rank: int | None = None
    rank_to: int | None = None
    reasons: Mapping[str, int] = field(default_factory=dict)
    extra: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class OracleCheck(_Strict):
    """`better` must beat `worse`; `ok` is None when it could not be checked."""

    set: str
    column: str
    better: str
    worse: str
    better_value: float | None = None
    worse_value: float | None = None
    ok: bool | None = None
    reason: str | None = None
    items: int | None = None  # that both sides have a value for: the values above are over these


@dataclass(frozen=True)
class Failure(_Strict):
    """One planned row without an output, or one output without a score."""

    stage: str
    reason: str
    system: str | None = None
    set: str | None = None
    item: str | None = None
    seed: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class InputFile(_Strict):
    """An input file of an item as the plan saw it; `error` says why it could not be read."""

    path: str
    sha256: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class InputAudio(InputFile):
    """An audio file, with what its header says."""

    rate: int | None = None
    channels: int | None = None
    seconds: float | None = None
    container: str | None = None
    subtype: str | None = None


@dataclass(frozen=True)
class Item(_Strict):
    """One trial of a test set."""

    set: str
    item: str
    language: str = ""
    text: str | None = None
    prompt_text: str | None = None
    cluster: str | None = None
    audio: Mapping[str, InputAudio | None] = field(default_factory=dict)
    video: InputFile | None = None


@dataclass(frozen=True)
class PlanRow(_Strict):
    """One planned generation: part of the denominator."""

    system: str
    set: str
    item: str
    seed: int

    @property
    def key(self) -> RowKey:
        """What generations and scores of this row are found by."""
        return (self.set, self.item, self.system, self.seed)


@dataclass(frozen=True)
class OutputAudio(_Strict):
    """A stored output; `seconds` long at `rate` Hz."""

    sha256: str
    rate: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Generation(PlanRow):
    """What became of a planned row."""

    status: Literal["ok", "failed"]
    reason: str | None = None
    audio: OutputAudio | None = None
    wall_s: float | None = None


@dataclass(frozen=True)
class Score(PlanRow):
    """One column's value of one output, or the reason there is none."""

    column: str
    status: Literal["ok", "undefined", "failed"]
    value: float | None = None
    reason: str | None = None
    signature: str | None = None
    protocol: str | None = None
    detail: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _PlanItem(Item):
    type: Literal["item"]


@dataclass(frozen=True, kw_only=True)
class _PlanRow(PlanRow):
    type: Literal["row"]


@dataclass(frozen=True)
class Stats(_Strict):
    """How the intervals were made: percentile intervals at `level` (0..1) of `resamples` seeded bootstrap draws."""

    resamples: int
    level: Annotated[float, Field(gt=0, lt=1)]
    seed: int

    @property
    def interval(self) -> str:
        """What to call an interval: '95 % interval'."""
        return f"{100 * self.level:g} % interval"


@dataclass(frozen=True)
class _RunFile:
    provenance: Facts
    resolved: Facts = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class _ResultsFile:
    schema: int
    suite: Suite
    stats: Stats
    systems: tuple[System, ...]
    sets: tuple[TestSet, ...]
    columns: tuple[Column, ...]
    cells: tuple[Cell, ...]
    signatures: Mapping[str, Facts] = field(default_factory=dict)
    oracle_checks: tuple[OracleCheck, ...] = ()
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()
    published: Attached | None = None


@dataclass(frozen=True)
class RunData:
    """All of a run. Cells by (set, system, column); items by (set, item) in plan order; the rest by RowKey."""

    run: _RunFile
    results: _ResultsFile
    cells: Mapping[tuple[str, str, str], Cell]
    items: Mapping[tuple[str, str], Item]
    rows: tuple[PlanRow, ...]
    generations: Mapping[RowKey, Generation]
    scores: Mapping[RowKey, Mapping[str, Score]]

    @cached_property
    def _scored(self) -> Mapping[tuple[str, str], Mapping[tuple[str, int], Mapping[str, Score]]]:
        found: dict[tuple[str, str], dict[tuple[str, int], Mapping[str, Score]]] = {}
        for (test_set, item, system, seed), columns in self.scores.items():
            found.setdefault((test_set, system), {})[item, seed] = columns
        return found

    def scored_by(self, test_set: str, system: str) -> Mapping[tuple[str, int], Mapping[str, Score]]:
        """The scores of a system on a test set: (item, seed) -> column -> score."""
        return self._scored.get((test_set, system), {})


def load_run(run: Path) -> RunData:
    """Read RUN/{run.json,plan.jsonl,generations.jsonl,scores.jsonl,results.json}. Raises MetisBenchError."""
    with no_collection():
        return _load(run)


def _load(run: Path) -> RunData:
    results = read_file(run / "results.json", TypeAdapter(_ResultsFile))
    if results.schema != SCHEMA:
        raise MetisBenchError(
            f"results schema {results.schema} is not {SCHEMA}, the one this version reads",
            where=run / "results.json",
            fix="score the run again with this version of metis-bench",
        )
    _check_names(results, run / "results.json")
    items, rows = _plan(run / "plan.jsonl")
    scores: dict[RowKey, dict[str, Score]] = {}
    for score in read_lines(run / "scores.jsonl", TypeAdapter(list[Score])):
        scores.setdefault(score.key, {})[score.column] = score
    return RunData(
        run=read_file(run / "run.json", TypeAdapter(_RunFile)),
        results=results,
        cells={(cell.set, cell.system, cell.column): cell for cell in results.cells},
        items=items,
        rows=rows,
        generations={g.key: g for g in read_lines(run / "generations.jsonl", TypeAdapter(list[Generation]))},
        scores=scores,
    )


def _check_names(results: _ResultsFile, path: Path) -> None:
    """Cells and oracle checks may only name what the file lists; a check may name a system this run left out."""
    systems, sets = {s.name for s in results.systems}, {s.id for s in results.sets}
    columns = {c.id for c in results.columns}
    used: list[tuple[str, str, str | None]] = [(cell.set, cell.column, cell.system) for cell in results.cells]
    used += [(check.set, check.column, None) for check in results.oracle_checks]
    for set_id, column, system in used:
        if set_id not in sets or column not in columns or (system is not None and system not in systems):
            message = f"a result names an unknown set, column or system: {set_id}, {column}, {system or 'oracle check'}"
            raise MetisBenchError(message, where=path, fix=RERUN)
    for row in results.published.rows if results.published else ():
        if row.set is not None and row.set not in sets:
            raise MetisBenchError(f"a published row names an unknown set: {row.set}", where=path, fix=RERUN)


def _plan(path: Path) -> tuple[dict[tuple[str, str], Item], tuple[PlanRow, ...]]:
    items: dict[tuple[str, str], Item] = {}
    rows: list[PlanRow] = []
    entries = TypeAdapter(list[Annotated[_PlanItem | _PlanRow, Field(discriminator="type")]])
    for entry in read_lines(path, entries):
        if isinstance(entry, _PlanItem):
            items[entry.set, entry.item] = entry
        else:
            rows.append(entry)
    return items, tuple(rows)
