"""A part of a run: some systems, sets and columns of it, as if it held no others. Ranks stay those of the whole run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from metis_bench.errors import UsageError, nearest
from metis_bench.report.data import RunData


def select(
    data: RunData, systems: Sequence[str] = (), sets: Sequence[str] = (), columns: Sequence[str] = ()
) -> RunData:
    """Nothing named: all of it. A set may be named by its corpus, a column by its family.

    Raises UsageError for what the run does not have.
    """
    results = data.results
    kept_systems = _chosen("system", systems, [(s.name, s.name) for s in results.systems])
    kept_sets = _chosen("test set", sets, [(s.id, s.corpus) for s in results.sets])
    kept_columns = _chosen("column", columns, [(c.id, c.family) for c in results.columns])
    cells = [c for c in results.cells if c.system in kept_systems and c.set in kept_sets and c.column in kept_columns]
    rows = tuple(row for row in data.rows if row.system in kept_systems and row.set in kept_sets)
    keys = {row.key for row in rows}
    published = results.published and replace(
        results.published,
        rows=tuple(
            replace(row, cells=tuple(c for c in row.cells if not columns or c.column in kept_columns))
            for row in results.published.rows
            if row.set in kept_sets or (row.set is None and not sets)
        ),
    )
    part = replace(
        results,
        systems=tuple(s for s in results.systems if s.name in kept_systems),
        sets=tuple(s for s in results.sets if s.id in kept_sets),
        columns=tuple(c for c in results.columns if c.id in kept_columns),
        cells=tuple(cells),
        oracle_checks=tuple(
            check
            for check in results.oracle_checks
            if check.set in kept_sets
            and check.column in kept_columns
            and (not systems or {check.better, check.worse} <= kept_systems)
        ),
        failures=tuple(
            f
            for f in results.failures
            if (f.system is None or f.system in kept_systems)
            and (f.set is None or f.set in kept_sets)
            and (f.column is None or f.column in kept_columns)
        ),
        published=published,
    )
    return replace(
        data,
        results=part,
        cells={(c.set, c.system, c.column): c for c in cells},
        items={key: item for key, item in data.items.items() if key[0] in kept_sets},
        rows=rows,
        generations={key: g for key, g in data.generations.items() if key in keys},
        scores={
            key: {column: score for column, score in found.items() if column in kept_columns}
            for key, found in data.scores.items()
            if key in keys
        },
    )


def measured(data: RunData) -> RunData:
    """Without what others published."""
    return replace(data, results=replace(data.results, published=None))


def _chosen(what: str, wanted: Sequence[str], known: Iterable[tuple[str, str]]) -> set[str]:
    """Ids that are wanted. known: (id, what else it may be called)."""
    names = list(known)
    for name in wanted:
        if not any(name in both for both in names):
            raise UsageError(f"the run has no {what} '{name}'{nearest(name, [i for i, _ in names])}")
    return {i for i, other in names if not wanted or i in wanted or other in wanted}
