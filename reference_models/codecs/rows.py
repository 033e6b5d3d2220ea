"""Batches of unequal lengths, each row computed alone at its own length.

Convolutions read their neighbours, so a padded pass would have to mask before every one of them and would still differ
in the last bits, because kernels sum in another order for another batch shape. Alone, a row's result is the same bits
whatever it is batched with. It costs little: the codecs are below one per cent of the work of a generation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Lengths: TypeAlias = Sequence[int] | Tensor


def each_row_alone(
    run: Callable[[Tensor], Tensor], batch: Tensor, lengths: Lengths, *, time: int, out_time: int
) -> Tensor:
    """`run` on every row of `batch`, cut to its length, and the results as one batch with zeros after the end.

    run:      maps one row, a batch of one, to a batch of one
    lengths:  valid steps of each row, B integers
    time:     axis of the steps in `batch`
    out_time: axis of the steps in what `run` returns
    """
    rows = [
        run(row.narrow(time, 0, int(length))) for row, length in zip(torch.split(batch, 1), lengths, strict=True)
    ]  # each (1, ...)
    longest = max(row.shape[out_time] for row in rows)
    return torch.cat([_pad_end(row, out_time, longest) for row in rows])


def _pad_end(x: Tensor, axis: int, size: int) -> Tensor:
    after = x.ndim - 1 - axis  # axes behind this one; F.pad counts from the last
    return F.pad(x, (0, 0) * after + (0, size - x.shape[axis]))
