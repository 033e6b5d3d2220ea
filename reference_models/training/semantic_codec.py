"""The semantic codec's recipe: features through one codebook and back (RepCodec, arXiv 2309.00169; MaskGCT §3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from reference_models.codecs.quantize import FactorizedVQ
from reference_models.codecs.semantic import SemanticCodec
from reference_models.config import SemanticCodecConfig
from reference_models.seeds import derive_seed
from reference_models.training.batches import generator
from reference_models.training.codebooks import CodebookCare
from reference_models.training.objectives import Loss, Objective


@dataclass(frozen=True)
class FeatureBatch:
    """Crops of features: (B, T, C)."""

    features: Tensor

    def to(self, device: torch.device) -> FeatureBatch:
        """On another device."""
        return FeatureBatch(self.features.to(device))


class FeatureCrops:
    """Equally long crops of features (T, C) in memory: a function of the step (`batches.Batches`)."""

    def __init__(self, features: Sequence[Tensor], rows: int, frames: int, seed: int) -> None:
        self.features = [f for f in features if len(f) >= frames]
        self.rows, self.frames, self.seed = rows, frames, seed

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> FeatureBatch | None:
        """See `Batches`."""
        numbers = range(step * self.rows, (step + 1) * self.rows)[share::shares]
        return FeatureBatch(torch.stack([self._crop(n) for n in numbers])) if len(numbers) else None

    def _crop(self, number: int) -> Tensor:
        rng = generator("features", self.seed, number)
        features = self.features[rng.integers(len(self.features))]
        start = int(rng.integers(len(features) - self.frames + 1))
        return features[start : start + self.frames].float()


class SemanticCodecObjective(Objective):
    """Mean absolute error of the features, and the codebook's losses."""

    def __init__(self, codec: SemanticCodec, *, codebook_weight: float = 1.0) -> None:
        super().__init__()
        self.codec, self.codebook_weight = codec, codebook_weight
        self.care = CodebookCare(cast(FactorizedVQ, codec.quantizer.quantizers[0]))

    def forward(self, batch: FeatureBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts frames. Always in fp32: codes are decisions."""
        with torch.autocast(batch.features.device.type, enabled=False):
            out = self.codec(batch.features)
            error = (out.reconstruction - batch.features).abs().mean(-1)  # (B, T)
        count = torch.tensor(error.numel(), device=error.device)
        total = error.sum() + self.codebook_weight * out.codebook_loss * count
        stats = {"error": error.detach().sum(), "perplexity": self.care.perplexity() * count}
        return Loss(total, count, stats)


def new_codec(config: SemanticCodecConfig, seed: int) -> SemanticCodec:
    """With initial weights that the seed draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("semantic codec", seed))
        return SemanticCodec(config)
