"""The bootstrap against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from metis_bench.stats import crossed_means, draws, expanded, interval, intervals, percentiles


def test_draws_are_seeded_named_and_sum_to_the_clusters() -> None:
    one = draws(7, 500, 0, "set")
    assert (one == draws(7, 500, 0, "set")).all()
    assert (one.sum(axis=1) == 7).all()
    assert (one != draws(7, 500, 0, "other")).any()
    assert (one != draws(7, 500, 1, "set")).any()


def test_interval_of_independent_values_is_the_normal_one() -> None:
    x = np.random.default_rng(0).normal(3.0, 1.0, 400)
    low, high = interval(list(x), [1.0] * 400, draws(400, 4000, 0, "n"), 0.95) or (0, 0)
    half = 1.96 * x.std(ddof=1) / 20
    assert low == pytest.approx(x.mean() - half, abs=0.02)
    assert high == pytest.approx(x.mean() + half, abs=0.02)


def test_correlated_clusters_widen_it() -> None:
    speaker = np.repeat(np.random.default_rng(1).normal(0, 1, 20), 20)
    iid = interval(list(speaker), [1.0] * 400, draws(400, 2000, 0, "i"), 0.95)
    sums = speaker.reshape(20, 20).sum(axis=1)
    clustered = interval(list(sums), [20.0] * 20, draws(20, 2000, 0, "c"), 0.95)
    assert iid is not None
    assert clustered is not None
    assert clustered[1] - clustered[0] > 3 * (iid[1] - iid[0])


def test_coverage_is_about_what_it_says() -> None:
    rng = np.random.default_rng(2)
    weights = draws(60, 800, 0, "cover")
    hits = 0
    for _ in range(300):
        ci = interval(list(rng.normal(0, 1, 60)), [1.0] * 60, weights, 0.9)
        hits += ci is not None and ci[0] <= 0 <= ci[1]
    assert 0.83 < hits / 300 < 0.95


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = list(np.random.default_rng(3).normal(0, 1, 50))
    weights = draws(50, 500, 0, "b")
    whole = interval(x, [1.0] * 50, weights, 0.95)
    monkeypatch.setattr("metis_bench.stats.BLOCK", 50 * 7)
    assert interval(x, [1.0] * 50, weights, 0.95) == pytest.approx(whole)


def test_one_cluster_has_no_interval_and_empty_ones_do_not_count() -> None:
    assert interval([1.0], [1.0], draws(1, 100, 0, "x"), 0.95) is None
    assert interval([1.0, 0.0], [1.0, 0.0], draws(2, 100, 0, "x"), 0.95) is None
    ci = interval([1.0, 3.0, 0.0], [1.0, 1.0, 0.0], draws(3, 1000, 0, "x"), 0.95)
    assert ci == (1.0, 3.0)


def test_crossed_means_cover_raters_and_items() -> None:
    """Two sources of spread: resampling both covers the truth, resampling raters alone does not."""
    rng = np.random.default_rng(4)
    rows, columns = draws(20, 600, 0, "raters"), draws(12, 600, 0, "items")
    still = np.ones_like(columns)
    counts = np.ones((20, 12))
    both = one = 0
    for _ in range(300):
        values = rng.normal(0, 0.3, (20, 1)) + rng.normal(0, 0.5, (1, 12)) + rng.normal(0, 0.7, (20, 12))
        low, high = percentiles(crossed_means(values, counts, rows, columns), 0.95)
        both += low <= 0 <= high
        low, high = percentiles(crossed_means(values, counts, rows, still), 0.95)
        one += low <= 0 <= high
    assert 0.9 <= both / 300 <= 0.99
    assert one / 300 < 0.75


def test_crossed_means_weigh_every_rating_once() -> None:
    sums, counts = np.array([[4.0, 0.0], [5.0, 1.0]]), np.array([[2.0, 0.0], [1.0, 1.0]])
    rows, columns = np.array([[1, 1], [2, 0], [0, 2]], np.int16), np.array([[1, 1], [0, 2], [2, 0]], np.int16)
    means = crossed_means(sums, counts, rows, columns)
    assert means[0] == 10 / 4
    assert np.isnan(means[1]), "the first rater never heard the second item"
    assert means[2] == 5.0


def test_blocks_of_crossed_means_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(0, 1, (6, 5))
    rows, columns = draws(6, 100, 0, "r"), draws(5, 100, 0, "c")
    whole = crossed_means(values, np.ones((6, 5)), rows, columns)
    monkeypatch.setattr("metis_bench.stats.BLOCK", 30 * 7)
    assert crossed_means(values, np.ones((6, 5)), rows, columns) == pytest.approx(whole)


def test_many_intervals_are_those_of_each_alone() -> None:
    """To the last bit, whatever stands beside them: a system more changes no number of another."""
    rng = np.random.default_rng(4)
    sums = [(list(rng.normal(0, 1, 30)), list(rng.integers(0, 3, 30).astype(float))) for _ in range(20)]
    sums.append(([0.0] * 30, [0.0] * 30))
    found = intervals(sums, 500, 0, "many", 0.95)
    assert found[-1] is None
    assert found[:3] == intervals(sums[:3], 500, 0, "many", 0.95)
    weights = draws(30, 500, 0, "many")
    assert found[:20] == [pytest.approx(interval(num, den, weights, 0.95)) for num, den in sums[:20]]
    assert intervals([], 500, 0, "none", 0.95) == []


def test_draws_are_those_of_the_multinomial() -> None:
    """Each cluster is drawn once on average, with the variance of k draws from k."""
    counts = draws(40, 20000, 0, "moments").astype(float)
    assert counts.mean(axis=0) == pytest.approx(1.0, abs=0.04)
    assert counts.var(axis=0).mean() == pytest.approx(1 - 1 / 40, abs=0.02)


def test_the_level_of_few_clusters_is_that_of_student() -> None:
    from scipy.stats import norm, t

    for clusters in (2, 5, 60):
        tail = norm.cdf((clusters / (clusters - 1)) ** 0.5 * t.ppf(0.025, clusters - 1))
        assert expanded(0.95, clusters) == pytest.approx(1 - 2 * tail, rel=1e-12)
