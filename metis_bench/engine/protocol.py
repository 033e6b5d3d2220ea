"""What a number was measured by, as one fingerprint; every score carries it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metis_bench.engine.bound import BoundMetric
from metis_bench.hashing import JSON, sha256_json
from metis_bench.metrics.base import Column
from metis_bench.suite.plan import Plan, TestSet
from metis_bench.suite.schema import Suite


def protocol_id(suite: Suite, test_set: TestSet, one: BoundMetric, column: Column) -> str | None:
    """Fingerprint of all that decides a number but the system: equal numbers of two runs may be compared.

    The metric's signature, the column and how it is aggregated, the list of items, the seeds and the statistics. Costs
    have none: the machine decides them.
    """
    if one.signature_id is None or not one.metric.keyed:
        return None
    return sha256_json(
        {
            "signature": one.signature_id,
            "column": [column.id, column.aggregate, list(column.ratio)],
            "list": test_set.list_hash,
            "seeds": list(suite.seeds),
            "stats": asdict(suite.stats),
        }
    )[:12]


def score_lines(
    suite: Suite, plan: Plan, bound: Sequence[BoundMetric], scores: Iterable[tuple[int, int, Mapping[str, Any]]]
) -> Iterator[dict[str, JSON]]:
    """Lines of scores.jsonl: one a (row, column), in the order of the scores."""
    sets = {test_set.id: test_set for test_set in plan.sets}
    protocols: dict[tuple[str, int, str], str | None] = {}
    for row_index, metric_index, columns in scores:
        row, one = plan.rows[row_index], bound[metric_index]
        for column, score in columns.items():
            kind = (row.set_id, metric_index, column)
            if kind not in protocols:
                named = next(c for c in one.metric.columns if c.id == column)
                protocols[kind] = protocol_id(suite, sets[row.set_id], one, named)
            yield {
                "system": row.system,
                "set": row.set_id,
                "item": row.item_id,
                "seed": row.seed,
                "column": column,
                "signature": one.signature_id,
                "protocol": protocols[kind],
                **score,
            }
