"""Would the order of the systems be another one under another protocol? From what a run kept: no inference.

For each headline column of a test set: the order it gives, and the orders that other readings of it give. WER: other
normalisations of the same transcripts, the corpus rate, the mean of the utterances at no more than 50 %; DNSMOS: the
other numbers that papers call so; NISQA: the other rates that were measured; every column: failures counted as worst.
Pairs that turn round are tested as `compare` does, in both readings (Holm over all tests of a column).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metis_bench import stats
from metis_bench.comparison import by_cluster, contributions
from metis_bench.readings import Array, Grid, Heard, Reading, Scored, nothing_kept
from metis_bench.report.data import Column, RunData, load_run


@dataclass(frozen=True)
class Place:
    """A system in an order; equal values share a place. counts: n/N where it lacks scores, and so has no rank."""

    system: str
    value: float
    place: int
    counts: str = ""


@dataclass(frozen=True)
class Swap:
    """Two systems that turn round: the headline has `first` before `second`.

    p of either order, adjusted; None where it cannot be tested (fewer than two clusters)
    """

    first: str
    second: str
    p_headline: float | None
    p_reading: float | None

    def verdict(self, level: float) -> str:
        """Which of the two orders is more than noise."""
        if self.p_headline is None or self.p_reading is None:
            return "not tested"
        sure = [p <= 1 - level for p in (self.p_headline, self.p_reading)]
        both = {(True, True): "both orders are significant", (False, False): "neither order is significant"}
        return both.get((sure[0], sure[1]), f"only the {'headline' if sure[0] else 'other'} order is significant")


@dataclass(frozen=True)
class Order:
    """What a reading gives. tau: Kendall's tau-b with the headline's order, None where either has no order."""

    label: str
    places: tuple[Place, ...] = ()
    tau: float | None = None
    swaps: tuple[Swap, ...] = ()
    refused: str | None = None


@dataclass(frozen=True)
class Panel:
    """One headline column of a test set, and its other readings."""

    set: str
    column: str
    label: str
    unit: str
    decimals: int
    level: float
    headline: Order
    readings: tuple[Order, ...] = field(default=())

    @property
    def changed(self) -> int:
        """Readings that turn at least one pair round."""
        return sum(bool(reading.swaps) for reading in self.readings)


def sensitivity(run: Path, heard: Heard = nothing_kept) -> list[Panel]:
    """The panels of a finished run, test set by test set. heard: kept transcripts (engine.features.transcript).

    Raises MetisBenchError for a broken run.
    """
    return list(panels(load_run(run), heard))


def panels(data: RunData, heard: Heard = nothing_kept) -> Iterator[Panel]:
    """As `sensitivity`, of a run that is read already. Columns with fewer than two systems or no reading have none."""
    for test_set in data.results.sets:
        for column in data.results.columns:
            if not column.headline or column.aggregate == "max":
                continue
            scored = Scored(data, test_set.id, column, heard)
            readings = list(_readings(scored)) if len(scored.systems) > 1 else []
            if readings:
                yield _panel(data, column, scored, readings)


def _readings(scored: Scored) -> Iterator[Reading]:
    for column in scored.siblings():
        yield Reading(column.label, column.direction, scored.measured(column))
    yield from scored.profiles()
    penalised = scored.penalised()
    if penalised is not None:
        yield Reading("failures counted as worst", scored.headline.direction, penalised)


def _panel(data: RunData, column: Column, scored: Scored, readings: list[Reading]) -> Panel:
    """Orders first; then all pairs that turn round are tested at once."""
    own = Reading(column.label, column.direction, scored.measured(column))
    headline = _order(data, scored, own, own)
    found = [_order(data, scored, reading, own) for reading in readings]
    tests = [
        (grid, swap)
        for r, order in zip(readings, found, strict=True)
        for swap in order.swaps
        for grid in (own.grid, r.grid)
    ]
    p = iter(_tested(data, scored, [(grid, (swap.first, swap.second)) for grid, swap in tests if grid is not None]))
    tested = [
        replace(o, swaps=tuple(replace(s, p_headline=next(p), p_reading=next(p)) for s in o.swaps)) for o in found
    ]
    level = data.results.stats.level
    return Panel(scored.set_id, column.id, column.label, column.unit, column.decimals, level, headline, tuple(tested))


def _signs(reading: Reading, grid: Grid) -> NDArray[np.float64]:
    """(systems, systems): 1 where the row's is better than the column's, -1 where worse, 0 where equal or unknown."""
    sign = 1.0 if reading.direction == "higher" else -1.0
    return np.nan_to_num(np.sign(sign * (grid.values[:, None] - grid.values[None, :])))


def _order(data: RunData, scored: Scored, reading: Reading, own: Reading) -> Order:
    if reading.grid is None or own.grid is None:
        return Order(reading.label, refused=reading.refused)
    ours, theirs = _signs(own, own.grid), _signs(reading, reading.grid)
    known = [i for i, value in enumerate(reading.grid.values) if np.isfinite(value)]
    names = [s.name for s in scored.systems]
    places = []
    for i in sorted(known, key=lambda i: (int((theirs[i] < 0).sum()), i)):
        cell = data.cells[scored.set_id, names[i], scored.headline.id]
        counts = "" if cell.n == cell.N else f"{cell.n}/{cell.N}"
        places.append(Place(names[i], float(reading.grid.values[i]), 1 + int((theirs[i] < 0).sum()), counts))
    ours = np.where(np.isnan(reading.grid.values)[:, None] | np.isnan(reading.grid.values)[None, :], 0.0, ours)
    pairs = float(np.sqrt((ours**2).sum() * (theirs**2).sum()))
    turned = [(int(a), int(b)) for a, b in np.argwhere((ours > 0) & (theirs < 0))]
    return Order(
        reading.label,
        tuple(places),
        float((ours * theirs).sum() / pairs) if pairs > 0 else None,
        tuple(Swap(names[a], names[b], None, None) for a, b in turned),
    )


def _tested(data: RunData, scored: Scored, tests: list[tuple[Grid, tuple[str, str]]]) -> list[float | None]:
    """p of each difference, adjusted; None where fewer than two clusters have both."""
    place = {s.name: i for i, s in enumerate(scored.systems)}
    columns = [_contributions(grid, place[a], place[b], scored.clusters) for grid, (a, b) in tests]
    possible = [i for i, found in enumerate(columns) if found is not None]
    out: list[float | None] = [None] * len(tests)
    if possible:
        settings = data.results.stats
        stacked = np.stack([found for found in columns if found is not None], axis=1)
        p = stats.sign_flips(stacked, settings.resamples, settings.seed, f"sensitivity {scored.set_id}")
        for i, adjusted in zip(possible, stats.holm(p), strict=True):
            out[i] = adjusted
    return out


def _contributions(grid: Grid, a: int, b: int, clusters: NDArray[np.intp]) -> Array | None:
    terms = grid.terms
    both = terms.known[a] & terms.known[b]
    parts = np.stack([part[both] for part in (terms.num[a], terms.den[a], terms.num[b], terms.den[b])], axis=1)
    sums = by_cluster(parts, clusters[both], int(clusters.max()) + 1)
    if np.count_nonzero(sums[:, 1]) < 2 or sums[:, 3].sum() == 0:
        return None
    return contributions(sums)
