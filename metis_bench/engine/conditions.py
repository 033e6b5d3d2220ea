"""Under which conditions outputs were made: costs compare only where these are the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from metis_bench.hashing import canonical_json
from metis_bench.suite.plan import Plan
from metis_bench.suite.schema import Suite


def mixed_conditions(plan: Plan, generations: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Sets whose outputs were not all made on one kind of machine with one number of workers: times do not compare."""
    seen: dict[str, set[str]] = defaultdict(set)
    for row, g in zip(plan.rows, generations, strict=True):
        if g["status"] == "ok" and plan.facts[row.system].timed:
            machine = {k: v for k, v in g["hardware"].items() if k != "threads"}  # a system's own affair
            seen[row.set_id].add(canonical_json(machine))
    return {
        s: f"{s}: outputs were made under {len(found)} different conditions (machine, workers): "
        "times and memory are shown, and not ranked"
        for s, found in seen.items()
        if len(found) > 1
    }


def machines(suite: Suite, plan: Plan, generations: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What each system's outputs were made on, in words."""
    seen: dict[str, set[str]] = {s.name: set() for s in suite.systems}
    for row, g in zip(plan.rows, generations, strict=True):
        if g["status"] == "ok" and g["hardware"]:
            made = g["hardware"]
            gpus = ", ".join(made["gpus"]) if made["gpus"] else "no GPU"
            seen[row.system].add(f"{made['cpu']}, {gpus}, {made['workers']} workers of {made['threads']} threads")
    return {name: sorted(found) for name, found in seen.items()}
