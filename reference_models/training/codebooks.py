"""Codebooks that stay in use: started from data, and codes that nothing chooses moved to where something is.

Gradients alone leave most codes of a random codebook unchosen for ever (a small one collapses to a handful). What the
release did is not published; this is what DAC and EnCodec do.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from reference_models.codecs.quantize import FactorizedVQ, ResidualVQ
from reference_models.codecs.weight_norm import WeightNormConv1d
from reference_models.seeds import derive_seed

MEMORY = 0.98  # of the moving count of choices: some fifty steps
DEAD = 0.05  # of the count that all codes would have if chosen equally often: below it a code is moved


class CodebookCare(nn.Module):
    """Watches one quantiser while it is trained. What it remembers is part of the state of the run.

    chosen: (V,) moving counts of choices; moves: codes moved so far, -1 before the first batch

    With several processes all follow the first one's speech, so codebooks differ from those of a single process. All
    must make as many passes: a draw of how many codebooks are used has to be the same in all of them.
    """

    chosen: Tensor
    moves: Tensor

    def __init__(self, quantizer: FactorizedVQ) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.zeros(quantizer.codebook.num_embeddings))
        self.register_buffer("moves", torch.tensor(-1))
        quantizer.register_forward_pre_hook(self._look)

    def _look(self, quantizer: nn.Module, arguments: tuple[Any, ...]) -> None:
        """Before every pass; those without gradients (a discriminator's) teach nothing."""
        if self.training and torch.is_grad_enabled():
            assert isinstance(quantizer, FactorizedVQ)
            self._learn(quantizer, arguments[0])

    @torch.no_grad()
    def _learn(self, quantizer: FactorizedVQ, x: Tensor) -> None:
        """Count what would be chosen for (B, C, T), move what never is."""
        latents = quantizer.in_project(x).float()  # (B, D, T)
        points = latents.transpose(1, 2).flatten(0, 1)  # (N, D)
        table = quantizer.codebook.weight
        if int(self.moves) < 0:
            table.copy_(self._some(points, len(table)))
            self.moves.zero_()
        counts = torch.bincount(quantizer.nearest(latents).flatten(), minlength=len(table)).to(self.chosen)
        first = not bool(self.chosen.any())
        self.chosen.copy_(counts if first else MEMORY * self.chosen + (1 - MEMORY) * counts)
        dead = self.chosen < DEAD * self.chosen.mean()
        count = int(dead.sum())
        if count:
            table[dead] = self._some(points, count)
            self.chosen[dead] = self.chosen.mean()
            self.moves += count
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for tensor in (table.data, self.chosen, self.moves):  # every process has seen other speech
                torch.distributed.broadcast(tensor, 0)

    def _some(self, points: Tensor, count: int) -> Tensor:
        """Points (count, D) of the batch, drawn by torch's generator, which the loop seeds for every step."""
        order = torch.randperm(len(points), device=points.device)
        return points[order.repeat(-(-count // len(points)))[:count]]

    def perplexity(self) -> Tensor:
        """How many codes are in use: exp of the entropy of choices, at most V."""
        share = self.chosen / self.chosen.sum().clamp(min=1e-9)
        entropy: Tensor = torch.special.entr(share).sum()
        return entropy.exp()


ROUNDS = 25  # of k-means


@torch.no_grad()
def fit_residual(stack: ResidualVQ, x: Tensor, seed: int) -> None:
    """Set quantisers to latents (B, C, T) without training: each to what the ones before it have left over."""
    rng = torch.Generator().manual_seed(derive_seed("codebooks", seed))
    residual = x
    for quantizer in cast(list[FactorizedVQ], list(stack.quantizers)):
        _fit(quantizer, residual.transpose(1, 2).flatten(0, 1), rng)
        residual = residual - quantizer(residual).embeddings


def _fit(quantizer: FactorizedVQ, points: Tensor, rng: torch.Generator) -> None:
    """Project on the directions in which points (N, C) vary most, and take the means of clusters by angle there."""
    mean = points.mean(0)
    _, directions = torch.linalg.eigh((points - mean).T @ (points - mean))  # ascending
    basis = directions[:, -quantizer.codebook.embedding_dim :].T  # (D, C)
    _put(quantizer.in_project, basis, -basis @ mean)
    _put(quantizer.out_project, basis.T, mean)
    projected = (points - mean) @ basis.T  # (N, D)
    table = quantizer.codebook.weight
    drawn = torch.randperm(len(projected), generator=rng).repeat(-(-len(table) // len(projected)))
    table.copy_(projected[drawn[: len(table)]])
    for _ in range(ROUNDS):
        codes = quantizer.nearest(projected.T[None])[0]  # (N,)
        counts = torch.bincount(codes, minlength=len(table))[:, None]
        means = torch.zeros_like(table).index_add_(0, codes, projected) / counts.clamp(min=1)
        others = projected[torch.randint(len(projected), (len(table),), generator=rng)]
        table.copy_(torch.where(counts > 0, means, others))  # what nothing chose starts somewhere else


def _put(conv: WeightNormConv1d, weight: Tensor, bias: Tensor) -> None:
    """A pointwise convolution of (out, in) with a bias (out,)."""
    conv.weight_v.copy_(weight[:, :, None])
    conv.weight_g.copy_(weight.norm(dim=1)[:, None, None])
    conv.bias.copy_(bias)
