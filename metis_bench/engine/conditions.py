"""Under which conditions outputs were made: costs compare only where these are the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from metis_bench.engine.outputs import Outputs
from metis_bench.engine.store import Made
from metis_bench.hashing import canonical_json
from metis_bench.suite.schema import Suite


def mixed_conditions(outputs: Outputs) -> dict[str, str]:
    """Sets whose outputs were not all made on one kind of machine with one number of workers: times do not compare."""
    seen: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    facts = outputs.plan.facts
    for row in outputs.plan.rows:
        made = outputs.of(row)
        if isinstance(made, Made) and facts[row.system].timed:
            seen[row.set_id][id(made.hardware)] = made.hardware
    kinds = {  # threads are a system's own affair
        s: {canonical_json({k: v for k, v in made.items() if k != "threads"}) for made in found.values()}
        for s, found in seen.items()
    }
    return {
        s: f"{s}: outputs were made under {len(found)} different conditions (machine, workers): "
        "times and memory are shown, and not ranked"
        for s, found in kinds.items()
        if len(found) > 1
    }


def machines(suite: Suite, outputs: Outputs) -> dict[str, list[str]]:
    """What each system's outputs were made on, in words."""
    seen: dict[str, dict[int, Mapping[str, Any]]] = {s.name: {} for s in suite.systems}
    for row in outputs.plan.rows:
        made = outputs.of(row)
        if isinstance(made, Made) and made.hardware:
            seen[row.system][id(made.hardware)] = made.hardware
    return {name: sorted({_told(made) for made in found.values()}) for name, found in seen.items()}


def _told(made: Mapping[str, Any]) -> str:
    gpus = ", ".join(made["gpus"]) if made["gpus"] else "no GPU"
    told = f"{made['cpu']}, {gpus}, {made['workers']} workers of {made['threads']} threads"
    return f"{told}, {made['workers_a_gpu']} a GPU" if "workers_a_gpu" in made else told
