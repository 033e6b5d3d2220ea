"""The statistics on simulated runs of which the truth is known: a small version of benchmarks/intervals.py."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest

from metis_bench import stats
from tests.conftest import REPO


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    sys.path.insert(0, str(REPO / "benchmarks"))  # for what scripts share
    spec = importlib.util.spec_from_file_location("intervals", REPO / "benchmarks" / "intervals.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["intervals"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    sys.path.remove(str(REPO / "benchmarks"))
    return module


@pytest.mark.parametrize(("clusters", "seeds"), [(8, 1), (24, 1), (24, 3)])
def test_intervals_cover_and_tests_do_not_cry_wolf(simulation: ModuleType, clusters: int, seeds: int) -> None:
    """Over 300 runs a true 5 % is seen as 2.5 to 8.4 % in 99 of 100 such tests."""
    held, raw, family = simulation.covered(simulation.World(clusters=clusters, seeds=seeds), 0.0, 300, seed=3)
    assert 0.915 <= held <= 0.98
    assert raw <= 0.085 and family == raw


def test_holm_keeps_a_family_of_five_at_five_per_cent(simulation: ModuleType) -> None:
    _, raw, family = simulation.covered(simulation.World(columns=5), 0.0, 150, seed=4)
    assert family <= 0.09 < 1 - 0.95**5, "five tests without it: 23 %"
    assert raw > 0.02


def test_the_gates_verdicts_come_when_they_must(simulation: ModuleType) -> None:
    world = simulation.World(clusters=60)
    assert simulation.verdicts(world, 0.0, 0.3, 60)["PASS"] >= 55
    assert simulation.verdicts(world, 0.6, 0.3, 60)["FAIL"] >= 50
    undecided = simulation.verdicts(world, 0.3, 0.3, 120)
    assert undecided["INCONCLUSIVE"] >= 95 and undecided["PASS"] <= 15 and undecided["FAIL"] <= 15
    assert simulation.verdicts(world, 0.0, 0.3, 10, missing=True) == {"INVALID": 10}


def test_a_difference_is_found_as_often_as_promised(simulation: ModuleType) -> None:
    """`detectable` is what 80 % of tests find."""
    world, rng = simulation.World(clusters=40), np.random.default_rng(0)
    (column,) = simulation.columns(world)
    loss = np.mean([simulation.paired(*simulation.sides(world, 0, rng), "sim", column).detectable for _ in range(20)])
    _, found, _ = simulation.covered(world, float(loss), 200, seed=5)
    assert 0.7 <= found <= 0.9


def test_all_signs_are_tried_with_few_clusters() -> None:
    def p(differences: Sequence[float], resamples: int = 999) -> float:
        return stats.sign_flips(np.asarray(differences, dtype=np.float64)[:, None], resamples, 0, "x")[0]

    assert p([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert p([1.0, -1.0, 0.0]) == p([]) == 1.0
    many = [0.1] * 10 + [-0.1] * 10 + [0.3]
    assert 0 < p(many[:12], resamples=0) <= 1
    assert p([1.0] * 40) == pytest.approx(1 / 1000)
    assert p(many) == p(many)


def test_many_tests_share_their_signs() -> None:
    """Each p is what it would be alone, whether its signs are all tried or drawn."""
    rng = np.random.default_rng(0)
    columns = np.stack([rng.normal(0.1, 1, 40), np.where(np.arange(40) < 5, 1.0, 0.0), np.zeros(40)], axis=1)
    together = stats.sign_flips(columns, 999, 0, "x")
    assert together == [stats.sign_flips(columns[:, [i]], 999, 0, "x")[0] for i in range(3)]
    assert together[1:] == [2 / 2**5, 1.0]


def test_holm() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert stats.holm([0.6, 0.7]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_expanded_levels() -> None:
    assert stats.expanded(0.95, 10_000) == pytest.approx(0.95, abs=1e-4)
    assert 0.97 < stats.expanded(0.95, 8) < 0.99
    assert stats.expanded(0.95, 2) > stats.expanded(0.95, 3)
