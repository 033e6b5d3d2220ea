"""Stage 3: from scores to cells. Every cell shows n/N; failures are reasons and a penalised value, never absences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from metis_bench import published, stats
from metis_bench.engine.bound import BoundMetric, absent
from metis_bench.engine.conditions import machines, mixed_conditions
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.protocol import protocol_id
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Column
from metis_bench.suite.plan import Plan, TestSet
from metis_bench.suite.schema import OracleOrder, Suite
from metis_bench.systems.base import RANKED, systems

SCHEMA = 1
PERCENTILES = (50, 95)  # shown for costs


@dataclass(frozen=True, slots=True)
class Value:
    """One row's score in one column, with where it belongs. terms: numerator and denominator of a ratio column's."""

    item: str
    seed: int
    cluster: str
    status: str
    value: float | None
    reason: str | None
    terms: tuple[float, float] | None = None


def aggregate(
    suite: Suite,
    outputs: Outputs,
    bound: Sequence[BoundMetric],
    scores: Iterable[tuple[int, int, Mapping[str, Any]]],
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    """results.json as a dict: no times of day; the same scores give the same bytes.

    scores: (number of a row, number of a metric, scores by column), in plan order
    """
    plan = outputs.plan
    by_cell = _group(plan, bound, scores)
    cells: list[dict[str, Any]] = []
    for test_set in plan.sets:
        cells += _set_cells(suite, plan, test_set, bound, by_cell)
    columns, measured = _columns(bound), _columns([b for b in bound if b.blocked is None])
    mixed = mixed_conditions(outputs)
    made_on = machines(suite, outputs)
    costs = {c.id for b in bound for c in b.metric.columns if not b.metric.keyed}
    ranked = {s.name: systems.get(s.type).kind in RANKED for s in suite.systems}
    _rank([c for c in cells if not (c["set"] in mixed and c["column"] in costs)], ranked, columns)
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "suite": suite.header(),
        "stats": asdict(suite.stats),
        "systems": [
            {
                "name": s.name,
                "kind": systems.get(s.type).kind,
                "class": s.type,
                "fingerprint": fingerprints[s.name],
                "ranked": systems.get(s.type).kind in RANKED,
                "deterministic": systems.get(s.type).deterministic,
                "reads": plan.reads(s.name),
                "sizes": dict(plan.facts[s.name].sizes),
                "hardware": made_on[s.name],
            }
            for s in suite.systems
        ],
        "sets": [_set_json(s) for s in plan.sets],
        "columns": [_column_json(c, m) for m, c in columns.values()],
        "signatures": {b.signature_id: dict(b.signature) for b in bound if b.signature_id is not None},
        "cells": cells,
        "oracle_checks": _oracle_checks(suite.oracle_order, plan, by_cell, measured),
        "failures": _failures(outputs, by_cell),
        "warnings": [*plan.warnings(), *_blocked(bound), *(mixed.values() if costs else ())],
    }
    if suite.published is not None:  # after all numbers are made: what others published decides none of them
        results["published"] = asdict(published.attach(published.load(published.find(suite.published)), suite, results))
    return results


def _blocked(bound: Sequence[BoundMetric]) -> list[str]:
    """What this machine could not measure."""
    return list(dict.fromkeys(f"{b.metric.columns[0].label} is not measured: {b.blocked}" for b in bound if b.blocked))


def _columns(bound: Sequence[BoundMetric]) -> dict[str, tuple[str, Column]]:
    return {c.id: (b.spec.type, c) for b in bound for c in b.metric.columns}


def _set_json(s: TestSet) -> dict[str, JSON]:
    return {
        "id": s.id,
        "corpus": s.corpus,
        "subset": s.subset,
        "task": s.task,
        "items": len(s.items),
        "total": s.total,
        "official_count": s.spec.official_count,
        "list_hash": s.list_hash,
        "licence": s.licence,
        "clusters": len({p.item.cluster for p in s.items}),
        "warnings": list(s.warnings),
    }


def _column_json(c: Column, metric: str) -> dict[str, JSON]:
    return {
        "id": c.id,
        "metric": metric,
        "label": c.label,
        "direction": c.direction,
        "decimals": c.decimals,
        "unit": c.unit,
        "headline": c.headline,
        "ranked": c.ranked,
        "family": c.family,
        "worst": c.worst,
        "aggregate": c.aggregate,
        "ratio": list(c.ratio) if c.aggregate == "ratio" else None,
        "help": c.help,
    }


CellKey = tuple[str, str, str]  # set, system, column


def _group(
    plan: Plan, bound: Sequence[BoundMetric], scores: Iterable[tuple[int, int, Mapping[str, Any]]]
) -> dict[CellKey, list[Value]]:
    """Scores by cell, in plan order. A column without its own detail takes that of its metric's other columns."""
    out: dict[CellKey, list[Value]] = defaultdict(list)
    ratios = {(b.index, c.id): c.ratio for b in bound for c in b.metric.columns if c.aggregate == "ratio"}
    for row_index, metric_index, columns in scores:
        row = plan.rows[row_index]
        item = plan.item(row).item
        for column, s in columns.items():
            terms = None
            if s["status"] == "ok" and (metric_index, column) in ratios:
                detail = {k: v for one in (*columns.values(), s) for k, v in one["detail"].items()}
                num, den = (float(detail[name]) for name in ratios[metric_index, column])
                terms = (num, den)
            value = Value(item.id, row.seed, item.cluster, s["status"], s["value"], s["reason"], terms)
            out[row.set_id, row.system, column].append(value)
    return out


def _set_cells(
    suite: Suite, plan: Plan, test_set: TestSet, bound: Sequence[BoundMetric], by_cell: Mapping[CellKey, list[Value]]
) -> list[dict[str, Any]]:
    clusters = sorted({p.item.cluster for p in test_set.items})
    cells: list[dict[str, Any]] = []
    open_: dict[int, tuple[Column, Sums]] = {}  # cells without their interval yet
    for system in suite.systems:
        for b in (b for b in bound if b.corpus == test_set.corpus):
            reason = absent(plan, system.name, test_set, b)
            for column in b.metric.columns:
                base = {
                    "set": test_set.id,
                    "system": system.name,
                    "column": column.id,
                    "signature": b.signature_id,
                    "protocol": protocol_id(suite, test_set, b, column),
                }
                if reason is not None:
                    cells.append({**base, **_NOT_APPLICABLE, "reasons": {reason: 0}})
                    continue
                values = by_cell[test_set.id, system.name, column.id]
                sizes = _sizes(b, test_set) if column.aggregate == "ratio" else {}
                cells.append({**base, **cell(column, values, sizes)})
                if column.aggregate != "max":
                    open_[len(cells) - 1] = (column, _sums(_scored_terms(column, values), clusters))
    settings = suite.stats
    found = stats.intervals(
        [sums for _, sums in open_.values()], settings.resamples, settings.seed, test_set.id, settings.level
    )
    for (number, (column, _)), ci in zip(open_.items(), found, strict=True):
        cells[number]["ci"] = None if ci is None else [_scale(column) * x for x in ci]
    return cells


def _sizes(b: BoundMetric, test_set: TestSet) -> dict[str, float]:
    """Denominators of a ratio column by item, known without any score."""
    sizes = {p.item.id: b.metric.size(p.item.text, p.item.language) for p in test_set.items}
    return {item: size for item, size in sizes.items() if size is not None}


_NOT_APPLICABLE: dict[str, Any] = {
    "status": "not_applicable",
    "value": None,
    "ci": None,
    "penalised": None,
    "n": 0,
    "N": 0,
    "clusters": 0,
    "rank": None,
    "extra": {},
}


def cell(column: Column, values: Sequence[Value], sizes: Mapping[str, float]) -> dict[str, Any]:
    """One number with its coverage and penalised twin; its interval is still to come.

    sizes: denominator of each item of a ratio column. Seeds of one item are averaged before clusters are resampled.
    penalised: the same with failures at the column's worst, and no score counting for less than that: failing an item
    never pays. None where the column has no worst.
    """
    ok = [v for v in values if v.status == "ok"]
    full = _penalised_terms(column, values, sizes)
    reasons = Counter(f"{v.status}: {v.reason}" for v in values if v.status != "ok")
    return {
        "status": "empty" if not ok else "complete" if len(ok) == len(values) else "incomplete",
        "value": _point(column, _scored_terms(column, values), ok),
        "ci": None,
        "penalised": None if full is None else _point(column, full, ()),
        "n": len(ok),
        "N": len(values),
        "clusters": len({v.cluster for v in ok}),
        "rank": None,
        "reasons": dict(sorted(reasons.items())),
        "extra": _extra(column, ok),
    }


Terms = list[tuple[str, float, float]]  # cluster, numerator, denominator: one an item
Sums = tuple[list[float], list[float]]  # of numerators and of denominators, by cluster


def _scored_terms(column: Column, values: Sequence[Value]) -> Terms:
    ok = [v for v in values if v.status == "ok"]
    return _ratio_terms(ok) if column.aggregate == "ratio" else _mean_terms(ok)


def _mean_terms(values: Sequence[Value]) -> Terms:
    """An item's numerator is the mean over its seeds, its denominator 1."""
    items: dict[str, list[float]] = defaultdict(list)
    cluster = {v.item: v.cluster for v in values}
    for v in values:
        if v.value is not None:
            items[v.item].append(v.value)
    return [(cluster[i], sum(x) / len(x), 1.0) for i, x in items.items()]


def _ratio_terms(values: Sequence[Value]) -> Terms:
    return [(v.cluster, *v.terms) for v in values if v.terms is not None]


def _penalised_terms(column: Column, values: Sequence[Value], sizes: Mapping[str, float]) -> Terms | None:
    worst = column.worst
    if column.aggregate == "max" or worst is None:
        return None
    if column.aggregate == "mean":
        bound = max if column.direction == "higher" else min
        return _mean_terms([replace(v, value=worst if v.value is None else bound(v.value, worst)) for v in values])
    if any(v.status != "ok" and v.item not in sizes for v in values):
        return None
    scored = _ratio_terms([v for v in values if v.status == "ok"])
    lost = [(v.cluster, sizes[v.item], sizes[v.item]) for v in values if v.status != "ok"]  # all of it wrong
    return [(c, min(n, d) if column.direction == "lower" else n, d) for c, n, d in scored] + (
        lost if column.direction == "lower" else [(c, 0.0, d) for c, _, d in lost]
    )


def _scale(column: Column) -> float:
    return 100.0 if column.aggregate == "ratio" and column.unit == "%" else 1.0


def _point(column: Column, terms: Terms, ok: Sequence[Value]) -> float | None:
    if column.aggregate == "max":
        return max((v.value for v in ok if v.value is not None), default=None)
    total = sum(d for _, _, d in terms)
    return _scale(column) * sum(n for _, n, _ in terms) / total if total > 0 else None


def _sums(terms: Terms, clusters: Sequence[str]) -> Sums:
    num, den = dict.fromkeys(clusters, 0.0), dict.fromkeys(clusters, 0.0)
    for cluster, n, d in terms:
        num[cluster] += n
        den[cluster] += d
    return list(num.values()), list(den.values())


def _extra(column: Column, ok: Sequence[Value]) -> dict[str, float]:
    """Percentiles of costs; spread over seeds where there are several."""
    numbers = [v.value for v in ok if v.value is not None]
    out: dict[str, float] = {}
    if column.worst is None and column.aggregate != "ratio" and numbers:
        out.update({f"p{p}": float(np.percentile(numbers, p)) for p in PERCENTILES})
    seeds: dict[int, list[float]] = defaultdict(list)
    for v in ok:
        if v.value is not None:
            seeds[v.seed].append(v.value)
    if len(seeds) > 1 and column.aggregate == "mean":
        out["seed_sd"] = float(np.std([np.mean(x) for x in seeds.values()], ddof=1))
    return out


def _rank(cells: list[dict[str, Any]], ranked: Mapping[str, bool], columns: Mapping[str, tuple[str, Column]]) -> None:
    """1 = best among complete cells of ranked systems; equal values share a rank."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for c in cells:
        if c["status"] == "complete" and ranked[c["system"]] and c["value"] is not None:
            groups[c["set"], c["column"]].append(c)
    for (_, column), group in groups.items():
        sign = -1.0 if columns[column][1].direction == "higher" else 1.0
        for c in group if columns[column][1].ranked else ():
            c["rank"] = 1 + sum(sign * o["value"] < sign * c["value"] for o in group)


def _oracle_checks(
    orders: Sequence[OracleOrder],
    plan: Plan,
    by_cell: Mapping[CellKey, list[Value]],
    columns: Mapping[str, tuple[str, Column]],
) -> list[dict[str, Any]]:
    """Both sides over the items that both have a value for, so that a failed item cannot turn the order around.

    ok: true, false (violated), or null without such items (not applicable to the set, or all failed). Orders that name
    a system left out of this run are left out too.
    """
    out: list[dict[str, Any]] = []
    present = {row.system for row in plan.rows} | {system for system, _ in plan.not_applicable}
    for order in orders:
        if not {order.better, order.worse} <= present:
            continue
        named = [column for _, column in columns.values() if order.column in (column.id, column.family)]
        for column, test_set in product(named, plan.sets):
            if order.sets is not None and not {test_set.id, test_set.corpus} & set(order.sets):
                continue
            better, worse, items = _common(
                by_cell.get((test_set.id, order.better, column.id), []),
                by_cell.get((test_set.id, order.worse, column.id), []),
                column,
            )
            ok = None if better is None or worse is None else _is_better(column, better, worse)
            out.append(
                {
                    "set": test_set.id,
                    "column": column.id,
                    "better": order.better,
                    "worse": order.worse,
                    "better_value": better,
                    "worse_value": worse,
                    "items": items,
                    "ok": ok,
                    "reason": "not applicable to this set, or no item with both values" if ok is None else None,
                }
            )
    return out


def _is_better(column: Column, one: float, other: float) -> bool:
    return one > other if column.direction == "higher" else one < other


def _common(left: Sequence[Value], right: Sequence[Value], column: Column) -> tuple[float | None, float | None, int]:
    """Values of two cells over the items that are scored in both, and how many those are."""
    scored = [[v for v in side if v.status == "ok"] for side in (left, right)]
    items = {v.item for v in scored[0]} & {v.item for v in scored[1]}
    one, other = ([v for v in side if v.item in items] for side in scored)
    values = (_point(column, _scored_terms(column, side), side) for side in (one, other))
    return next(values), next(values), len(items)


def _failures(outputs: Outputs, by_cell: Mapping[CellKey, list[Value]]) -> list[dict[str, Any]]:
    """Every failed generation once, then every failed or undefined score of an output that exists."""
    out: list[dict[str, Any]] = []
    failed: set[tuple[str, str, str, int]] = set()
    for row in outputs.plan.rows:
        reason = outputs.of(row)
        if isinstance(reason, str):
            failed.add((row.set_id, row.system, row.item_id, row.seed))
            where = {"system": row.system, "set": row.set_id, "item": row.item_id, "seed": row.seed}
            out.append({"stage": "generate", **where, "column": None, "status": "failed", "reason": reason})
    for (set_id, system, column), values in by_cell.items():
        for v in values:
            if v.status != "ok" and (set_id, system, v.item, v.seed) not in failed:
                where = {"system": system, "set": set_id, "item": v.item, "seed": v.seed}
                out.append({"stage": "measure", **where, "column": column, "status": v.status, "reason": v.reason})
    return out
