"""What is minimised: the objective of every model, and of the masked models the paper's (§3.1, §3.4).

Masking is the release's (`reference_models.masking`), but every row draws for itself, from numbers that belong to
(seed, step, example): the loss of an example does not depend on what it is batched with, or on which machine. (The
release decides once a batch whether there are prompts, and draws them over the padded length.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from reference_models import acoustic, stage1
from reference_models.acoustic import S2A
from reference_models.masking import Corruption, cross_entropy_sum, hidden_share, hide
from reference_models.noise import SeededNoise
from reference_models.stage1 import Stage1
from reference_models.training.batches import TokenBatch

SHORTEST_TIME = 1e-5  # of the mask, as in the release
SHORTEST_PROMPT = 5  # frames


@dataclass(frozen=True)
class Loss:
    """Sums over what is counted (tokens, frames): the loop divides by the count over all ranks and micro-batches.

    total: scalar, with gradient; count: scalar; stats: other sums over the same count, e.g. of right guesses
    """

    total: Tensor
    count: Tensor
    stats: dict[str, Tensor]


class Objective(nn.Module):
    """A model and its loss. phases: optimiser steps of one training step, in order (a GAN has two)."""

    phases: tuple[str, ...] = ("model",)

    def trained(self, phase: str) -> Iterable[nn.Parameter]:  # noqa: ARG002 - a GAN's phases differ
        """What the optimiser of a phase changes."""
        return (p for p in self.parameters() if p.requires_grad)

    def forward(self, batch: Any, phase: str = "model") -> Loss:
        """The loss of a batch."""
        raise NotImplementedError


class Draws(NamedTuple):
    """What a batch hides. corruption: see there; unguided: (B,) bool, rows that see neither prompt nor phones."""

    corruption: Corruption
    unguided: Tensor
    valid: Tensor


def corrupt_rows(
    valid: Tensor,
    given: Tensor,
    noise: SeededNoise,
    *,
    floor: float,
    longest: float,
    prompt_share: float,
    unguided: float,
) -> Draws:
    """Draw, for each row alone, its time, its prompt, its hidden tokens, and whether it trains the unguided pass.

    valid: (B, T) True at tokens; given: (B,) prompts that the data prescribe, shorter than their rows, negative where
    one is drawn; floor: see `masking.hidden_share`; longest: share of a row below which drawn prompts stay;
    prompt_share: how many rows have one; unguided: how many rows are trained as guidance sees them, without phones and
    prompt (paper: 0.15).

    A row without its prescribed prompt loses these frames altogether, as in the release's unguided pass.
    """
    lengths = valid.sum(1)  # (B,)
    t, has, size, free = noise.fork(0).positions((len(valid), 4)).unbind(1)  # (B,) each
    alone = free < unguided
    high = (lengths * longest).long()
    low = (lengths // 4).clamp(max=SHORTEST_PROMPT)
    prompted = (has < prompt_share) & (low < high) & ~alone
    drawn = torch.where(prompted, low + (size * (high - low)).long(), 0)
    prompt = torch.where(given < 0, drawn, given)
    column = torch.arange(valid.shape[1], device=valid.device)
    valid = valid & ~((alone & (given > 0))[:, None] & (column < given[:, None]))
    t = t.clamp(SHORTEST_TIME, 1.0)
    wanted = noise.fork(1).positions((valid.shape[0], valid.shape[1])) < hidden_share(t, floor)[:, None]  # (B, T)
    return Draws(Corruption(t, prompt, hide(wanted & valid, prompt)), alone, valid)


def token_loss(logits: Tensor, tokens: Tensor, hidden: Tensor) -> Loss:
    """Cross entropy of hidden tokens: logits (B, T, V), tokens (B, T), hidden (B, T) bool."""
    total = cross_entropy_sum(logits, tokens, hidden)
    right = ((logits.argmax(-1) == tokens) & hidden).sum()
    return Loss(total, hidden.sum(), {"accuracy": right})


class Stage1Objective(Objective):
    """Semantic tokens, unconditional or from phones and/or frame-level conditions."""

    def __init__(
        self,
        model: Stage1,
        *,
        longest_prompt: float = stage1.LONGEST_PROMPT,
        prompt_share: float = 0.8,
        unguided: float = 0.15,
        floor: float = stage1.HIDDEN_FLOOR,
        text_share: float = 1.0,
    ) -> None:
        """See `corrupt_rows`. text_share: of the rows with a condition that see their phones, if they have any."""
        super().__init__()
        self.model, self.text_share = model, text_share
        self.how = {"longest": longest_prompt, "prompt_share": prompt_share, "unguided": unguided, "floor": floor}

    def forward(self, batch: TokenBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`. Uses what the batch has of phones and condition."""
        draws = corrupt_rows(batch.valid, batch.prompt, batch.noise, **self.how)
        phone_valid = batch.phone_valid
        if phone_valid is not None:
            silent = draws.unguided
            if batch.condition is not None:
                silent = silent | (batch.noise.fork(2).positions((len(silent), 1))[:, 0] >= self.text_share)
            phone_valid = phone_valid & ~silent[:, None]
        c = draws.corruption
        logits = self.model(batch.semantic, c.mask, c.t, draws.valid, batch.phones, phone_valid, batch.condition)
        return token_loss(logits, batch.semantic, c.mask & draws.valid)


class S2AObjective(Objective):
    """Acoustic codes of one codebook a step, from semantic tokens and coarser codebooks."""

    def __init__(
        self,
        model: S2A,
        *,
        longest_prompt: float = acoustic.LONGEST_PROMPT,
        prompt_share: float = 0.85,
        unguided: float = 0.0,
        floor: float = acoustic.HIDDEN_FLOOR,
    ) -> None:
        super().__init__()
        self.model = model
        self.how = {"longest": longest_prompt, "prompt_share": prompt_share, "unguided": unguided, "floor": floor}

    def forward(self, batch: TokenBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`. One codebook is drawn for the whole step."""
        assert batch.codes is not None  # the recipe asked for them
        weights = self.model.layer_weights().cumsum(0)
        layer = int((weights <= batch.draw * weights[-1]).sum())
        draws = corrupt_rows(batch.valid, batch.prompt, batch.noise, **self.how)
        c = draws.corruption
        logits = self.model(batch.codes, batch.semantic, layer, c.mask, c.prompt, c.t, draws.valid)
        return token_loss(logits, batch.codes[..., layer], c.mask & draws.valid)


Init = Literal["release", "scaled"]


@torch.no_grad()
def scale_weights(model: Stage1 | S2A) -> None:
    """Initial weights with which small models learn: signals pass at about unit size from the first step.

    Embeddings have unit variance, matrices 1 / fan-in, what closes a residual branch 1 / sqrt(2 L) of that, and the
    logits start small. The release's (0.02 everywhere) drown the signal at small widths.
    """
    layers = model.diff_estimator.config.num_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and module.weight.numel():
            module.weight.normal_(0, 1)
            if module.padding_idx is not None:
                module.weight[module.padding_idx] = 0
        elif isinstance(module, nn.Linear) and not name.endswith("to_weight"):
            std = module.in_features**-0.5
            if name.endswith(("o_proj", "down_proj")):
                std *= (2 * layers) ** -0.5
            elif name.startswith(("to_logit", "to_logits")):
                std = 0.02
            module.weight.normal_(0, std)
