"""Arms of an ablation: systems of a grid that differ in the seed of their training alone."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

SEED = "seed"  # the factor that repeats a training
ONCE = "-"  # seed of an arm that has none


def arms_of(grids: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int | str]]:
    """arm -> seed of training -> system, of the grids in a run's resolved suite. An arm without seeds has ONCE."""
    arms: dict[str, dict[str, int | str]] = defaultdict(dict)
    for system, point in grids.items():
        factors = dict(point["factors"])
        seed = str(factors.pop(SEED, ONCE))
        name = str(point["grid"])
        for key, value in factors.items():
            name = name.replace(f"{{{key}}}", str(value))
        arms[re.sub(r"[.\-_]?\{seed\}", "", name)][seed] = system
    return dict(arms)
