"""The tables that a run's files hold: one row a cell, one a score, one a printed value; typed, in a stable order.

CSV and parquet are written from these alone. What is missing is None, never NaN.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from metis_bench.report.data import RunData
from metis_bench.report.published import verdict_on

Row: TypeAlias = list[object]


@dataclass(frozen=True)
class Table:
    """name: of its file; fields: name to type (str, int, float or bool), in order; rows: a value or None a field."""

    name: str
    fields: Mapping[str, type]
    rows: list[Row]

    @property
    def file(self) -> str:
        """What it is called as CSV."""
        return f"{self.name}.csv"


CELLS: Mapping[str, type] = {
    "set": str,
    "system": str,
    "kind": str,
    "ranked": bool,
    "column": str,
    "label": str,
    "direction": str,
    "unit": str,
    "value": float,
    "ci_low": float,
    "ci_high": float,
    "ci_level": float,
    "penalised": float,
    "n": int,
    "N": int,
    "clusters": int,
    "status": str,
    "rank": int,
    "rank_to": int,
    "signature": str,
    "protocol": str,
    "reasons": str,
    "extra": str,
}
SCORES: Mapping[str, type] = {
    "set": str,
    "item": str,
    "system": str,
    "seed": int,
    "column": str,
    "status": str,
    "value": float,
    "reason": str,
    "signature": str,
    "protocol": str,
}
PRINTED: Mapping[str, type] = {
    "set": str,
    "table": str,
    "cite": str,
    "dataset": str,
    "system": str,
    "variant": str,
    "training_data": str,
    "kind": str,
    "ranked": bool,
    "metric": str,
    "direction": str,
    "unit": str,
    "printed": str,
    "value": float,
    "column": str,
    "comparable": bool,
    "flags": str,
    "notes": str,
    "verdict": str,
    "verdict_system": str,
    "verdict_why": str,
}


def cell_table(data: RunData) -> Table:
    """`results`: what the leaderboards show, unrounded."""
    return Table("results", CELLS, list(_cells(data)))


def score_table(data: RunData, *, detail: bool = False) -> Table:
    """`scores`: in plan order; detail: with what the metric kept (edit counts, alignment), as JSON."""
    fields = {**SCORES, "detail": str} if detail else SCORES
    scores = (score for row in data.rows for score in data.scores.get(row.key, {}).values())
    rows: list[Row] = [[getattr(s, name) for name in SCORES] + ([_json(s.detail)] if detail else []) for s in scores]
    return Table("scores", fields, rows)


def published_table(data: RunData) -> Table | None:
    """`published`: None where the run has no published results. A table of its own: it is never among the cells."""
    published = data.results.published
    if published is None:
        return None
    rows: list[Row] = []
    for row in published.rows:
        for cell in row.cells:
            metric = published.metrics[cell.metric]
            place = [row.set, row.table, row.cite, row.dataset, row.system, row.variant, row.training_data]
            what = [row.kind, row.ranked, cell.metric, metric.direction, metric.unit, cell.printed, cell.value]
            flags = [cell.column, cell.comparable, "; ".join(cell.flags), "; ".join(cell.notes)]
            told = verdict_on(data, row, cell)
            rows.append([*place, *what, *flags, told.word, told.system, told.why])
    return Table("published", PRINTED, rows)


def stacked(labels: Sequence[str], tables: Sequence[tuple[Sequence[str], Table]]) -> Table:
    """Several tables of one name as one. labels: fields in front; each table comes with its values of them."""
    first = tables[0][1]
    rows: list[Row] = [[*values, *row] for values, table in tables for row in table.rows]
    return Table(first.name, {**dict.fromkeys(labels, str), **first.fields}, rows)


def _cells(data: RunData) -> Iterator[Row]:
    systems = {system.name: system for system in data.results.systems}
    columns = {column.id: column for column in data.results.columns}
    for cell in data.results.cells:
        system, column, (low, high) = systems[cell.system], columns[cell.column], cell.ci or (None, None)
        about = [cell.set, cell.system, system.kind, system.ranked, cell.column, column.label, column.direction]
        level = data.results.stats.level if cell.ci else None
        counts = [cell.n, cell.N, cell.clusters, cell.status, cell.rank, cell.rank_to, cell.signature, cell.protocol]
        told = [_json(cell.reasons), _json(cell.extra)]
        yield [*about, column.unit, cell.value, low, high, level, cell.penalised, *counts, *told]


def _json(value: Mapping[str, object]) -> str | None:
    return json.dumps(value, ensure_ascii=False, allow_nan=False) if value else None
