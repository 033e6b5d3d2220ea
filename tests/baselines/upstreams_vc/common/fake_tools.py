"""What the fakes of upstream packages share: a record of their calls, and a tensor that is none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np


def record(call: str, **facts: object) -> None:
    """Append a call to the file that the test reads."""
    with Path(os.environ["FAKE_CALLS"]).open("a") as file:
        file.write(json.dumps({"call": call, **facts}, default=str) + "\n")


def tone(count: int, *shape: int) -> np.ndarray:
    """Float32 samples of which none is silent."""
    return (0.25 * np.sin(0.1 + np.arange(count))).astype(np.float32).reshape(*shape, count)


class Tensor:
    """As much of torch.Tensor as an output needs."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.shape = array.shape

    def __len__(self) -> int:
        return len(self.array)

    def squeeze(self) -> Tensor:
        return Tensor(self.array.squeeze())

    def is_floating_point(self) -> bool:
        return True

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self.array


class Module:
    """As much of torch.nn.Module as loading needs."""

    def to(self, device: object) -> Module:
        record("to", module=type(self).__name__, device=device)
        return self

    def eval(self) -> Module:
        record("eval", module=type(self).__name__)
        return self
