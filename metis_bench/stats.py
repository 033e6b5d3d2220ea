"""Seeded cluster bootstrap of means and ratios (Liu & Peng 2020, arXiv 1912.09508; Bisani & Ney 2004), paired tests.

Utterances of one speaker (prompt, file) correlate: whole clusters are drawn, never single utterances. Every statistic
of one test set shares its draws, so differences between systems are paired. Percentile intervals of k clusters are too
short by about sqrt((k - 1) / k) and by what the normal leaves out of the t distribution: `expanded` makes up for both
(Hesterberg 2015, doi 10.1080/00031305.2015.1089789, 4.3). benchmarks/intervals.py measures coverage and error rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from reference_models.seeds import derive_seed

BLOCK = 1 << 20  # weights worked on at a time
EXACT = 12  # clusters whose signs are all tried: 2 ** 12 of them
SIDE_BY_SIDE = 16  # intervals that share a matrix product
SLACK = 1e-9  # of a sum's own size: sums that are equal but for rounding are equal


def blocks(clusters: int, resamples: int, seed: int, name: str) -> Iterator[NDArray[np.uint8]]:
    """`draws` in parts, one after another."""
    rng = np.random.default_rng(derive_seed(seed, "bootstrap", name))
    step = max(1, BLOCK // max(clusters, 1))
    kind = np.uint16 if clusters <= 1 << 16 else np.uint32
    for start in range(0, resamples, step):
        drawn = rng.integers(0, max(clusters, 1), size=(min(step, resamples - start), clusters), dtype=kind)
        yield np.stack([np.bincount(row, minlength=clusters).astype(np.uint8) for row in drawn])


def draws(clusters: int, resamples: int, seed: int, name: str) -> NDArray[np.uint8]:
    """(resamples, clusters) counts: how often each cluster is drawn. Depends on the arguments only.

    A byte a count: more than 255 of one cluster cannot be drawn from 255, and never are from more.
    """
    return np.concatenate(list(blocks(clusters, resamples, seed, name)))


def interval(
    numerators: Sequence[float], denominators: Sequence[float], weights: NDArray[np.uint8], level: float
) -> tuple[float, float] | None:
    """Percentile interval of sum(numerators) / sum(denominators) over clusters.

    numerators, denominators: one entry a cluster, in the order of `weights`' columns (a mean: sums and counts).
    None with fewer than two clusters that hold anything: there is nothing to resample.
    """
    num, den = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    top, bottom = resampled(weights, num, den)
    return _of_draws((top, bottom), den, level)


def intervals(
    sums: Sequence[tuple[Sequence[float], Sequence[float]]], resamples: int, seed: int, name: str, level: float
) -> list[tuple[float, float] | None]:
    """`interval` of several (numerators, denominators) with the same `draws`, which never are in memory at once.

    They are computed SIDE_BY_SIDE at a time whatever their number, so that none of them changes a bit of another.
    """
    if not sums:
        return []
    tables = [np.zeros((len(sums[0][0]), 2 * SIDE_BY_SIDE)) for _ in range(0, len(sums), SIDE_BY_SIDE)]
    for i, sides in enumerate(sums):
        table, column = tables[i // SIDE_BY_SIDE], 2 * (i % SIDE_BY_SIDE)
        table[:, column], table[:, column + 1] = sides
    totals: list[list[NDArray[np.float64]]] = [[] for _ in tables]
    for block in blocks(len(sums[0][0]), resamples, seed, name):
        weights = block.astype(np.float64)
        for total, table in zip(totals, tables, strict=True):
            total.append(weights @ table)
    drawn = (row for total in totals for row in np.concatenate(total).T)
    return [_of_draws((next(drawn), next(drawn)), np.asarray(den), level) for _, den in sums]


def _of_draws(
    drawn: tuple[NDArray[np.float64], NDArray[np.float64]], denominators: NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    filled = np.count_nonzero(denominators)
    if filled < 2:
        return None
    top, bottom = drawn
    return percentiles(top[bottom > 0] / bottom[bottom > 0], expanded(level, int(filled)))


def resampled(weights: NDArray[np.uint8], *sums: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """(resamples,) total of each of several (clusters,) sums, for every draw."""
    step = max(1, BLOCK // len(sums[0]))  # bytes times float64 is computed in a float64 copy
    stacked = np.stack(sums, axis=1)
    drawn = np.concatenate([weights[i : i + step] @ stacked for i in range(0, len(weights), step)])
    return list(drawn.T)


def expanded(level: float, clusters: int) -> float:
    """The level at which percentiles of a bootstrap of so many clusters cover `level`."""
    from scipy.special import ndtr, stdtrit  # what scipy.stats' norm.cdf and t.ppf are, without its long import

    tail = ndtr(math.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, (1 - level) / 2))
    return float(1 - 2 * tail)


def percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The percentile interval that holds `level` (0..1) of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sign_flips(differences: NDArray[np.float64], resamples: int, seed: int, name: str) -> list[float]:
    """Two-sided p that the sum of clusters' differences is this far from 0 when either sign was as likely.

    differences: (clusters, tests), all tested with the same signs

    All signs are tried with up to EXACT clusters that differ, random ones with more: (1 + hits) / (1 + resamples).
    """
    far = np.abs(differences.sum(axis=0)) - SLACK * np.abs(differences).sum(axis=0)
    differing = np.count_nonzero(differences, axis=0)
    drawn = np.flatnonzero(differing > EXACT)
    hits = _flipped_as_far(differences[:, drawn], far[drawn], resamples, seed, name)
    p = dict(zip(drawn.tolist(), ((1 + hits) / (1 + resamples)).tolist(), strict=True))
    return [p[test] if test in p else _exact(differences[:, test], far[test]) for test in range(differences.shape[1])]


def _exact(differences: NDArray[np.float64], far: float) -> float:
    d = differences[differences != 0]
    if len(d) == 0:
        return 1.0
    signs = 1 - 2 * ((np.arange(1 << len(d))[:, None] >> np.arange(len(d))) & 1)
    return float(np.mean(np.abs(signs @ d) >= far))


def _flipped_as_far(
    differences: NDArray[np.float64], far: NDArray[np.float64], resamples: int, seed: int, name: str
) -> NDArray[np.int64]:
    """How often sums of each column are as `far` from 0 under random signs."""
    rng = np.random.default_rng(derive_seed(seed, "sign flip", name))
    clusters, tests = differences.shape
    step, hits = max(1, BLOCK // max(clusters, 1)), np.zeros(tests, dtype=np.int64)
    for start in range(0, resamples if tests else 0, step):
        flips = rng.integers(0, 2, size=(min(step, resamples - start), clusters), dtype=np.int8)
        hits += np.count_nonzero(np.abs((1.0 - 2.0 * flips) @ differences) >= far, axis=0)
    return hits


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p of a family of tests, in their order (Holm 1979)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        out[i] = largest
    return out


def detectable(error: float, clusters: int, level: float, power: float = 0.8) -> float:
    """The smallest true difference that is found significant with probability `power`. error: standard error."""
    from scipy.stats import t

    return float(error * (t.ppf((1 + level) / 2, clusters - 1) + t.ppf(power, clusters - 1)))


def crossed_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], rows: NDArray[np.uint8], columns: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """(resamples,) means when both sides of a crossed design are drawn: raters (rows) and items (columns).

    sums, counts: (R, C), what each rater gave each item in total, and how often (0: never). rows: (resamples, R) and
    columns: (resamples, C) from `draws`. A draw that hits no rating is NaN. The pigeonhole bootstrap (Owen 2007, arXiv
    0711.0541): the spread between raters and between items is right, that within them counts up to three times.
    """
    top = np.empty(len(rows))
    bottom = np.empty(len(rows))
    step = max(1, BLOCK // max(sums.size, 1))
    for i in range(0, len(rows), step):
        drawn, weights = rows[i : i + step].astype(np.float64), columns[i : i + step]
        top[i : i + step] = ((drawn @ sums) * weights).sum(axis=1)
        bottom[i : i + step] = ((drawn @ counts) * weights).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0, top / bottom, np.nan)
