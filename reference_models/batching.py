"""Which jobs share a batch, and what is done when one is too large for the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from reference_models.errors import MetisError
from reference_models.prepare import Prepared
from reference_models.stage1 import Stage1

T = TypeVar("T")

MOST_PADDING = 0.25  # of a batch, beyond which a job starts a new one
RESERVE = 0.1  # of a GPU's memory, left alone


def grouped(prepared: Sequence[Prepared], size: int, tokens: float) -> Iterator[list[int]]:
    """Indices in batches of at most `size` jobs and `tokens` padded tokens, similar lengths together.

    Jobs that differ in settings or in what they bring are never mixed.
    """
    order = sorted(range(len(prepared)), key=lambda i: (_signature(prepared[i]), _length(prepared[i])))
    batch: list[int] = []
    for i in order:
        padded = (len(batch) + 1) * _length(prepared[i])  # it is the longest so far
        real = sum(_length(prepared[j]) for j in batch) + _length(prepared[i])
        fits = len(batch) < size and padded <= tokens and padded - real <= MOST_PADDING * padded
        if batch and not (fits and _signature(prepared[batch[0]]) == _signature(prepared[i])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def most_tokens(model: Stage1) -> float:
    """Padded tokens that fit into what is free of the model's GPU; no limit on a CPU.

    An upper bound of what a token needs: its logits and their sorting in fp32, and what a layer makes of it.
    """
    weight = model.cond_emb.weight
    if weight.device.type != "cuda":
        return float("inf")
    free, total = torch.cuda.mem_get_info(weight.device)
    free += torch.cuda.memory_reserved(weight.device) - torch.cuda.memory_allocated(weight.device)
    a_token = 4 * 6 * model.config.codebook_size + weight.element_size() * 40 * weight.shape[1]
    return max(1.0, (free - RESERVE * total) / a_token)


def splitting(run: Callable[[Sequence[Prepared]], list[T]], batch: Sequence[Prepared]) -> list[T]:
    """`run(batch)`, in halves where it does not fit into the memory.

    Raises MetisError for a single job that does not fit.
    """
    try:
        return run(batch)
    except (torch.OutOfMemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
    if len(batch) == 1:
        raise MetisError(
            f"not enough memory for {_length(batch[0]) / 50:.0f} s of prompt and target", fix="use a shorter prompt"
        )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return [*splitting(run, batch[:half]), *splitting(run, batch[half:])]


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _length(p: Prepared) -> int:
    return len(p.prompt) + p.frames + (0 if p.phones is None else len(p.phones))


def _signature(p: Prepared) -> str:
    """What the jobs of a batch have in common."""
    return repr((p.settings, p.phones is None, p.condition is None))
