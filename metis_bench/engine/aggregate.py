"""Stage 3: from scores to cells. Every cell shows n/N; failures are reasons and a penalised value, never absences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metis_bench import stats
from metis_bench.engine.measure import BoundMetric
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Column
from metis_bench.suite.plan import Plan, TestSet
from metis_bench.suite.schema import OracleOrder, Suite
from metis_bench.systems.base import RANKED, systems

SCHEMA = 1
PERCENTILES = (50, 95)  # shown for costs


@dataclass(frozen=True)
class Value:
    """One row's score in one column, with where it belongs."""

    item: str
    seed: int
    cluster: str
    status: str
    value: float | None
    reason: str | None
    detail: Mapping[str, Any]


def score_lines(
    plan: Plan, bound: Sequence[BoundMetric], scores: Mapping[tuple[int, int], Mapping[str, Any]]
) -> list[dict[str, JSON]]:
    """Lines of scores.jsonl: one a (row, column), in plan order."""
    lines: list[dict[str, JSON]] = []
    for (row_index, metric_index), columns in sorted(scores.items()):
        row = plan.rows[row_index]
        for column, score in columns.items():
            lines.append(
                {
                    "system": row.system,
                    "set": row.set_id,
                    "item": row.item_id,
                    "seed": row.seed,
                    "column": column,
                    "signature": bound[metric_index].signature_id,
                    **score,
                }
            )
    return lines


def aggregate(
    suite: Suite,
    plan: Plan,
    bound: Sequence[BoundMetric],
    scores: Mapping[tuple[int, int], Mapping[str, Any]],
    generations: Sequence[Mapping[str, Any]],
    fingerprints: Mapping[str, str],
) -> dict[str, Any]:
    """results.json as a dict: no times, no paths; the same scores give the same bytes."""
    by_cell = _group(plan, scores)
    cells: list[dict[str, Any]] = []
    for test_set in plan.sets:
        cells += _set_cells(suite, plan, test_set, bound, by_cell)
    _rank(cells, {s.name: systems.get(s.type).kind in RANKED for s in suite.systems}, _columns(bound))
    return {
        "schema": SCHEMA,
        "suite": {k: suite.to_json()[k] for k in ("name", "title", "task", "profile", "description", "limit")},
        "systems": [
            {
                "name": s.name,
                "kind": systems.get(s.type).kind,
                "class": s.type,
                "fingerprint": fingerprints[s.name],
                "ranked": systems.get(s.type).kind in RANKED,
                "deterministic": systems.get(s.type).deterministic,
            }
            for s in suite.systems
        ],
        "sets": [_set_json(s) for s in plan.sets],
        "columns": [_column_json(c, m) for m, c in _columns(bound).values()],
        "signatures": {b.signature_id: dict(b.signature) for b in bound},
        "cells": cells,
        "oracle_checks": _oracle_checks(suite.oracle_order, plan, cells, _columns(bound)),
        "failures": _failures(plan, generations, by_cell),
        "warnings": [w for s in plan.sets for w in s.warnings],
    }


def _columns(bound: Sequence[BoundMetric]) -> dict[str, tuple[str, Column]]:
    return {c.id: (b.spec.type, c) for b in bound for c in b.metric.columns}


def _set_json(s: TestSet) -> dict[str, JSON]:
    return {
        "id": s.id,
        "corpus": s.corpus,
        "subset": s.subset,
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
        "worst": c.worst,
        "aggregate": c.aggregate,
        "help": c.help,
    }


CellKey = tuple[str, str, str]  # set, system, column


def _group(plan: Plan, scores: Mapping[tuple[int, int], Mapping[str, Any]]) -> dict[CellKey, list[Value]]:
    """Scores by cell, in plan order. A column without its own detail takes that of its metric's other columns."""
    out: dict[CellKey, list[Value]] = defaultdict(list)
    for (row_index, _), columns in sorted(scores.items()):
        row = plan.rows[row_index]
        cluster = plan.items[row.set_id, row.item_id].item.cluster
        shared: dict[str, Any] = {}
        for score in columns.values():
            shared.update(score["detail"])
        for column, s in columns.items():
            value = Value(
                row.item_id, row.seed, cluster, s["status"], s["value"], s["reason"], {**shared, **s["detail"]}
            )
            out[row.set_id, row.system, column].append(value)
    return out


def _set_cells(
    suite: Suite, plan: Plan, test_set: TestSet, bound: Sequence[BoundMetric], by_cell: Mapping[CellKey, list[Value]]
) -> list[dict[str, Any]]:
    clusters = sorted({p.item.cluster for p in test_set.items})
    weights = stats.draws(len(clusters), suite.stats.resamples, suite.stats.seed, test_set.id)
    cells = []
    for system in suite.systems:
        for b in bound:
            if b.corpus != test_set.corpus:
                continue
            absent = plan.not_applicable.get((system.name, test_set.id))
            missing = sorted(b.metric.needs - test_set.spec.provides)
            if absent is None and missing:
                absent = f"the set has no {', no '.join(missing)}"
            for column in b.metric.columns:
                base = {"set": test_set.id, "system": system.name, "column": column.id, "signature": b.signature_id}
                if absent is not None:
                    cells.append({**base, **_NOT_APPLICABLE, "reasons": {absent: 0}})
                    continue
                values = by_cell[test_set.id, system.name, column.id]
                others = _column_values(by_cell, test_set.id, column) if column.aggregate == "ratio" else []
                cells.append({**base, **cell(column, values, others, clusters, weights, suite.stats.level)})
    return cells


def _column_values(by_cell: Mapping[CellKey, list[Value]], set_id: str, column: Column) -> list[Value]:
    return [v for (s, _, c), values in by_cell.items() if s == set_id and c == column.id for v in values]


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


def cell(
    column: Column,
    values: Sequence[Value],
    others: Sequence[Value],
    clusters: Sequence[str],
    weights: NDArray[np.int16],
    level: float,
) -> dict[str, Any]:
    """One number with its interval, coverage and penalised twin.

    values: this cell's rows; others: rows of all systems in the column (to know the size of failed ratio items).
    Seeds of one item are averaged before clusters are resampled.
    """
    ok = [v for v in values if v.status == "ok"]
    scored = _ratio_terms(column, ok, {}) if column.aggregate == "ratio" else _mean_terms(ok, None)
    value, ci = _point(column, scored, ok, clusters, weights, level)
    full = ok if len(ok) == len(values) else _penalised_terms(column, values, others)
    penalised = value if full is ok else None
    if full is not None and full is not ok:
        penalised, _ = _point(column, full, [], clusters, weights, level)  # type: ignore[arg-type]
    reasons = Counter(f"{v.status}: {v.reason}" for v in values if v.status != "ok")
    status = "empty" if not ok else "complete" if len(ok) == len(values) else "incomplete"
    return {
        "status": status,
        "value": value,
        "ci": ci,
        "penalised": penalised,
        "n": len(ok),
        "N": len(values),
        "clusters": len({v.cluster for v in ok}),
        "rank": None,
        "reasons": dict(sorted(reasons.items())),
        "extra": _extra(column, ok),
    }


Terms = list[tuple[str, float, float]]  # cluster, numerator, denominator: one an item


def _mean_terms(values: Sequence[Value], worst: float | None) -> Terms:
    """An item's numerator is the mean over its seeds (failures count `worst` when it is given), denominator 1."""
    items: dict[str, list[float]] = defaultdict(list)
    cluster = {v.item: v.cluster for v in values}
    for v in values:
        number = v.value if v.status == "ok" else worst
        if number is not None:
            items[v.item].append(number)
    return [(cluster[i], sum(x) / len(x), 1.0) for i, x in items.items()]


def _ratio_terms(column: Column, values: Sequence[Value], sizes: Mapping[str, float]) -> Terms:
    """Numerator and denominator from detail; a failed row is all wrong: numerator = denominator = its known size."""
    num, den = column.ratio
    return [
        (v.cluster, float(v.detail[num]), float(v.detail[den]))
        if v.status == "ok"
        else (v.cluster, sizes[v.item], sizes[v.item])
        for v in values
    ]


def _penalised_terms(column: Column, values: Sequence[Value], others: Sequence[Value]) -> Terms | None:
    if column.aggregate == "max" or (column.worst is None and column.aggregate == "mean"):
        return None
    if column.aggregate == "mean":
        return _mean_terms(values, column.worst)
    sizes = {v.item: float(v.detail[column.ratio[1]]) for v in others if v.status == "ok"}
    if any(v.status != "ok" and v.item not in sizes for v in values):
        return None
    return _ratio_terms(column, values, sizes)


def _point(
    column: Column, terms: Terms, ok: Sequence[Value], clusters: Sequence[str], weights: NDArray[np.int16], level: float
) -> tuple[float | None, list[float] | None]:
    if column.aggregate == "max":
        return max((v.value for v in ok if v.value is not None), default=None), None
    num, den = dict.fromkeys(clusters, 0.0), dict.fromkeys(clusters, 0.0)
    for cluster, n, d in terms:
        num[cluster] += n
        den[cluster] += d
    total = sum(den.values())
    if total <= 0:
        return None, None
    scale = 100.0 if column.aggregate == "ratio" and column.unit == "%" else 1.0
    ci = stats.interval(list(num.values()), list(den.values()), weights, level)
    return scale * sum(num.values()) / total, None if ci is None else [scale * ci[0], scale * ci[1]]


def _extra(column: Column, ok: Sequence[Value]) -> dict[str, float]:
    """Percentiles of costs; spread over seeds where there are several."""
    numbers = [v.value for v in ok if v.value is not None]
    out: dict[str, float] = {}
    if column.worst is None and numbers:
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
        for c in group:
            c["rank"] = 1 + sum(sign * o["value"] < sign * c["value"] for o in group)


def _oracle_checks(
    orders: Sequence[OracleOrder],
    plan: Plan,
    cells: Sequence[Mapping[str, Any]],
    columns: Mapping[str, tuple[str, Column]],
) -> list[dict[str, Any]]:
    """ok: true, false (violated), or null when one side has no value in this set (not applicable, or all failed)."""
    values = {(c["set"], c["system"], c["column"]): c["value"] for c in cells}
    out: list[dict[str, Any]] = []
    present = {c["system"] for c in cells}
    for order in orders:
        if not {order.better, order.worse} <= present:
            continue  # left out with --system
        higher = columns[order.column][1].direction == "higher"
        for test_set in plan.sets:
            if order.sets is not None and not {test_set.id, test_set.corpus} & set(order.sets):
                continue
            better = values.get((test_set.id, order.better, order.column))
            worse = values.get((test_set.id, order.worse, order.column))
            ok = None if better is None or worse is None else better > worse if higher else better < worse
            out.append(
                {
                    "set": test_set.id,
                    "column": order.column,
                    "better": order.better,
                    "worse": order.worse,
                    "better_value": better,
                    "worse_value": worse,
                    "ok": ok,
                    "reason": "not applicable to this set, or without any score" if ok is None else None,
                }
            )
    return out


def _failures(
    plan: Plan, generations: Sequence[Mapping[str, Any]], by_cell: Mapping[CellKey, list[Value]]
) -> list[dict[str, Any]]:
    """Every failed generation once, then every failed or undefined score of an output that exists."""
    out: list[dict[str, Any]] = []
    failed: set[tuple[str, str, str, int]] = set()
    for row, g in zip(plan.rows, generations, strict=True):
        if g["status"] != "ok":
            failed.add((row.set_id, row.system, row.item_id, row.seed))
            where = {"system": row.system, "set": row.set_id, "item": row.item_id, "seed": row.seed}
            out.append({"stage": "generate", **where, "column": None, "status": "failed", "reason": g["reason"]})
    for (set_id, system, column), values in by_cell.items():
        for v in values:
            if v.status != "ok" and (set_id, system, v.item, v.seed) not in failed:
                where = {"system": system, "set": set_id, "item": v.item, "seed": v.seed}
                out.append({"stage": "measure", **where, "column": column, "status": v.status, "reason": v.reason})
    return out
