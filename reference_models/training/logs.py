"""What a run says: metrics.jsonl always, TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"


class Sums:
    """Means over the steps since the last line, weighted by what was counted."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    @classmethod
    def of(cls, state: Mapping[str, tuple[float, float]]) -> Sums:
        """From `state`."""
        sums = cls()
        sums._sums = {name: (total, count) for name, (total, count) in state.items()}
        return sums

    def state(self) -> dict[str, tuple[float, float]]:
        """What a checkpoint keeps."""
        return dict(self._sums)

    def add(self, name: str, total: float, count: float) -> None:
        """Add a sum over `count` things."""
        known = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (known[0] + total, known[1] + count)

    def over(self, total: Callable[[Tensor], Tensor]) -> Sums:
        """Those of all processes. total: a sum over them"""
        if not self._sums:
            return self
        rows = total(torch.tensor(list(self._sums.values()), dtype=torch.float64)).tolist()
        return Sums.of({name: (value, count) for name, (value, count) in zip(self._sums, rows, strict=True)})

    def means(self) -> dict[str, float]:
        """One number a name."""
        return {name: total / count for name, (total, count) in self._sums.items() if count}


class Logs:
    """Writes lines of {"step": ..., name: number}. folder: None writes nothing; lines behind `step` are removed."""

    def __init__(self, folder: Path | None, step: int) -> None:
        self._file: IO[str] | None = None
        self._board: SummaryWriter | None = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / METRICS
        kept = [line for line in read_metrics(path) if line["step"] <= step]
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # optional: the same numbers are in the file
            return
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line, flushed. Numbers that are not finite become null: JSON has none."""
        if self._file is None:
            return
        line = {"step": step, **{k: v if math.isfinite(v) else None for k, v in values.items()}}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """All lines; a last one that was cut off by a kill is left out."""
    lines: list[dict[str, float]] = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines
