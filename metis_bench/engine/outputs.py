"""What there is of a plan's outputs: found in the store, made since, or failed. Rows with the same key share one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from metis_bench.engine.executor import Crash
from metis_bench.engine.store import Made, Store
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON
from metis_bench.suite.plan import Plan, Row

ABORT_FIX = "free some space or choose another --store, then run the same command again to resume"
TIMED = 50  # outputs of a system whose times are looked at for estimates
Output: TypeAlias = "Made | str"  # or the reason why there is none


class Outputs:
    """What is known of the outputs of a plan: those in the store, and those that were made since or failed.

    failures: reasons by key; they are not kept in the store
    """

    def __init__(self, plan: Plan, store: Store) -> None:
        """Nothing is looked at yet."""
        self.plan, self.store = plan, store
        self.made: dict[str, Made | None] = {}
        self.failures: dict[str, str] = {}
        self._hardware: dict[str, Mapping[str, JSON]] = {}

    def look(self, rows: Iterable[Row]) -> None:
        """Ask the store for those that are not known yet."""
        unknown = list(dict.fromkeys(r.key for r in rows if r.key is not None and r.key not in self.made))
        self.made.update(zip(unknown, self.store.generations(unknown), strict=True))

    def lacking(self, system: str) -> list[Row]:
        """Rows of a system that have to be generated, longest first (evens out the end), each key once."""
        rows = [row for row in self.plan.rows if row.system == system]
        self.look(rows)
        todo: dict[str, Row] = {}
        for row in rows:
            if row.key is not None and self.made[row.key] is None:
                todo.setdefault(row.key, row)
        return sorted(todo.values(), key=lambda row: -self.plan.item(row).seconds)

    def take(self, key: str, result: Mapping[str, Any] | Crash) -> None:
        """What a worker says of one. Raises MissingPrerequisite where the store cannot be written."""
        if isinstance(result, Crash):
            self.failures[key] = result.reason
        elif "abort" in result:
            raise MissingPrerequisite(result["abort"], where=str(self.store.root), fix=ABORT_FIX)
        elif "reason" in result:
            self.failures[key] = result["reason"]
        else:
            self.made[key] = Made.read(result["record"], self._hardware)

    def of(self, row: Row) -> Output:
        """Of one row."""
        made = None if row.key is None else self.made.get(row.key)
        if made is not None:
            return made
        return row.problem or (self.failures.get(row.key) if row.key else None) or "not generated (interrupted)"

    def lines(self) -> Iterator[dict[str, JSON]]:
        """One line of generations.jsonl for every planned row, in plan order."""
        self.look(self.plan.rows)
        for row in self.plan.rows:
            line: dict[str, JSON] = {"system": row.system, "set": row.set_id, "item": row.item_id, "seed": row.seed}
            output = self.of(row)
            failed: dict[str, JSON] = {"status": "failed", "reason": str(output), "audio": None}
            found = failed if isinstance(output, str) else {"status": "ok", "reason": None, **output.to_json()}
            yield {**line, "key": row.key, **found}


def median_rtf(outputs: Outputs, names: Sequence[str]) -> dict[str, float]:
    """Real-time factors (wall s / audio s) of each system, from what is known of this very plan."""
    seen: dict[str, list[float]] = {n: [] for n in names}
    for row in outputs.plan.rows:
        made = outputs.of(row)
        if len(seen[row.system]) < TIMED and isinstance(made, Made):
            seen[row.system].append(made.wall_s / max(made.seconds, 1e-3))
    return {n: float(np.median(v)) for n, v in seen.items() if v and math.isfinite(float(np.median(v)))}
