"""Two systems on the same items: paired differences with intervals, p values, and the items behind them.

Only equal protocols are compared (metric signature, list of items, seeds, statistics; `engine/protocol.py`), and only
outputs that both sides have a score for; what is left out is told. Seeds of an item are averaged, then clusters of
items are resampled and their signs flipped. p values of one comparison are one family (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metis_bench import stats
from metis_bench.errors import UsageError, nearest
from metis_bench.report.data import Cell, Column, RunData, Score, load_run

WORST = 10  # items listed a comparison


@dataclass(frozen=True)
class Side:
    """A system of a run."""

    run: str
    system: str
    data: RunData

    @property
    def name(self) -> str:
        """As a reader tells it from the other one."""
        return f"{self.system} ({self.run})"


@dataclass(frozen=True)
class Item:
    """One item's pair of values, seeds averaged."""

    item: str
    a: float
    b: float


@dataclass(frozen=True)
class Difference:
    """One column of one test set. Signs are those of `a - b`; `better` knows the column's direction.

    pairs: items with a value on both sides, of `planned`;  detectable: true difference found with probability 0.8
    worst, best: items where `a` loses and wins most; refused: why there is no comparison, and then there are no numbers
    """

    set: str
    column: str
    label: str
    direction: str
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    pairs: int = 0
    planned: int = 0
    clusters: int = 0
    worst: tuple[Item, ...] = ()
    best: tuple[Item, ...] = ()
    refused: str | None = None

    def verdict(self, level: float) -> str:
        """`a` against `b`: better, worse, no difference found, or not comparable."""
        if self.refused is not None or self.difference is None:
            return "not comparable"
        if self.p_holm is None or self.p_holm > 1 - level:
            return "no difference found"
        return "better" if (self.difference > 0) == (self.direction == "higher") else "worse"


@dataclass(frozen=True)
class Comparison:
    """`a` against `b`, over all columns that are scored on both."""

    a: str
    b: str
    level: float
    differences: tuple[Difference, ...]


def compare(a: Path, b: Path, systems: Sequence[str] = (), against: Sequence[str] = ()) -> list[Comparison]:
    """Systems of run `a` against those of run `b`; of one run: against the others in it.

    systems: of `a` (default: all); against: of `b` (default: the same name; within one run, all others)
    Raises UsageError for unknown names and where there is nothing to compare, MetisBenchError for broken runs.
    """
    left = load_run(a)
    right = left if a.resolve() == b.resolve() else load_run(b)
    found = [_compared(one, other) for one, other in _pairs(a, b, left, right, systems, against)]
    if not found and left is right:
        raise UsageError(f"{a} has no second system to compare with", fix="name another run, or run more systems")
    if not found:
        raise UsageError("the two runs have no system of the same name", fix="name them: --system A --against B")
    return found


def _pairs(
    a: Path, b: Path, left: RunData, right: RunData, systems: Sequence[str], against: Sequence[str]
) -> Iterator[tuple[Side, Side]]:
    ours, theirs = ([s.name for s in data.results.systems] for data in (left, right))
    for name, known, run in (*((n, ours, a) for n in systems), *((n, theirs, b) for n in against)):
        if name not in known:
            raise UsageError(f"{run} has no system '{name}'{nearest(name, known)}")
    for name in systems or ours:
        if against:
            others = [o for o in against if left is not right or o != name]
        else:
            others = [o for o in theirs if (o != name if left is right else o == name)]
        for other in others:
            yield Side(a.name, name, left), Side(b.name, other, right)


def _compared(a: Side, b: Side) -> Comparison:
    theirs = {s.id for s in b.data.results.sets}
    columns = {c.id for c in b.data.results.columns}
    found: list[Difference] = []
    for test_set in (s.id for s in a.data.results.sets if s.id in theirs):
        both = [c for c in a.data.results.columns if c.id in columns and _measured(a, b, test_set, c)]
        found += [d for d, _ in resampled_differences([(a, b, column) for column in both], test_set)]
    found = corrected(found)
    return Comparison(a.name, b.name, a.data.results.stats.level, tuple(found))


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """With p corrected for all tests of the family (Holm)."""
    adjusted = iter(stats.holm([d.p for d in found if d.p is not None]))
    return [d if d.p is None else replace(d, p_holm=next(adjusted)) for d in found]


def _measured(a: Side, b: Side, test_set: str, column: Column) -> bool:
    cells = [side.data.cells.get((test_set, side.system, column.id)) for side in (a, b)]
    return column.aggregate != "max" and all(cell is not None and cell.status != "not_applicable" for cell in cells)


Test: TypeAlias = tuple[Side, Side, Column]
Tested: TypeAlias = tuple[Difference, NDArray[np.float64] | None]


def paired(a: Side, b: Side, test_set: str, column: Column) -> Difference:
    """The difference in one column of one set."""
    return resampled_difference(a, b, test_set, column)[0]


def resampled_difference(a: Side, b: Side, test_set: str, column: Column) -> Tested:
    """As `paired`, with the resampled differences; None where fewer than two clusters can be drawn."""
    return resampled_differences([(a, b, column)], test_set)[0]


def resampled_differences(tests: Sequence[Test], test_set: str) -> list[Tested]:
    """Many at once, all with the same draws and the same signs, in the order of `tests`; every `a` is of one run."""
    if not tests:
        return []
    out: list[Tested] = []
    ready: dict[int, _Terms] = {}
    values = _Values([side for a, b, _ in tests for side in (a, b)], test_set)
    for index, (a, b, column) in enumerate(tests):
        base = Difference(test_set, column.id, column.label, column.direction)
        one, other = (side.data.cells[test_set, side.system, column.id] for side in (a, b))
        lists = [next(s.list_hash for s in side.data.results.sets if s.id == test_set) for side in (a, b)]
        refused = why_unequal(one, other, lists)
        if refused is None:
            terms = values.terms(a, b, column)
            base = replace(base, planned=len(terms.items), pairs=int(terms.known.sum()))
            counted = terms.sums[terms.known].sum(axis=0)
            if not base.pairs or counted[1] == 0 or counted[3] == 0:  # no word, or no utterance <= 50 %: 0 / 0
                refused = "no item has a value on both sides"
        if refused is None:
            ready[index] = terms
        out.append((replace(base, refused=refused), None))
    if ready:
        tested = _tested([(out[i][0], tests[i][2], terms) for i, terms in ready.items()], tests[0][0].data, test_set)
        for index, found in zip(ready, tested, strict=True):
            out[index] = found
    return out


def why_unequal(one: Cell, other: Cell, lists: Sequence[str | None]) -> str | None:
    """Why two cells of a column do not compare; None if they do. lists: hashes of the items that they are of."""
    if one.protocol is None or other.protocol is None:
        return "it has no protocol: costs depend on the machine, and runs of older versions tell none"
    if one.protocol == other.protocol:
        return None
    if lists[0] != lists[1]:
        return f"the lists of items differ ({lists[0]} and {lists[1]})"
    if one.signature != other.signature:
        return f"the metrics' signatures differ ({one.signature} and {other.signature})"
    return f"the protocols differ in seeds, aggregation or statistics ({one.protocol} and {other.protocol})"


@dataclass(frozen=True)
class _Terms:
    """Numerator and denominator of every item on both sides, means over its seeds.

    sums: (items, 4), of a and of b; known: (items,), whether both have a value; place: (items,), the cluster's number
    """

    items: tuple[str, ...]
    sums: NDArray[np.float64]
    known: NDArray[np.bool_]
    place: NDArray[np.intp]
    clusters: int


def _distinct(sides: Sequence[Side]) -> list[Side]:
    return list({(id(side.data), side.system): side for side in sides}.values())


class _Values:
    """What the sides of some tests on a test set have, item by item; each is read once."""

    def __init__(self, sides: Sequence[Side], test_set: str) -> None:
        clusters = {n: item.cluster or n for (s, n), item in sides[0].data.items.items() if s == test_set}
        numbers = {cluster: i for i, cluster in enumerate(sorted(set(clusters.values())))}
        self._set, self._known = test_set, dict[tuple[int, str, str], NDArray[np.float64]]()
        self._items = {name: i for i, name in enumerate(clusters)}
        seeds = {key[1] for side in _distinct(sides) for key in side.data.scored_by(test_set, side.system)}
        self._seeds = {seed: i for i, seed in enumerate(sorted(seeds))}
        self._place = np.array([numbers[cluster] for cluster in clusters.values()], dtype=np.intp)
        self._clusters = len(numbers)

    def terms(self, a: Side, b: Side, column: Column) -> _Terms:
        """Seeds of an item are paired; of a system that ignores the seed, its one value stands for each."""
        ours, theirs = (self._of(side, column) for side in (a, b))
        both = ~np.isnan(ours[..., 1]) & ~np.isnan(theirs[..., 1])
        count = both.sum(axis=1)
        sums = np.concatenate([np.where(both[..., None], v, 0.0).sum(axis=1) for v in (ours, theirs)], axis=1)
        means = sums / np.maximum(count, 1)[:, None]
        return _Terms(tuple(self._items), means, count > 0, self._place, self._clusters)

    def _of(self, side: Side, column: Column) -> NDArray[np.float64]:
        """(items, seeds, 2): numerator and denominator; NaN where there is no value."""
        key = (id(side.data), side.system, column.id)
        if key not in self._known:
            out = np.full((len(self._items), len(self._seeds), 2), np.nan)
            for (item, seed), columns in side.data.scored_by(self._set, side.system).items():
                score = columns.get(column.id)
                if score is not None and score.value is not None and item in self._items:
                    out[self._items[item], self._seeds[seed]] = fraction(column, columns)
            known = ~np.isnan(out[..., 1])
            single = known.sum(axis=1) == 1
            out[single] = out[single, known[single].argmax(axis=1)][:, None]
            self._known[key] = out
        return self._known[key]


def fraction(column: Column, scores: Mapping[str, Score]) -> tuple[float, float]:
    """Numerator and denominator of a scored output; 0 / 0 counts for nothing. What a metric's columns tell, each knows.

    scores: of the output, by column
    """
    own = scores[column.id]
    if column.ratio is None:
        return float(own.value or 0.0), 1.0
    for other in (own, *scores.values()):
        if other.signature == own.signature and set(column.ratio) <= set(other.detail):
            return float(other.detail[column.ratio[0]]), float(other.detail[column.ratio[1]])
    return 0.0, 0.0


def _tested(ready: Sequence[tuple[Difference, Column, _Terms]], data: RunData, test_set: str) -> list[Tested]:
    """Intervals and p of differences over the same items."""
    settings, clusters = data.results.stats, ready[0][2].clusters
    sums = [by_cluster(terms.sums[terms.known], terms.place[terms.known], clusters) for _, _, terms in ready]
    weights = stats.draws(clusters, settings.resamples, settings.seed, test_set)
    drawn = _drawn(weights, sums)
    flips = np.stack([contributions(one) for one in sums], axis=1)
    p = stats.sign_flips(flips, settings.resamples, settings.seed, test_set)
    return [
        _difference(base, column, terms, sums[i], [drawn[s.tobytes()] for s in sums[i].T], p[i], settings.level)
        for i, (base, column, terms) in enumerate(ready)
    ]


def contributions(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(clusters,) what each adds to the difference: without one, its sign is as likely either way.

    sums: (clusters, 4), numerator and denominator of a, then of b
    """
    total = sums.sum(axis=0)
    share = total[2] / total[3]
    found: NDArray[np.float64] = sums[:, 0] - sums[:, 1] * share - (sums[:, 2] - sums[:, 3] * share)
    return found


def by_cluster(sums: NDArray[np.float64], place: NDArray[np.intp], clusters: int) -> NDArray[np.float64]:
    """(clusters, 4) sums over the items of each. sums: (items, 4); place: (items,), the cluster's number"""
    return np.stack([np.bincount(place, weights=column, minlength=clusters) for column in sums.T], axis=1)


def _drawn(weights: NDArray[np.uint8], sums: Sequence[NDArray[np.float64]]) -> dict[bytes, NDArray[np.float64]]:
    """Totals of all draws by the sums they are of: most are of a system that stands in many pairs."""
    distinct = {column.tobytes(): column for one in sums for column in one.T}
    return dict(zip(distinct, stats.resampled(weights, *distinct.values()), strict=True))


def _difference(
    base: Difference,
    column: Column,
    terms: _Terms,
    sums: NDArray[np.float64],
    drawn: Sequence[NDArray[np.float64]],
    p: float,
    level: float,
) -> Tested:
    scale = 100.0 if column.ratio and column.unit == "%" else 1.0
    total, filled = sums.sum(axis=0), int(np.count_nonzero(sums[:, 1] > 0))
    one, other = scale * total[0] / total[1], scale * total[2] / total[3]
    worst, best = _extremes(column, terms, scale)
    out = replace(base, a=one, b=other, difference=one - other, clusters=filled, worst=worst, best=best)
    if filled < 2:
        return out, None
    kept = (drawn[1] > 0) & (drawn[3] > 0)
    spread = scale * (drawn[0][kept] / drawn[1][kept] - drawn[2][kept] / drawn[3][kept])
    error = float(spread.std() * np.sqrt(filled / (filled - 1)))
    ci = stats.percentiles(spread, stats.expanded(level, filled))
    return replace(out, ci=ci, p=p, detectable=stats.detectable(error, filled, level)), spread


def _extremes(column: Column, terms: _Terms, scale: float) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Items where `a` loses most, and where it wins most."""
    usable = np.flatnonzero(terms.known & (terms.sums[:, 1] > 0) & (terms.sums[:, 3] > 0))
    num_a, den_a, num_b, den_b = terms.sums[usable].T
    a, b = scale * num_a / den_a, scale * num_b / den_b
    gain = (a - b) * (1.0 if column.direction == "higher" else -1.0)
    order = sorted(range(len(usable)), key=lambda i: (gain[i], terms.items[usable[i]]))

    def told(places: Sequence[int]) -> tuple[Item, ...]:
        return tuple(Item(terms.items[usable[i]], float(a[i]), float(b[i])) for i in places)

    return told([i for i in order[:WORST] if gain[i] < 0]), told([i for i in order[: -WORST - 1 : -1] if gain[i] > 0])
