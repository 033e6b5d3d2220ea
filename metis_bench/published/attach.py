"""Published results beside those of a run: which rows belong to which set, and how far each value compares.

What comes out is the key `published` of results.json. Nothing here is ranked, averaged or tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from metis_bench.published.model import DatasetModel, Effect, Kind, Published, SetModel, Value
from metis_bench.suite.schema import Suite

Flag: TypeAlias = Kind | Literal["other items", "other recogniser or encoder", "not measured here", "same protocol"]

# What each flag says of a value, worst first.
FLAGS: Mapping[Flag, str] = {
    "typo": "the printed value is wrong",
    "copied from another paper": "not scored by those who printed it",
    "mixed protocol": "the row is put together from different protocols",
    "conflict": "the source contradicts itself",
    "suspicious": "the value looks wrong",
    "unit": "printed in another unit than elsewhere",
    "different model": "the same name means another model elsewhere",
    "claim": "the source says otherwise in its text",
    "by construction": "what it is compared with makes it what it is",
    "loose": "said loosely",
    "ambiguous": "the source can be read in several ways",
    "underspecified": "the source does not say how it was measured",
    "naming": "the source has several names for it",
    "other items": "this run has other test items, or not all of them",
    "other recogniser or encoder": "this run measures the same with another recogniser, encoder or setting",
    "not measured here": "no column of this run measures it on this set",
    "same protocol": "the same items and, as far as it is stated, the same metric as in this run",
    "no public checkpoint": "nobody else can measure this row again",
}
ORDER: Mapping[str, int] = {flag: index for index, flag in enumerate(FLAGS)}


@dataclass(frozen=True)
class PublishedCell:
    """A printed value. value: what compares (None: invalid), as a number and as text; flags: the worst first.

    column: ours that measures the same, if any; notes: ids of the remarks on it
    """

    metric: str
    printed: str
    text: str
    value: float | None
    column: str | None
    flags: tuple[Flag, ...]
    notes: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        """Whether it may be held against the measured column."""
        return "same protocol" in self.flags


@dataclass(frozen=True)
class PublishedRow:
    """A row of a printed table. set: of the run, or None where the source does not say on what it measured."""

    set: str | None
    table: str
    cite: str
    dataset: str
    system: str
    variant: str
    training_data: str
    cells: tuple[PublishedCell, ...]
    kind: Literal["published"] = "published"
    ranked: Literal[False] = False


@dataclass(frozen=True)
class Note:
    """A remark on values, or on the whole source."""

    kind: Kind
    what: str
    evidence: str
    handling: str


@dataclass(frozen=True)
class PublishedMetric:
    """A metric as the source prints it."""

    direction: Literal["higher", "lower"]
    unit: str


@dataclass(frozen=True)
class LeftOut:
    """Values of a data set that stand nowhere in a report, and why."""

    dataset: str
    values: int
    reason: str


@dataclass(frozen=True)
class Attached:
    """The published results of a run. why: by set, what makes its items others than those of which data set.

    general: ids of the notes on the whole source
    """

    name: str
    title: str
    note: str
    metrics: Mapping[str, PublishedMetric]
    rows: tuple[PublishedRow, ...]
    notes: Mapping[str, Note]
    general: tuple[str, ...] = ()
    why: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class _Place:
    """Where the values of a data set go: a set of the run (None: nowhere in particular) and what differs there."""

    set: str | None
    why: str
    present: frozenset[str]  # columns with a value on the set


def attach(published: Published, suite: Suite, results: Mapping[str, Any]) -> Attached:
    """Pure: the rows that belong to the sets of `results` (results.json), flagged by what this run measured.

    A data set of the source whose task is none of the run's, or that no set stands for, is left out with the reason.
    """
    source = published.source
    tasks = {test_set["task"] for test_set in results["sets"]}
    rows: list[PublishedRow] = []
    why: dict[str, tuple[str, ...]] = {}
    for test_set in results["sets"]:
        fits = {name: fit for name, d in source.datasets.items() if (fit := _fit(d, test_set, suite)) is not None}
        places = {name: _place(fit, test_set, results["cells"]) for name, fit in fits.items()}
        rows += _rows(published, places)
        why[test_set["id"]] = tuple(f"{name}: {place.why}" for name, place in places.items() if place.why)
    nowhere = {n: _Place(None, "", frozenset()) for n, d in source.datasets.items() if not d.sets and d.task in tasks}
    rows += _rows(published, nowhere)
    used = {note for row in rows for cell in row.cells for note in cell.notes}
    shown = {row.dataset for row in rows}
    left_out = tuple(_left_out(published, name, tasks) for name in source.datasets if name not in shown)
    return _attached(
        published, tuple(rows), used, {name: reasons for name, reasons in why.items() if reasons}, left_out
    )


def _attached(
    published: Published,
    rows: tuple[PublishedRow, ...],
    used: set[str],
    why: Mapping[str, tuple[str, ...]],
    left_out: tuple[LeftOut, ...],
) -> Attached:
    """With the notes that are used, and those on the whole source."""
    source = published.source
    general = tuple(key for key, remark in published.remarks.items() if remark.whole_paper)
    return Attached(
        name=published.name,
        title=source.title,
        note=source.note,
        metrics={name: PublishedMetric(m.direction, m.unit) for name, m in source.metrics.items()},
        rows=rows,
        notes={
            key: Note(remark.kind, remark.what, remark.evidence, remark.handling)
            for key, remark in published.remarks.items()
            if key in used or key in general
        },
        general=general,
        why=why,
        left_out=left_out,
    )


def alone(published: Published, dataset: str) -> Attached:
    """Pure: the rows of one data set, on a set of that name, beside nothing measured."""
    rows = tuple(_rows(published, {dataset: _Place(dataset, "", frozenset())}))
    used = {note for row in rows for cell in row.cells for note in cell.notes}
    return _attached(published, rows, used, {}, ())


def _fit(dataset: DatasetModel, test_set: Mapping[str, Any], suite: Suite) -> SetModel | None:
    """How a set of the run stands for a data set, or None where it does not."""
    spec = next(corpus for corpus in suite.corpora if corpus.key == test_set["corpus"])
    params = spec.params.model_dump(mode="json")
    for fit in dataset.sets if dataset.task == test_set["task"] else ():
        same = all(params.get(key) == value for key, value in fit.params.items())
        if same and (fit.corpus, fit.subset) == (spec.type, test_set["subset"]):
            return fit
    return None


def _place(fit: SetModel, test_set: Mapping[str, Any], cells: list[Mapping[str, Any]]) -> _Place:
    items, official = test_set["items"], test_set["official_count"] or 0
    all_items = max(test_set["total"], official)
    partial = f"this run has {items} of the set's {all_items} items" if items < all_items else ""
    present = (c["column"] for c in cells if c["set"] == test_set["id"] and c["status"] != "not_applicable")
    return _Place(test_set["id"], "; ".join(filter(None, (fit.why, partial))), frozenset(present))


def _rows(published: Published, places: Mapping[str, _Place]) -> Iterator[PublishedRow]:
    """The printed rows of some data sets, in the order of the source."""
    groups: dict[tuple[str, ...], list[Value]] = {}
    for value in published.values:
        if value.dataset in places:
            groups.setdefault(value.row, []).append(value)
    for (table, dataset, system, variant, training_data), values in groups.items():
        place = places[dataset]
        cells = tuple(_cell(published, value, place) for value in values)
        yield PublishedRow(place.set, table, published.cite(table), dataset, system, variant, training_data, cells)


def _cell(published: Published, value: Value, place: _Place) -> PublishedCell:
    effects = published.effects[value]
    number = Decimal(value.printed)
    for key in effects:
        number *= published.remarks[key].factor or 1
    column = published.source.datasets[value.dataset].columns[value.metric]
    return PublishedCell(
        metric=value.metric,
        printed=value.printed,
        text=str(number),
        value=None if "invalid" in effects.values() else float(number),
        column=column,
        flags=_flags({key: (published.remarks[key].kind, effect) for key, effect in effects.items()}, column, place),
        notes=tuple(effects),
    )


def _flags(effects: Mapping[str, tuple[Kind, Effect]], column: str | None, place: _Place) -> tuple[Flag, ...]:
    """What keeps a value from comparing (else: same protocol), then what is only marked."""
    against: set[Flag] = {kind for kind, effect in effects.values() if effect in ("invalid", "doubt")}
    if place.why:
        against.add("other items")
    if column is None or column not in place.present:
        metric = (column or "").partition(".")[0]
        related = any(other.partition(".")[0] == metric for other in place.present)
        against.add("other recogniser or encoder" if related else "not measured here")
    marked: set[Flag] = {kind for kind, effect in effects.values() if effect == "mark"}
    verdict: set[Flag] = against or {"same protocol"}
    return (*sorted(verdict, key=ORDER.__getitem__), *sorted(marked - verdict, key=ORDER.__getitem__))


def _left_out(published: Published, dataset: str, tasks: set[str]) -> LeftOut:
    task = published.source.datasets[dataset].task
    reason = "no set of this run stands for it" if task in tasks else f"of another task ({task})"
    return LeftOut(dataset, sum(value.dataset == dataset for value in published.values), reason)
