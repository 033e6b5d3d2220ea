"""The semantic codec: w2v-BERT features to one stream of 50 tokens a second, and back (MaskGCT, arXiv 2409.00750)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from reference_models.codecs.backbone import ConvNeXtBackbone, init_weights
from reference_models.codecs.quantize import Quantized, ResidualVQ
from reference_models.codecs.rows import Lengths, each_row_alone
from reference_models.config import SemanticCodecConfig

COMMITMENT = 0.15


class SemanticOutput(NamedTuple):
    """reconstruction: (B, T, C); codes: (B, T); codebook_loss: scalar, codebook plus 0.15 commitment."""

    reconstruction: Tensor
    codes: Tensor
    codebook_loss: Tensor


class SemanticCodec(nn.Module):
    """A VQ-VAE over normalised w2v-BERT features (`Amphion:models/codec/kmeans/repcodec_model.py`, RepCodec)."""

    def __init__(self, cfg: SemanticCodecConfig) -> None:
        super().__init__()
        self.encoder = _stack(cfg)
        self.decoder = _stack(cfg)
        self.quantizer = ResidualVQ(cfg.feature_dim, 1, cfg.codebook_size, cfg.codebook_dim, commitment=COMMITMENT)

    def forward(self, features: Tensor) -> SemanticOutput:
        """Features (B, T, C) to what training needs; the reconstruction loss is the caller's."""
        found = self._quantize(features)
        reconstruction = self.decoder(found.embeddings.transpose(1, 2))  # (B, T, C)
        return SemanticOutput(reconstruction, found.codes[..., 0], found.loss)

    def quantize(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, T, C) to codes (B, T) and their embeddings (B, T, C)."""
        found = self._quantize(features)
        return found.codes[..., 0], found.embeddings.transpose(1, 2)

    def encode(self, features: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Features (B, T, C) to codes (B, T); with `lengths`, rows alone at their own length, zeros after the end."""
        if lengths is None:
            return self.quantize(features)[0]
        return each_row_alone(self.encode, features, lengths, time=1, out_time=1)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (B, T) to embeddings (B, T, C)."""
        return self.quantizer.embed(codes[..., None]).transpose(1, 2)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, T) to reconstructed features (B, T, C)."""
        return self.decoder(self.embed(codes))  # type: ignore[no-any-return]

    def _quantize(self, features: Tensor) -> Quantized:
        return self.quantizer(self.encoder(features).transpose(1, 2))  # type: ignore[no-any-return]


def _stack(cfg: SemanticCodecConfig) -> nn.Sequential:
    """(B, T, C) to (B, T, C)."""
    projection = nn.Linear(cfg.backbone.dim, cfg.feature_dim)
    init_weights(projection)
    return nn.Sequential(ConvNeXtBackbone(cfg.feature_dim, cfg.backbone), projection)
