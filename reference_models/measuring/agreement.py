"""How often two models draw the same token where both are given the same: partly masked tokens, and noise.

Left alone, two precisions part ways at the first token that differs, and what follows says little about precision. So
one model (the teacher) decodes freely, and the other is shown the teacher's tokens at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from reference_models import acoustic, masking, stage1
from reference_models.masking import Logits, decode, draw
from reference_models.pipeline import Metis
from reference_models.prepare import Prepared


@dataclass
class Trace:
    """What every step of every decoding was given (tokens, mask) and drew; what every decoding came to."""

    steps: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    drawn: list[Tensor] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)


@contextmanager
def _tracing(teacher: Trace | None) -> Iterator[Trace]:
    """Record decodings; with a `teacher`, each step is given what the teacher was given, and the same goes on."""
    trace = Trace()

    def traced(logits_at: Logits, *how: Any) -> Tensor:
        def at(tokens: Tensor, mask: Tensor, step: int) -> Tensor:
            if teacher is not None:
                tokens, mask = teacher.steps[len(trace.steps)]
            trace.steps.append((tokens, mask))
            return logits_at(tokens, mask, step)

        made = decode(at, *how)
        made = made if teacher is None else teacher.made[len(trace.made)]
        trace.made.append(made)
        return made

    def recorded(*given: Any) -> tuple[Tensor, Tensor]:
        tokens, probability = draw(*given)
        trace.drawn.append(tokens)
        return tokens, probability

    with (
        patch.object(stage1, "decode", traced),
        patch.object(acoustic, "decode", traced),
        patch.object(masking, "draw", recorded),
    ):
        yield trace


@torch.inference_mode()
def lesson(teacher: Metis, batch: Sequence[Prepared]) -> Trace:
    """What the teacher was given at every step, and drew."""
    with _tracing(None) as trace:
        teacher.decode(batch)
    return trace


@torch.inference_mode()
def agreement(theirs: Trace, other: Metis, batch: Sequence[Prepared]) -> float:
    """Share of masked tokens, over all steps of stage 1 and S2A, that another model draws as the teacher did.

    The noise of a step depends on its number only (SeededNoise), so both meet the same.
    """
    with _tracing(theirs) as ours:
        other.decode(batch)
    pairs = zip(theirs.drawn, ours.drawn, theirs.steps, strict=True)
    same = torch.cat([(a == b)[mask] for a, b, (_, mask) in pairs])
    return float(same.float().mean())
