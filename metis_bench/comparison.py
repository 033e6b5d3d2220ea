"""Two systems on the same items: paired differences with intervals, p values, and the items behind them.

Only equal protocols are compared (metric signature, list of items, seeds, statistics; `engine/protocol.py`), and only
outputs that both sides have a score for; what is left out is told. Seeds of an item are averaged, then clusters of
items are resampled and their signs flipped. p values of one comparison are one family (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metis_bench import stats
from metis_bench.errors import UsageError, nearest
from metis_bench.report.data import Column, RunData, Score, load_run

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
    refused: why there is no comparison, and then there are no numbers
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
    sets = [s.id for s in a.data.results.sets]
    theirs = {s.id for s in b.data.results.sets}
    columns = {c.id: c for c in b.data.results.columns}
    found = [
        paired(a, b, test_set, column)
        for test_set in sets
        if test_set in theirs
        for column in a.data.results.columns
        if column.id in columns and _measured(a, test_set, column) and _measured(b, test_set, column)
    ]
    tested = [i for i, d in enumerate(found) if d.p is not None]
    for i, adjusted in zip(tested, stats.holm([found[i].p or 0.0 for i in tested]), strict=True):
        found[i] = replace(found[i], p_holm=adjusted)
    return Comparison(a.name, b.name, a.data.results.stats.level, tuple(found))


def _measured(side: Side, test_set: str, column: Column) -> bool:
    cell = side.data.cells.get((test_set, side.system, column.id))
    return cell is not None and cell.status != "not_applicable" and column.aggregate != "max"


Pair = tuple[Score, Score]


def paired(a: Side, b: Side, test_set: str, column: Column) -> Difference:
    """The difference in one column of one set."""
    return resampled_difference(a, b, test_set, column)[0]


def resampled_difference(
    a: Side, b: Side, test_set: str, column: Column
) -> tuple[Difference, NDArray[np.float64] | None]:
    """As `paired`, with the resampled differences; None where fewer than two clusters can be drawn."""
    base = Difference(test_set, column.id, column.label, column.direction)
    cells = [side.data.cells[test_set, side.system, column.id] for side in (a, b)]
    if cells[0].protocol is None or cells[0].protocol != cells[1].protocol:
        return replace(base, refused=_why_unequal(a, b, test_set, column)), None
    values, planned = _common(a, b, test_set, column.id)
    base = replace(base, planned=planned, pairs=len(values))
    if not values:
        return replace(base, refused="no item has a value on both sides"), None
    clusters = sorted({item.cluster or item.item for (s, _), item in a.data.items.items() if s == test_set})
    place = {cluster: i for i, cluster in enumerate(clusters)}
    sums = np.zeros((len(clusters), 4))  # numerator and denominator of a, of b
    terms: dict[str, tuple[float, ...]] = {}
    for item, pairs in values.items():
        terms[item] = _terms(column, pairs)
        known = a.data.items[test_set, item]
        sums[place[known.cluster or known.item]] += terms[item]
    return _tested(base, column, sums, terms, a, test_set)


def _why_unequal(a: Side, b: Side, test_set: str, column: Column) -> str:
    one, other = (side.data.cells[test_set, side.system, column.id] for side in (a, b))
    if one.protocol is None or other.protocol is None:
        return "it depends on the machine, so it is not compared item by item"
    lists = [next(s.list_hash for s in side.data.results.sets if s.id == test_set) for side in (a, b)]
    if lists[0] != lists[1]:
        return f"the lists of items differ ({lists[0]} and {lists[1]})"
    if one.signature != other.signature:
        return f"the metrics' signatures differ ({one.signature} and {other.signature})"
    return f"the protocols differ in seeds, aggregation or statistics ({one.protocol} and {other.protocol})"


def _common(a: Side, b: Side, test_set: str, column: str) -> tuple[dict[str, list[Pair]], int]:
    """Pairs of scores by item, over seeds; of a system that ignores the seed, its one value stands for each.

    And how many items were planned.
    """
    ours, theirs = (_scores(side, test_set, column) for side in (a, b))
    out: dict[str, list[Pair]] = {}
    for item, seeds in ours.items():
        others = theirs.get(item, {})
        wanted = sorted(set(seeds) | set(others)) if len(seeds) > 1 or len(others) > 1 else sorted(seeds)
        for seed in wanted:
            one = seeds.get(seed, next(iter(seeds.values())) if len(seeds) == 1 else None)
            other = others.get(seed, next(iter(others.values())) if len(others) == 1 else None)
            if one is not None and other is not None:
                out.setdefault(item, []).append((one, other))
    return out, sum(s == test_set for s, _ in a.data.items)


def _scores(side: Side, test_set: str, column: str) -> dict[str, dict[int, Score]]:
    """Scores with a value, by item and seed. What a metric's columns tell, each of them knows."""
    out: dict[str, dict[int, Score]] = {}
    for (where, item, system, seed), columns in side.data.scores.items():
        score = columns.get(column)
        if where == test_set and system == side.system and score is not None and score.value is not None:
            siblings = (s.detail for s in columns.values() if s.signature == score.signature)
            shared = {key: value for detail in siblings for key, value in detail.items()}
            out.setdefault(item, {})[seed] = replace(score, detail={**shared, **score.detail})
    return out


def _terms(column: Column, pairs: Sequence[Pair]) -> tuple[float, ...]:
    """(numerator, denominator) of an item on both sides: means over its seeds."""
    if column.ratio is None:
        return tuple(x for side in (0, 1) for x in (float(np.mean([p[side].value for p in pairs])), 1.0))
    num, den = column.ratio
    return tuple(float(np.mean([p[side].detail[part] for p in pairs])) for side in (0, 1) for part in (num, den))


def _tested(
    base: Difference,
    column: Column,
    sums: NDArray[np.float64],
    terms: Mapping[str, tuple[float, ...]],
    a: Side,
    test_set: str,
) -> tuple[Difference, NDArray[np.float64] | None]:
    settings, scale = a.data.results.stats, 100.0 if column.ratio and column.unit == "%" else 1.0
    filled = sums[sums[:, 1] > 0]
    total = sums.sum(axis=0)
    one, other = scale * total[0] / total[1], scale * total[2] / total[3]
    out = replace(
        base, a=one, b=other, difference=one - other, clusters=len(filled), worst=_worst(column, terms, scale)
    )
    if len(filled) < 2:
        return out, None
    weights = stats.draws(len(sums), settings.resamples, settings.seed, test_set)
    drawn = stats.resampled(weights, *sums.T)
    kept = (drawn[1] > 0) & (drawn[3] > 0)
    spread = scale * (drawn[0][kept] / drawn[1][kept] - drawn[2][kept] / drawn[3][kept])
    error = float(spread.std() * np.sqrt(len(filled) / (len(filled) - 1)))
    tested = replace(
        out,
        ci=stats.percentiles(spread, stats.expanded(settings.level, len(filled))),
        p=stats.sign_flip(contributions(filled).tolist(), settings.resamples, settings.seed, f"{test_set} {column.id}"),
        detectable=stats.detectable(error, len(filled), settings.level),
    )
    return tested, spread


def contributions(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(clusters,) what each adds to the difference: without one, its sign is as likely either way.

    sums: (clusters, 4), numerator and denominator of a, then of b
    """
    total = sums.sum(axis=0)
    share = total[2] / total[3]
    found: NDArray[np.float64] = sums[:, 0] - sums[:, 1] * share - (sums[:, 2] - sums[:, 3] * share)
    return found


def _worst(column: Column, terms: Mapping[str, tuple[float, ...]], scale: float) -> tuple[Item, ...]:
    """Items where `a` loses most."""
    sign = 1.0 if column.direction == "higher" else -1.0
    found = [Item(i, scale * na / da, scale * nb / db) for i, (na, da, nb, db) in terms.items() if da > 0 and db > 0]
    losing = [item for item in found if sign * (item.a - item.b) < 0]
    return tuple(sorted(losing, key=lambda item: (sign * (item.a - item.b), item.item))[:WORST])
