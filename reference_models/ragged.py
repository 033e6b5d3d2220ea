"""Sequences of unequal length as one padded tensor, and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Rows (n_b, ...) -> values (B, max n, ...) with zeros behind each, and a mask (B, max n) bool, True at values.

    The mask is None when all rows are equally long: kernels without a mask are faster.
    """
    lengths = [len(row) for row in rows]
    if min(lengths) == max(lengths):
        return torch.stack(list(rows)), None
    values = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return values, length_mask(lengths, values.device)


def padded(rows: tuple[Tensor, Tensor | None], bucket: int) -> tuple[Tensor, Tensor]:
    """Values (B, n, ...) and their mask with zeros behind, to a multiple of `bucket`."""
    values, mask = rows
    b, n = values.shape[:2]
    mask = values.new_ones((b, n), dtype=torch.bool) if mask is None else mask
    more = -n % bucket
    blank = values.new_zeros((b, more, *values.shape[2:]))
    return torch.cat([values, blank], dim=1), torch.cat([mask, mask.new_zeros((b, more))], dim=1)


def length_mask(lengths: Sequence[int], device: torch.device, size: int | None = None) -> Tensor:
    """(B, size) bool, True below each length; size: the largest length if not given."""
    return torch.arange(size or max(lengths), device=device) < torch.tensor(lengths, device=device)[:, None]


def unpad(values: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """(B, T, ...) -> one (n_b, ...) a sample."""
    return [row[:n] for row, n in zip(values, lengths, strict=True)]


def join(parts: Sequence[tuple[Tensor, Tensor | None]]) -> tuple[Tensor, Tensor | None]:
    """Padded parts (B, n_i, ...) side by side; padding may then stand in the middle of a row."""
    values = torch.cat([v for v, _ in parts], dim=1)
    if all(m is None for _, m in parts):
        return values, None
    masks = [torch.ones(v.shape[:2], dtype=torch.bool, device=v.device) if m is None else m for v, m in parts]
    return values, torch.cat(masks, dim=1)
