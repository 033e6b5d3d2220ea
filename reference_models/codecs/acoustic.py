"""The acoustic codec: 24 kHz waveforms to 12 codebooks at 50 Hz, and back (`Amphion:models/codec/amphion_codec`).

Keep it in fp32: codes are decisions, and the vocoder's phase is the cosine of large numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reference_models.codecs.quantize import ResidualVQ
from reference_models.codecs.rows import Lengths, each_row_alone
from reference_models.codecs.vocos import Vocos
from reference_models.codecs.weight_norm import WeightNormConv1d
from reference_models.config import AcousticCodecConfig
from reference_models.errors import InputError

COMMITMENT = 0.25
DILATIONS = (1, 3, 9)


def encoder_frames(samples: int, strides: Sequence[int] = AcousticCodecConfig.strides) -> int:
    """Frames that the encoder makes of so many samples: about samples / hop, 0 when there are too few for one.

    Each stage is a convolution of kernel 2s, stride s and padding ceil(s/2). Whole hops give exactly samples / hop
    frames; a rest may or may not give one more.
    """
    steps = samples
    for stride in strides:
        steps = max(0, (steps + 2 * math.ceil(stride / 2) - 2 * stride) // stride + 1)
    return steps


class Snake(nn.Module):
    """x + sin^2(alpha x) / alpha, periodic (Ziyin et al. 2020)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        return x + (self.alpha + 1e-9).reciprocal() * (self.alpha * x).sin().square()


class ResidualUnit(nn.Module):
    """A dilated convolution over 7 taps and a pointwise one, added to the input."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(dim),
            WeightNormConv1d(dim, dim, 7, dilation=dilation, padding=3 * dilation),
            Snake(dim),
            WeightNormConv1d(dim, dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        return x + self.block(x)  # type: ignore[no-any-return]


class EncoderStage(nn.Module):
    """Residual units, then `stride` times fewer steps with twice the channels."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *(ResidualUnit(dim, dilation) for dilation in DILATIONS),
            Snake(dim),
            WeightNormConv1d(dim, 2 * dim, 2 * stride, stride=stride, padding=math.ceil(stride / 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, 2C, about T / stride)."""
        return self.block(x)  # type: ignore[no-any-return]


class AcousticEncoder(nn.Module):
    """Waveform to latent frames; the file `acoustic_codec/model.safetensors`."""

    def __init__(self, cfg: AcousticCodecConfig) -> None:
        super().__init__()
        dims = [cfg.channels * 2**stage for stage in range(len(cfg.strides) + 1)]
        self.block = nn.Sequential(
            WeightNormConv1d(1, dims[0], 7, padding=3),
            *(EncoderStage(dim, stride) for dim, stride in zip(dims, cfg.strides, strict=False)),
            Snake(dims[-1]),
            WeightNormConv1d(dims[-1], cfg.latent_dim, 3, padding=1),
        )
        self.strides = cfg.strides

    def forward(self, wav: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Waveform (B, 1, S) at 24 kHz to latents (B, C, F), F = encoder_frames(S).

        lengths: samples of each row; rows then run alone at their own length, with zeros after the end

        Errors: InputError when a waveform is too short for one frame
        """
        if lengths is not None:
            return each_row_alone(self.forward, wav, lengths, time=2, out_time=2)
        if encoder_frames(wav.shape[-1], self.strides) == 0:
            raise InputError(
                f"the audio has {wav.shape[-1]} samples at 24 kHz, too few for one codec frame",
                fix="give a longer recording",
            )
        return self.block(wav)  # type: ignore[no-any-return]


class AcousticDecoder(nn.Module):
    """Residual quantiser and vocoder; the file `acoustic_codec/model_1.safetensors`."""

    def __init__(self, cfg: AcousticCodecConfig) -> None:
        super().__init__()
        self.quantizer = ResidualVQ(
            cfg.latent_dim, cfg.num_quantizers, cfg.codebook_size, cfg.codebook_dim, commitment=COMMITMENT
        )
        self.model = Vocos(cfg.latent_dim, cfg.backbone, cfg.n_fft, cfg.hop)

    def quantize(self, latents: Tensor, num_quantizers: int | None = None) -> tuple[Tensor, Tensor]:
        """Latents (B, C, F) to codes (B, F, Q) and their embeddings (B, C, F)."""
        found = self.quantizer(latents, num_quantizers)
        return found.codes, found.embeddings

    def embed(self, codes: Tensor, num_quantizers: int | None = None) -> Tensor:
        """Codes (B, F, Q) to embeddings (B, C, F), of all codebooks given or the first few."""
        return self.quantizer.embed(codes, num_quantizers)

    def decode(self, codes: Tensor, lengths: Lengths | None = None) -> Tensor:
        """Codes (B, F, Q) to waveforms (B, 1, F * hop) at 24 kHz.

        lengths: frames of each row; rows then run alone at their own length, with zeros after the end

        Errors: InputError when there is no frame
        """
        if lengths is not None:
            return each_row_alone(self.decode, codes, lengths, time=1, out_time=2)
        if codes.shape[1] == 0:
            raise InputError("there are no acoustic tokens to decode", fix="generate at least one frame (20 ms)")
        return self.model(self.embed(codes).transpose(1, 2))[:, None]  # type: ignore[no-any-return]
