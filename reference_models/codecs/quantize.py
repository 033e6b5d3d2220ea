"""Factorised vector quantisation, one codebook or a residual stack (`Amphion:models/codec/amphion_codec/quantize`)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.codecs.weight_norm import WeightNormConv1d


class Quantized(NamedTuple):
    """codes: integers; embeddings: (B, C, T), what the decoder reads; loss: scalar, codebook plus commitment."""

    codes: Tensor
    embeddings: Tensor
    loss: Tensor


class FactorizedVQ(nn.Module):
    """Nearest code by cosine similarity in a small projected space (Yu et al. 2021, as in DAC).

    Codes are compared at unit length; what comes out is the code vector at its own length, projected back.
    commitment: weight of the encoder's part of the loss
    """

    def __init__(self, dim: int, codebook_size: int, codebook_dim: int, commitment: float) -> None:
        super().__init__()
        self.in_project = WeightNormConv1d(dim, codebook_dim, 1)
        self.out_project = WeightNormConv1d(codebook_dim, dim, 1)
        self.codebook = nn.Embedding(codebook_size, codebook_dim)
        self.commitment = commitment

    def nearest(self, latents: Tensor) -> Tensor:
        """Codes (B, T) of projected latents (B, D, T); of equal distances the lowest code."""
        points = F.normalize(latents.transpose(1, 2), dim=-1)  # (B, T, D)
        table = F.normalize(self.codebook.weight, dim=-1)  # (V, D)
        distance = points.square().sum(-1, keepdim=True) - 2 * points @ table.T + table.square().sum(-1)  # (B, T, V)
        return distance.argmin(-1)

    def forward(self, x: Tensor) -> Quantized:
        """(B, C, T) to codes (B, T), embeddings (B, C, T) with straight-through gradients, and the loss."""
        latents = self.in_project(x)  # (B, D, T)
        codes = self.nearest(latents)  # (B, T)
        chosen = self.codebook(codes).transpose(1, 2)  # (B, D, T)
        loss = F.mse_loss(chosen, latents.detach()) + self.commitment * F.mse_loss(latents, chosen.detach())
        # the straight-through sum is kept at inference: the release rounds in this way
        embeddings = self.out_project(latents + (chosen - latents).detach())  # (B, C, T)
        return Quantized(codes, embeddings, loss)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, T) to embeddings (B, C, T)."""
        return self.out_project(self.codebook(codes).transpose(1, 2))  # type: ignore[no-any-return]


class ResidualVQ(nn.Module):
    """Quantisers in a row, each coding what the ones before have left over."""

    def __init__(
        self, dim: int, num_quantizers: int, codebook_size: int, codebook_dim: int, *, commitment: float
    ) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            FactorizedVQ(dim, codebook_size, codebook_dim, commitment) for _ in range(num_quantizers)
        )

    def forward(self, x: Tensor, num_quantizers: int | None = None) -> Quantized:
        """(B, C, T) to codes (B, T, Q), embeddings (B, C, T) and the mean loss, of all or the first quantisers."""
        residual, total = x, torch.zeros_like(x)  # (B, C, T)
        codes: list[Tensor] = []
        losses: list[Tensor] = []
        for quantizer in self.quantizers[:num_quantizers]:
            found: Quantized = quantizer(residual)
            residual = residual - found.embeddings
            total = total + found.embeddings
            codes.append(found.codes)
            losses.append(found.loss)
        return Quantized(torch.stack(codes, -1), total, torch.stack(losses).mean())

    def embed(self, codes: Tensor, num_quantizers: int | None = None) -> Tensor:
        """Codes (B, T, Q) to embeddings (B, C, T): the sum over the codebooks given, or over the first few."""
        used = codes.unbind(-1)[:num_quantizers]
        parts = [cast(FactorizedVQ, self.quantizers[book]).embed(code) for book, code in enumerate(used)]
        return torch.stack(parts).sum(0)
