"""One guided estimate of the target's hidden states: what stage 1 and S2A ask of the transformer at every step.

Source: paper §3.1, `Amphion:models/tts/metis/metis_model.py` (reverse_diffusion). The guided estimate is
h + weight * (h - u), where u sees neither prompt nor phones and its positions restart at 0; it is then rescaled towards
the standard deviation of h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_models.errors import InputError
from reference_models.masking import times
from reference_models.ragged import join, length_mask, padded
from reference_models.transformer import Transformer


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: total weight of the condition is 1 + `weight`; 0 turns it off."""

    weight: float = 0.0
    rescale: float = 0.75


UNGUIDED = Guidance()


def deviation(x: Tensor, valid: Tensor | None) -> Tensor:
    """Unbiased standard deviation of each sample's valid positions: (B, T, C), (B, T) bool -> (B, 1, 1)."""
    if valid is None:
        return x.flatten(1).std(1)[:, None, None]
    inside = valid[..., None]
    count = inside.sum((1, 2), keepdim=True) * x.shape[2]
    mean = (x * inside).sum((1, 2), keepdim=True) / count
    return (((x - mean) * inside).square().sum((1, 2), keepdim=True) / (count - 1)).sqrt()


def whole_deviation(x: Tensor, _: Tensor | None) -> Tensor:
    """The release's: one number for the whole batch."""
    return x.std()


def guide(
    h: Tensor, u: Tensor, guidance: Guidance, std: Callable[[Tensor, Tensor | None], Tensor], valid: Tensor | None
) -> Tensor:
    """Estimates with (h) and without (u) context, (B, T, C) each -> guided (B, T, C) fp32."""
    h, u = h.float(), u.float()
    guided = h + guidance.weight * (h - u)
    scaled = guided * std(h, valid) / std(guided, valid)
    return guidance.rescale * scaled + (1 - guidance.rescale) * guided


class BetterEstimate:
    """Default mode: padding changes nothing, and nothing is computed twice.

    Gains, rotations and masks are made once; the last block ends for target tokens only; the two passes of guidance
    are one pass over two spans; samples without context (no prompt, no phones), for which the two would be equal, are
    not guided, and when no sample has context the second pass is not made at all (SE: half of the full S2A's passes).
    """

    def __init__(
        self,
        transformer: Transformer,
        prefix: tuple[Tensor, Tensor | None],
        lengths: Sequence[int],
        steps: int,
        guidance: Guidance,
    ) -> None:
        """prefix: embedded phones and prompt (B, P, C) and its mask (B, P); P may be 0. lengths: of the targets."""
        self.transformer, self.guidance = transformer, guidance
        device, bucket = prefix[0].device, transformer.bucket
        self.prefix, mask = prefix if prefix[0].shape[1] % bucket == 0 else padded(prefix, bucket)
        (b, skip, _), self.target = self.prefix.shape, -(-max(lengths) // bucket) * bucket
        self.valid = None if min(lengths) == self.target else length_mask(lengths, device, self.target)
        context = torch.ones(b, skip, dtype=torch.bool, device=device) if mask is None else mask
        self.guided = guidance.weight > 0 and skip > 0
        self.has_context = context.any(1)[:, None, None] if mask is not None else None  # None: every sample has it
        _, whole = join([(self.prefix[..., 0], mask), (self.prefix.new_zeros(b, self.target), self.valid)])
        sizes = [skip + self.target] + ([self.target] if self.guided else [])
        self.layout = transformer.layout([whole, self.valid][: len(sizes)], sizes, unread=skip)
        self.gains = transformer.gains(torch.tensor(times(steps)[:-1], device=device))  # (2L + 1, S, 1, C)

    def __call__(self, current: Tensor, step: int) -> Tensor:
        """current (B, T, C) -> (B, T, C)."""
        n = current.shape[1]
        return self._padded(F.pad(current, (0, 0, 0, self.target - n)), step)[:, :n]

    def _padded(self, current: Tensor, step: int) -> Tensor:
        x = torch.cat([self.prefix, current] + ([current] if self.guided else []), dim=1)
        h = self.transformer(x, self.gains[:, step : step + 1], self.layout)  # (B, T or 2T, C): what follows the prefix
        if not self.guided:
            return h  # type: ignore[no-any-return]
        h, u = h[:, : self.target], h[:, self.target :]
        guided = guide(h, u, self.guidance, deviation, self.valid)
        return guided if self.has_context is None else torch.where(self.has_context, guided, h.float())


class OfficialEstimate:
    """The release, pass for pass: equal lengths only, everything rebuilt in every pass, one deviation for the batch."""

    def __init__(
        self,
        transformer: Transformer,
        prefix: tuple[Tensor, Tensor | None],
        lengths: Sequence[int],
        steps: int,
        guidance: Guidance,
    ) -> None:
        if prefix[1] is not None or min(lengths) != max(lengths):
            raise InputError(
                "official mode takes batches of equal lengths only", fix="use batch_size=1, or default mode"
            )
        self.transformer, self.guidance = transformer, guidance
        self.prefix, self.times = prefix[0], times(steps)

    def _pass(self, x: Tensor, step: int) -> Tensor:
        t = torch.full((len(x),), self.times[step], device=x.device)
        layout = self.transformer.layout([None], [x.shape[1]], packed=False)
        return self.transformer(x, self.transformer.gains(t), layout)  # type: ignore[no-any-return]

    def __call__(self, current: Tensor, step: int) -> Tensor:
        """current (B, T, C) -> (B, T, C)."""
        h = self._pass(torch.cat([self.prefix, current], dim=1), step)[:, self.prefix.shape[1] :]
        if self.guidance.weight <= 0:
            return h
        return guide(h, self._pass(current, step), self.guidance, whole_deviation, None)
