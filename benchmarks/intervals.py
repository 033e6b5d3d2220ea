"""Do the statistics keep what they promise? Simulated runs with clustered items, of which the truth is known.

    python benchmarks/intervals.py [--runs 2000]

Items of a cluster share an effect, systems share the difficulty of an item, and the first system has another effect on
every cluster, with a known mean. Printed: how often the 95 % interval of a difference holds the truth, how often the
paired test at 5 % calls no difference one (raw, and with Holm over five columns), and the gate's verdicts where the
loss is none, on the margin, or twice it. benchmarks/README.md has the table; tests/test_intervals.py runs a small one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from _rows import Row, add_option, whole_number, write

from metis_bench import stats
from metis_bench.comparison import Difference, Side, paired
from metis_bench.gating import Rule, check
from metis_bench.report.data import (
    Cell,
    Column,
    Item,
    PlanRow,
    RunData,
    Score,
    Stats,
    System,
    TestSet,
    _ResultsFile,
    _RunFile,
)
from metis_bench.report.data import Suite as RunSuite

SET = "sim"


@dataclass(frozen=True)
class World:
    """How the numbers arise. Standard deviations of difficulty, of clusters' effect on the difference, of noise."""

    clusters: int = 24
    items: int = 8  # a cluster, on average
    difficulty: float = 1.0
    effect: float = 0.3
    noise: float = 1.0
    seeds: int = 1
    columns: int = 1


def columns(world: World) -> tuple[Column, ...]:
    """Lower is better."""
    return tuple(Column(f"m{i}", f"M{i}", "lower") for i in range(world.columns))


def sides(world: World, loss: float, rng: np.random.Generator, resamples: int = 1000) -> tuple[Side, Side]:
    """A candidate that is worse by `loss`, and its baseline."""
    sizes = rng.integers(max(1, world.items // 2), 2 * world.items, world.clusters)
    cluster = np.repeat(np.arange(world.clusters), sizes)
    names = [f"i{i:05d}" for i in range(len(cluster))]
    items = {(SET, n): Item(SET, n, cluster=f"c{c:04d}") for n, c in zip(names, cluster, strict=True)}
    effects = loss + rng.normal(0, world.effect, (world.columns, world.clusters))
    hard = rng.normal(0, world.difficulty, (world.columns, len(cluster)))
    out = []
    for system, shift in (("candidate", effects[:, cluster]), ("baseline", np.zeros((world.columns, len(cluster))))):
        values = (hard + shift)[..., None] + rng.normal(0, world.noise, (world.columns, len(cluster), world.seeds))
        out.append(Side("run", system, _run(world, system, names, items, values, resamples)))
    return out[0], out[1]


def _run(
    world: World, system: str, names: list[str], items: dict[tuple[str, str], Item], values: np.ndarray, resamples: int
) -> RunData:
    measured = columns(world)
    scores = {
        (SET, name, system, seed): {
            c.id: Score(system, SET, name, seed, c.id, "ok", float(values[j, i, seed])) for j, c in enumerate(measured)
        }
        for i, name in enumerate(names)
        for seed in range(world.seeds)
    }
    n = len(scores)
    cells = [Cell(SET, system, c.id, "complete", n, n, protocol="p", signature="s") for c in measured]
    results = _ResultsFile(
        schema=1,
        suite=RunSuite("sim", "tts"),
        stats=Stats(resamples, 0.95, 0),
        systems=(System(system, "neural", True),),
        sets=(TestSet(SET, len(items), list_hash="l"),),
        columns=measured,
        cells=tuple(cells),
    )
    keyed = {(c.set, c.system, c.column): c for c in cells}
    rows = tuple(PlanRow(system, SET, name, seed) for name in names for seed in range(world.seeds))
    return RunData(_RunFile({}), results, keyed, items, rows, {}, scores)


def covered(world: World, loss: float, runs: int, seed: int = 0) -> tuple[float, float, float]:
    """Shares of runs: the interval holds the loss; p <= 0.05; some p <= 0.05 after Holm."""
    rng = np.random.default_rng(seed)
    held = raw = family = 0
    for _ in range(runs):
        pair = sides(world, loss, rng)
        found: list[Difference] = [paired(*pair, SET, column) for column in columns(world)]
        held += sum(d.ci is not None and d.ci[0] <= loss <= d.ci[1] for d in found)
        raw += sum(d.p is not None and d.p <= 0.05 for d in found)
        family += min(stats.holm([d.p or 0.0 for d in found])) <= 0.05
    return held / runs / world.columns, raw / runs / world.columns, family / runs


def verdicts(world: World, loss: float, margin: float, runs: int, missing: bool = False, seed: int = 0) -> Counter[str]:
    """The gate's answers over so many runs. missing: one row of the candidate has no score."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    (column,) = columns(world)
    for _ in range(runs):
        candidate, baseline = sides(world, loss, rng)
        if missing:
            cells = {k: replace(c, n=c.n - 1, status="incomplete") for k, c in candidate.data.cells.items()}
            candidate = replace(candidate, data=replace(candidate.data, cells=cells))
        found[check(Rule(margin=margin), (candidate, baseline), SET, column, 0.95, 1).verdict] += 1
    return found


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=whole_number, default=2000)
    add_option(parser)
    args = parser.parse_args()
    runs, rows = args.runs, []
    print("clusters  seeds  columns   interval holds   p <= 0.05   with Holm")
    for world in (
        *(World(clusters=k) for k in (8, 12, 24, 60, 200)),
        World(seeds=3),
        World(columns=5),
        World(effect=1.0),
    ):
        held, raw, family = covered(world, 0.0, runs)
        print(f"{world.clusters:8}  {world.seeds:5}  {world.columns:7}   {held:14.3f}   {raw:9.3f}   {family:9.3f}")
        kind = f"{world.clusters} clusters, {world.seeds} seeds, {world.columns} columns, effects {world.effect:g}"
        rows.append(Row(f"share of 95 % intervals that hold the truth: {kind}", "", held))
    write(args.rows, rows)
    print(f"\nthe gate, {min(runs, 500)} runs, margin 0.3, 60 clusters:   loss   verdicts")
    for loss, missing in ((0.0, False), (0.3, False), (0.6, False), (0.0, True)):
        found = verdicts(World(clusters=60), loss, 0.3, min(runs, 500), missing)
        print(f"{'one row missing' if missing else '':>42} {loss:6}   {dict(found)}")


if __name__ == "__main__":
    main()
