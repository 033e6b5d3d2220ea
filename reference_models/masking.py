"""Masked generative decoding and training as pure functions: no model, no global state.

Source: paper §3.1 and `Amphion:models/tts/metis/metis_model.py` (MetisStage1), `maskgct/maskgct_s2a.py`.
Letters: B batch, T target positions, V vocabulary, K candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_models.noise import Noise

Logits: TypeAlias = Callable[[Tensor, Tensor, int], Tensor]
"""(tokens (B, T), mask (B, T) bool: True where masked, step) -> logits (B, T, V)"""

SINGLE_STEP_TEMPERATURE = 0.2  # a schedule of one step samples at this temperature instead of taking the best
COLDEST = 1e-3
GROUP = 8  # tokens that `largest` looks at together


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature: at t = 1, falls linearly; keep: share of the vocabulary that stays eligible.

    whole: sort and draw noise for the whole vocabulary, as the release does, not for the eligible tokens only. Same
    tokens, more work.
    """

    temperature: float = 0.9
    keep: float = 1 - 0.98
    whole: bool = False


def mask_ratio(t: Tensor) -> Tensor:
    """Share of masked tokens at mask time t in [0, 1]: sin(pi t / 2)."""
    return torch.sin(t * math.pi / 2)


def times(steps: int) -> list[float]:
    """Mask times of a schedule: 1 down to 0, `steps` + 1 of them."""
    if steps < 1:
        raise ValueError(f"a schedule has at least one step, not {steps}")
    return [1.0 - i * (1.0 / steps) for i in range(steps)] + [0.0]


def masked_counts(lengths: Sequence[int], steps: int) -> Tensor:
    """How many tokens of each sample are masked after each step: (steps, B), known before decoding starts."""
    ratio = mask_ratio(torch.tensor(times(steps)[1:]))  # (steps,) fp32, as in the release
    return (ratio[:, None] * torch.tensor(lengths)).long()


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise from uniform numbers, with the release's guards."""
    return -torch.log(-torch.log(uniform + 1e-10) + 1e-10)


def candidates(vocabulary: int, keep: float) -> int:
    """How many tokens stay eligible: ceil(keep * V) of V, and never none."""
    return min(vocabulary, max(1, math.ceil(keep * vocabulary)))


def largest(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest along the last axis, in no order, and their indices: (..., V) -> (..., k) each.

    Found among the k groups with the largest maxima, which must hold them: a third of the time of `topk` on a CPU.
    """
    groups = torch.unflatten(x, -1, (GROUP, -1)) if x.shape[-1] % GROUP == 0 else x[..., None, :]  # (..., G, V / G)
    stride = groups.shape[-1]
    if k >= stride:
        return x.topk(k, sorted=False)
    best = groups.amax(-2).topk(k, sorted=False).indices  # (..., k): token i is in group i modulo V / G
    members = groups.gather(-1, best[..., None, :].expand(*groups.shape[:-1], k)).flatten(-2)  # (..., G k)
    values, i = members.topk(k, sorted=False)
    return values, i // k * stride + best.gather(-1, i % k)


def draw(logits: Tensor, temperature: float | None, sampling: Sampling, noise: Noise) -> tuple[Tensor, Tensor]:
    """A token a position, and its probability among the eligible ones: (B, T, V) -> (B, T) int64, (B, T).

    temperature None takes the best token and draws nothing.
    """
    b, n, v = logits.shape
    keep = candidates(v, sampling.keep)
    values, ids = logits.topk(keep) if sampling.whole else largest(logits, keep)  # (B, T, K)
    if sampling.whole:
        values = torch.full_like(logits, -math.inf).scatter(2, ids, values)  # (B, T, V)
    if temperature is None:
        chosen = values.argmax(-1, keepdim=True)  # (B, T, 1)
    else:
        uniform = noise.tokens(None if sampling.whole else ids, (b, n, v))
        chosen = (values / max(temperature, COLDEST) + gumbel(uniform)).argmax(-1, keepdim=True)
    probability = values.softmax(-1).gather(2, chosen)[..., 0]
    return (chosen if sampling.whole else ids.gather(2, chosen))[..., 0], probability


def decode(
    logits_at: Logits,
    lengths: Sequence[int],
    steps: int,
    sampling: Sampling,
    noise: Noise,
    device: torch.device,
    order: Sequence[int] | None = None,
) -> Tensor:
    """Fill all-masked sequences of `lengths` (B,) tokens in `steps` passes: (B, T) int64, 0 beyond a length.

    Each pass draws every masked token, keeps the surest and masks the rest again. A sample whose schedule reaches zero
    is finished, whatever the others do. order: positions in the order in which they are masked again, instead of the
    least sure first (`preschedule_mask_indices` of the release).
    """
    b, n = len(lengths), max(lengths)
    left = masked_counts(lengths, steps).to(device)  # (steps, B)
    most = masked_counts(lengths, steps).amax(1).tolist()
    valid = torch.arange(n, device=device) < torch.tensor(lengths, device=device)[:, None]  # (B, T)
    mask, tokens = valid, torch.zeros(b, n, dtype=torch.int64, device=device)
    rank = torch.full((n,), -math.inf, device=device)
    for place, position in enumerate(order or ()):
        rank[position] = -place
    for i, t in enumerate(times(steps)[:-1]):
        greedy = i == steps - 1 and steps > 1
        temperature = None if greedy else SINGLE_STEP_TEMPERATURE if steps == 1 else sampling.temperature * t
        drawn, probability = draw(logits_at(tokens, mask, i).float(), temperature, sampling, noise)
        tokens = torch.where(mask, drawn, tokens)
        doubt = 1 - (probability + t * gumbel(noise.positions((b, n))))  # (B, T)
        if most[i] == 0:
            break
        doubt = doubt if order is None else rank.expand(b, -1)
        worst = doubt.masked_fill(~mask, -math.inf).topk(most[i], dim=-1).indices  # (B, most)
        again = torch.arange(most[i], device=device) < left[i][:, None]  # (B, most): each sample its own number
        mask = torch.zeros_like(mask).scatter(1, worst, again)
        tokens = tokens.masked_fill(mask, 0)
    return tokens


@dataclass(frozen=True)
class Corruption:
    """Which tokens a training batch hides. t: (B,) mask times; prompt: (B,) tokens never hidden; mask: (B, T) bool."""

    t: Tensor
    prompt: Tensor
    mask: Tensor


def hidden_share(t: Tensor, floor: float) -> Tensor:
    """Probability of hiding a token at mask time t: `mask_ratio`, at least `floor` (0.2 in stage 1, 0 in S2A)."""
    return mask_ratio(t).clamp(min=floor)


def hide(draws: Tensor, prompt: Tensor) -> Tensor:
    """Bernoulli draws (B, T) -> mask (B, T) bool: the prompt stays visible, and at least one token is hidden."""
    column = torch.arange(draws.shape[1], device=draws.device)
    mask = draws.bool() & (column >= prompt[:, None])
    first = column == prompt[:, None]  # the release hides the first token after the prompt when chance hid none
    return torch.where(mask.any(1, keepdim=True), mask, first)


def corrupt(
    length: int,
    batch: int,
    generator: torch.Generator,
    *,
    floor: float,
    longest: float,
    prompt_dropout: float,
    prompt: Tensor | None = None,
) -> Corruption:
    """Draw what to hide in a batch of (B, T): times, prompts, tokens; in the release's order of draws.

    longest: share of T below which prompts stay; prompt_dropout: share of batches without prompts; prompt: (B,) lengths
    instead of drawn ones; floor: see `hidden_share`.
    """
    device = generator.device
    t = torch.rand(batch, generator=generator, device=device).clamp(1e-5, 1.0)
    if prompt is None:
        prompt = torch.zeros(batch, dtype=torch.int64, device=device)
        if torch.rand(1, generator=generator, device=device).item() > prompt_dropout:
            low, high = min(length // 4, 5), int(length * longest)
            if low < high:  # the release raises on the shortest sequences
                prompt = torch.randint(low, high, (batch,), generator=generator, device=device)
    share = hidden_share(t, floor)[:, None].expand(batch, length)
    return Corruption(t, prompt, hide(torch.bernoulli(share, generator=generator), prompt))


def cross_entropy_sum(logits: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """Cross entropy over counted positions, summed: logits (B, T, V), targets (B, T), counted (B, T) bool -> scalar."""
    return F.cross_entropy(logits[counted].float(), targets[counted], reduction="sum")
