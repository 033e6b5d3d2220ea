"""The key lists of the official files (`golden/checkpoints`)."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn


def key_list(golden: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Tensor name to shape, of the official file `name`."""
    tensors = json.loads((golden / "checkpoints" / f"{name}.json").read_text())["tensors"]
    return {key: tuple(shape) for key, shape in tensors.items()}


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Tensor name to shape, of a module."""
    return {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}


def parameter_count(module: nn.Module) -> int:
    """Numbers that are trained (buffers are not)."""
    return sum(parameter.numel() for parameter in module.parameters())


def assert_keys_equal(module: nn.Module, golden: Path, name: str) -> None:
    """Names, shapes and the number of parameters are those of the official file."""
    assert shapes(module) == key_list(golden, name)
    facts = json.loads((golden / "checkpoints" / f"{name}.json").read_text())
    assert parameter_count(module) == facts["n_params"]
