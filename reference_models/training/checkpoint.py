"""The state of a run on disk: whole or not there, and readable without executing code."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_models.errors import CheckpointError

KEPT = 2  # checkpoints of a run


@dataclass(frozen=True)
class Checkpoint:
    """step: steps done; seconds: spent on them; average: moving average of weights; sums: of the log line to come."""

    step: int
    seconds: float
    model: dict[str, Tensor]
    optimisers: dict[str, Any]
    average: dict[str, Tensor]
    sums: dict[str, tuple[float, float]]


def write(checkpoint: Checkpoint, folder: Path) -> Path:
    """Atomically; older ones but the last are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:09d}.pt"
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save({f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    for old in sorted(folder.glob("step-*.pt"))[:-KEPT]:
        old.unlink()
    return path


def latest(folder: Path) -> Path | None:
    """The checkpoint of the highest step."""
    return max(folder.glob("step-*.pt"), default=None)


def read(path: Path) -> Checkpoint:
    """Errors: CheckpointError for a file that is no checkpoint"""
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no checkpoint of a training run ({error})", fix="remove it") from error
