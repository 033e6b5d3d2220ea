"""Seeded cluster bootstrap of means and ratios (Liu & Peng 2020, arXiv 1912.09508; Bisani & Ney 2004).

Utterances of one speaker (prompt, file) correlate: whole clusters are drawn, never single utterances. Every statistic
of one test set shares its draws, so differences between systems are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reference_models.seeds import derive_seed

BLOCK = 1 << 20  # weights worked on at a time


def draws(clusters: int, resamples: int, seed: int, name: str) -> NDArray[np.uint8]:
    """(resamples, clusters) counts: how often each cluster is drawn. Depends on the arguments only.

    A byte a count: more than 255 of one cluster cannot be drawn from 255, and never are from more.
    """
    rng = np.random.default_rng(derive_seed(seed, "bootstrap", name))
    out = np.empty((resamples, clusters), dtype=np.uint8)
    step = max(1, BLOCK // max(clusters, 1))
    for start in range(0, resamples, step):
        n = min(step, resamples - start)
        out[start : start + n] = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=n)
    return out


def interval(
    numerators: Sequence[float], denominators: Sequence[float], weights: NDArray[np.uint8], level: float
) -> tuple[float, float] | None:
    """Percentile interval of sum(numerators) / sum(denominators) over clusters.

    numerators, denominators: one entry a cluster, in the order of `weights`' columns (a mean: sums and counts).
    None with fewer than two clusters that hold anything: there is nothing to resample.
    """
    num, den = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if np.count_nonzero(den) < 2:
        return None
    step = max(1, BLOCK // len(num))  # bytes times float64 is computed in a float64 copy
    pairs = np.stack([num, den], axis=1)
    sums = np.concatenate([weights[i : i + step] @ pairs for i in range(0, len(weights), step)])
    top, bottom = sums[:, 0], sums[:, 1]
    filled = bottom > 0  # a draw may hit only clusters without any score
    return percentiles(top[filled] / bottom[filled], level)


def percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The percentile interval that holds `level` (0..1) of resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
