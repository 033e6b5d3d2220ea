"""Where the reference models' weights are, and what identifies them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

from metis_bench.config import CHECKPOINTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON, kept_sha256
from metis_bench.systems.told import told

RANDOM = ("random-tiny", "random-full")
DESCRIBED = (".config.json", ".json")  # what may stand beside weights and say what they are (`checkpoints.Checkpoints`)


def checkpoints_of(given: str | None) -> str | None:
    """A folder, `mini` or one of RANDOM: what a suite gives, else what this machine has; None: the hub's cache."""
    return given or os.environ.get(CHECKPOINTS) or None


def caveat_of(where: str | None) -> str | None:
    """Random weights speak noise, and the mini family knows nothing but the mini corpus."""
    from reference_models.hub import MINI

    if where == MINI:
        return "mini weights, trained on synthetic speech alone: no statement about human speech"
    return f"{where} weights, untrained: it speaks noise" if where in RANDOM else None


def small(where: str | None) -> bool:
    """Whether a worker for each core can hold these weights; one alone with all cores leaves some of them idle."""
    from reference_models.hub import MINI

    return where in (MINI, "random-tiny")


def weight_files(parts: Mapping[str, str | Path], where: str | None) -> dict[str, Path]:
    """Files by the part they are: names in `registry.FILES` found on this machine, and a user's own.

    Raises MissingPrerequisite naming the first that is not here, and its place.
    """
    from reference_models.hub import find, folder_of

    found = {}
    for part, file in parts.items():
        with told():
            found[part] = find(file, folder_of(where)) if isinstance(file, str) else file
        if not found[part].is_file():
            raise MissingPrerequisite(f"checkpoint not found: {found[part]}", fix="put it there, or correct the suite")
    return found


def numbers(weights: Path) -> int:
    """How many numbers a safetensors file holds, by its header; 0 of another file. Raises MissingPrerequisite."""
    if weights.suffix != ".safetensors":
        return 0
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="np") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise MissingPrerequisite(f"{weights} is damaged or incomplete ({error})", fix="get it again") from None


def content(weights: Path) -> JSON:
    """sha256 of a weight file, and of what beside it says its sizes, if that is there."""
    beside = [path for suffix in DESCRIBED if (path := weights.with_suffix(suffix)).is_file()]
    return [kept_sha256(path) for path in (weights, *beside)]
