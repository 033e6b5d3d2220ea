"""What a factor does, when systems were trained several times: a table of a run whose suite has grids of systems.

Systems that differ in the factor `seed` alone are one arm, trained anew with each seed. Two arms are compared twice:
over trainings (paired by seed, t interval: is the effect larger than what another seed does?) and over talkers
(cluster bootstrap of the same items: does it hold for other items?). RULE says what is called clear.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench import stats
from metis_bench.errors import MetisBenchError, UsageError, nearest
from metis_bench.report.data import RunData, Stats, load_run
from metis_bench.report.exports import escape
from metis_bench.suite.arms import ONCE, arms_of

LOSS = re.compile(r"validation_(?:(\w+)_)?loss")
METRICS = "metrics.jsonl"  # of a training run
LEAST = 6  # talkers: of the signs of five differences 1 in 16 are all the same, which is more than 5 %
RULE = (
    "An effect is called better or worse only where its intervals leave out zero: over other trainings (paired by "
    f"seed) and over other talkers (at least {LEAST}). A loss has no talkers, and what was trained once no other "
    "trainings: there one interval decides. Where one holds zero, it is within noise; where one is missing (fewer "
    "talkers, one training, or all differ by the same) and none holds zero, undecided. No correction for the number of "
    "comparisons is made."
)


@dataclass(frozen=True)
class Effect:
    """Difference to the reference arm. trainings, items: its interval over seeds of training, and over talkers.

    clear: all intervals that decide leave out zero; None: one of them is missing, and no other holds zero
    """

    value: float
    trainings: tuple[float, float] | None
    items: tuple[float, float] | None
    clear: bool | None


@dataclass(frozen=True)
class Arm:
    """One number of one arm: its mean over `n` trainings and their standard deviation.

    each: the mean of each training; interval: of the mean, over talkers (None for a loss)
    scored, planned: outputs of all trainings; of a loss: trainings. value: None where nothing was scored
    trained: numbers that a training trains, where that is known
    """

    arm: str
    where: str  # a test set, or the data a loss is of
    column: str
    direction: str
    value: float | None
    deviation: float | None
    n: int
    each: tuple[float, ...]
    interval: tuple[float, float] | None
    scored: int
    planned: int
    trained: int | None
    effect: Effect | None

    @property
    def counts(self) -> str:
        """'42/48', where something is missing."""
        return "" if self.scored == self.planned else f"{self.scored}/{self.planned}"

    @property
    def verdict(self) -> str:
        """In a word: better, worse, within noise or undecided; empty where nothing was compared."""
        if self.effect is None:
            return ""
        if not self.effect.clear:
            return "undecided" if self.effect.clear is None else "within noise"
        return "better" if (self.effect.value < 0) == (self.direction == "lower") else "worse"


@dataclass(frozen=True)
class Ablation:
    """All arms of a run. reference: what others are compared with, by test set or data; shown: what the suite says."""

    name: str
    title: str
    reference: Mapping[str, str]
    arms: tuple[Arm, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)


def ablation(run: Path, training: Path | None = None, reference: Sequence[str] = ()) -> Ablation:
    """The ablation of a finished run.

    training: where `metis-train ablate` put the runs, of the systems' names: adds validation losses; reference: names
    of arms to compare with, else the first of each test set

    Raises UsageError for a run without grids and for unknown arms.
    """
    data = load_run(run)
    grids = data.run.resolved.get("grids") or {}
    arms = arms_of(grids)
    if not arms:
        raise UsageError(f"{run} has no grid of systems, so there is nothing to compare", fix="see docs/suites.md")
    for name in reference:
        if name not in arms:
            raise UsageError(f"the run has no arm '{name}'{nearest(name, arms)}")
    losses = {} if training is None else _losses(arms, training)
    systems = {str(system) for seeds in arms.values() for system in seeds.values()}
    untold = set() if training is None else {s for s in systems if not (training / s / METRICS).is_file()}
    if untold == systems:
        raise UsageError(f"{training} holds no training of {', '.join(sorted(systems)[:3])} ...", fix="see --training")
    shown = data.run.resolved.get("ablation") or {}
    tables = {**_scores(data, arms), **losses}
    found: list[Arm] = []
    chosen: dict[str, str] = {}
    directions = {c.id: c.direction for c in data.results.columns}
    for key, table in tables.items():
        wanted = [*reference, shown.get("against", {}).get(key[0])]
        known = chosen.setdefault(key[0], next((name for name in wanted if name in table), next(iter(table))))
        for name in table:
            trained = set(arms[name].values())
            rows = sum(r.set == key[0] and r.system in trained for r in data.rows)
            planned, settings = len(trained) if key in losses else rows, data.results.stats
            direction, scored = directions.get(key[1], "lower"), key not in losses
            arm = _arm(name, key, direction, table, known, planned, settings, scored=scored)
            found.append(replace(arm, trained=None if training is None else _trained(training, arms[name])))
    facts = {
        "suite": data.run.resolved.get("name"),
        "provenance": data.run.provenance,
        "stats": asdict(data.results.stats),
        "warnings": _once([*data.results.warnings, *(f"{s}: no losses in {METRICS}" for s in sorted(untold))], systems),
    }
    return Ablation(data.results.suite.name, data.results.suite.title or run.name, chosen, tuple(found), facts, shown)


def _once(warnings: Sequence[str], systems: Collection[str]) -> list[str]:
    """What is said of many trainings alike, said once."""
    said: dict[str, list[str]] = defaultdict(list)
    for warning in warnings:
        name, _, text = warning.partition(": ")
        said[text if name in systems else warning] += [name] if name in systems else []
    return [
        f"{names[0] if len(names) == 1 else f'{len(names)} systems'}: {text}" if names else text
        for text, names in said.items()
    ]


Values = dict[str, dict[tuple[str, str], float]]  # seed of training -> (cluster, item) -> value


def _scores(data: RunData, arms: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, Values]]:
    """(test set, column) -> arm -> values, seeds of generation averaged."""
    place = {system: (arm, seed) for arm, seeds in arms.items() for seed, system in seeds.items()}
    raw: dict[tuple[str, str], dict[str, dict[str, dict[tuple[str, str], list[float]]]]] = {}
    for (test_set, item, system, _), scores in data.scores.items():
        if system not in place:
            continue
        arm, seed = place[system]
        cluster = data.items[test_set, item].cluster or item
        for column, score in scores.items():
            table = raw.setdefault((test_set, column), {}).setdefault(arm, {}).setdefault(seed, {})
            if score.value is not None:
                table.setdefault((cluster, item), []).append(score.value)
    means = {c.id for c in data.results.columns if c.aggregate == "mean"}
    return {key: _averaged(table) for key, table in sorted(raw.items()) if key[1] in means}


def _averaged(table: Mapping[str, Mapping[str, Mapping[tuple[str, str], Sequence[float]]]]) -> dict[str, Values]:
    """Each list of values by its mean."""
    return {
        arm: {seed: {item: float(np.mean(v)) for item, v in items.items()} for seed, items in seeds.items()}
        for arm, seeds in table.items()
    }


def _losses(arms: Mapping[str, Mapping[str, Any]], training: Path) -> dict[tuple[str, str], dict[str, Values]]:
    """(data, "validation loss") -> arm -> the last one of each training."""
    found: dict[tuple[str, str], dict[str, Values]] = {}
    for arm, seeds in arms.items():
        for seed, system in seeds.items():
            path = training / str(system) / METRICS
            for key, value in _last_losses(path).items() if path.is_file() else ():
                match = LOSS.fullmatch(key)
                name = (match and match[1]) or arm.partition("-")[0]
                table = found.setdefault((f"{name} data", "validation loss"), {}).setdefault(arm, {})
                table[seed] = {("", ""): value} if math.isfinite(value) else {}  # it diverged: counted, and no value
    return found


def _last_losses(path: Path) -> dict[str, float]:
    """By their names. What follows the last end of a line is being written: the training may still run."""
    last: dict[str, float] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            last |= {k: float(v) for k, v in json.loads(line or b"{}").items() if LOSS.fullmatch(k)}
        except (ValueError, TypeError, AttributeError) as error:
            raise MetisBenchError(f"not a line of a training's numbers ({error})", where=path, line=number) from None
    return last


def _trained(training: Path, seeds: Mapping[str, Any]) -> int | None:
    """Numbers that the trainings of an arm train, from what they wrote beside their weights."""
    for system in seeds.values():
        for path in sorted((training / str(system) / "weights").rglob("*.training.json")):
            try:
                return int(json.loads(path.read_bytes())["trained"])
            except (ValueError, TypeError, KeyError) as error:
                raise MetisBenchError(f"it does not tell what was trained ({error!r})", where=path) from None
    return None


def _arm(
    name: str,
    key: tuple[str, str],
    direction: str,
    tables: Mapping[str, Values],
    reference: str,
    planned: int,
    settings: Stats,
    *,
    scored: bool = True,
) -> Arm:
    """scored: outputs have talkers; a loss has none."""
    values, other = tables[name], None if name == reference else tables.get(reference)
    means = [float(np.mean(list(items.values()))) for items in values.values() if items]
    return Arm(
        arm=name,
        where=key[0],
        column=key[1],
        direction=direction,
        value=float(np.mean(means)) if means else None,
        deviation=float(np.std(means, ddof=1)) if len(means) > 1 else None,
        n=len(means),
        each=tuple(means),
        interval=_over_items(values, settings) if scored else None,
        scored=sum(map(len, values.values())),
        planned=planned,
        trained=None,
        effect=None if other is None else _effect(values, other, scored, settings),
    )


def _effect(values: Values, other: Values, scored: bool, settings: Stats) -> Effect | None:
    """Over what both arms have: the same seeds of training, the same items. scored: items have talkers."""
    pairs = {s: [k for k in values[s] if k in other[s]] for s in values if s in other}
    differences = {s: [values[s][k] - other[s][k] for k in keys] for s, keys in pairs.items() if keys}
    if not differences:
        return None
    trainings = _over_trainings([float(np.mean(d)) for d in differences.values()], settings.level)
    paired = {s: dict(zip(pairs[s], values, strict=True)) for s, values in differences.items()}
    items = _over_items(paired, settings) if scored else None
    retrained = ONCE not in differences
    talkers = {cluster for keys in differences for cluster, _ in pairs[keys]}
    deciding = ([trainings] if retrained else []) + ([items if len(talkers) >= LEAST else None] if scored else [])
    apart = all(_apart(i) for i in deciding if i is not None)
    clear = None if apart and None in deciding else apart
    value = float(np.mean([np.mean(d) for d in differences.values()]))
    return Effect(value, trainings, items, clear)


def _over_trainings(differences: Sequence[float], level: float) -> tuple[float, float] | None:
    """Student's interval of the mean difference; None for one training, and where all differ by the same.

    (Coarse numbers do that by chance, and an interval without a width would leave out zero whatever it is.)
    """
    from scipy.stats import t

    n, spread = len(differences), float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    mean = float(np.mean(differences))
    if spread <= 1e-9 * abs(mean):
        return None
    half = float(t.ppf((1 + level) / 2, n - 1)) * spread / float(np.sqrt(n))
    return mean - half, mean + half


def _over_items(values: Values, settings: Stats) -> tuple[float, float] | None:
    """Bootstrap over clusters of a mean, all trainings of an item with it; None where nothing was scored."""
    found: dict[str, list[float]] = defaultdict(list)
    for items in values.values():
        for (cluster, _), value in items.items():
            found[cluster].append(value)
    if not found:
        return None
    weights = stats.draws(len(found), settings.resamples, settings.seed, "ablation")
    totals, counts = [sum(v) for v in found.values()], [float(len(v)) for v in found.values()]
    return stats.interval(totals, counts, weights, settings.level)


def _apart(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def to_json(found: Ablation) -> str:
    """All of it, stable."""
    return json.dumps(asdict(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def tables_of(found: Ablation) -> dict[tuple[str, str], list[Arm]]:
    """Arms by (where, column), the one that others are compared with first."""
    tables: dict[tuple[str, str], list[Arm]] = defaultdict(list)
    for arm in found.arms:
        tables[arm.where, arm.column].append(arm)
    return {key: sorted(arms, key=lambda a: a.arm != found.reference[key[0]]) for key, arms in tables.items()}


def to_markdown(found: Ablation) -> str:
    """A table for each test set and column; the reference arm first, effects in words."""
    lines = [f"# {escape(found.title)}", "", RULE, ""]
    lines += [f"> **Warning:** {escape(text)}" + "\n" for text in found.facts.get("warnings", ())]
    for (where, column), arms in tables_of(found).items():
        better = "lower" if arms[0].direction == "lower" else "higher"
        lines += [f"## {escape(where)}: {escape(column)} ({better} is better)", ""]
        lines += ["| arm | mean ± sd of trainings | scored | difference | over trainings | over talkers | verdict |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_row(arm, found.reference[where]) for arm in arms]
        lines.append("")
    return "\n".join(lines)


def _row(arm: Arm, reference: str) -> str:
    value = "no score" if arm.value is None else f"{arm.value:.4g}"
    value += "" if arm.deviation is None else f" ± {arm.deviation:.2g} ({arm.n})"
    scored = f"{arm.scored}/{arm.planned}"
    e = arm.effect
    if e is None:
        word = "reference" if arm.arm == reference else "not comparable"
        return f"| {arm.arm} | {value} | {scored} | | | | {word} |"
    effect = f"{e.value:+.3g} | {_shown(e.trainings)} | {_shown(e.items)}"
    return f"| {arm.arm} | {value} | {scored} | {effect} | {arm.verdict} |"


def _shown(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.3g} … {interval[1]:+.3g}"
