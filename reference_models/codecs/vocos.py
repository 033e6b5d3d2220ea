"""The vocoder: a ConvNeXt stack that predicts a spectrogram, and its inverse (Vocos, arXiv 2306.00814)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.codecs.backbone import ConvNeXtBackbone, init_weights
from reference_models.config import BackboneConfig

MAX_MAGNITUDE = 100.0


class InverseSTFT(nn.Module):
    """Spectrogram to waveform with T * hop samples ("same" padding, which `torch.istft` does not offer).

    Frame t is centred on the samples t * hop ... (t + 1) * hop; what falls outside the T hops is cut off, and the sum
    of the overlapping windows squared is divided out, at the edges too.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        if n_fft < hop or n_fft % 2 or hop % 2:
            raise ValueError(f"n_fft {n_fft} and hop {hop} must be even, and hop the smaller")
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, spectrum: Tensor) -> Tensor:
        """Complex (B, T, n_fft / 2 + 1) to real (B, T * hop)."""
        steps, window = spectrum.shape[1], self.window.float()
        frames = torch.fft.irfft(spectrum, self.n_fft) * window  # (B, T, n_fft)
        envelope = self._overlap_add(window.square().expand(1, steps, -1))  # (1, samples)
        inside = slice((self.n_fft - self.hop) // 2, (self.n_fft + self.hop) // 2 + (steps - 1) * self.hop)
        return self._overlap_add(frames)[:, inside] / envelope[:, inside]

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """(B, T, n_fft) to (B, >= (T - 1) * hop + n_fft): hop-sized pieces are added in their places."""
        batch, steps, _ = frames.shape
        pieces = torch.unflatten(F.pad(frames, (0, -self.n_fft % self.hop)), -1, (-1, self.hop))  # (B, T, R, hop)
        overlap = pieces.shape[2]
        total = frames.new_zeros(batch, steps + overlap - 1, self.hop)
        for piece in range(overlap):
            total[:, piece : piece + steps] += pieces[:, :, piece]
        return total.flatten(1)


class InverseSTFTHead(nn.Module):
    """Log magnitude and phase by one linear layer, then the inverse transform."""

    def __init__(self, dim: int, n_fft: int, hop: int) -> None:
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.istft = InverseSTFT(n_fft, hop)
        init_weights(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T * hop)."""
        log_magnitude, phase = self.out(x).float().chunk(2, dim=-1)  # (B, T, n_fft / 2 + 1) each
        magnitude = log_magnitude.exp().clamp(max=MAX_MAGNITUDE)
        return self.istft(torch.polar(magnitude, phase))  # type: ignore[no-any-return]


class Vocos(nn.Module):
    """Embeddings of acoustic codes to a waveform (`Amphion:models/codec/amphion_codec/vocos.py`)."""

    def __init__(self, in_dim: int, cfg: BackboneConfig, n_fft: int, hop: int) -> None:
        super().__init__()
        self.backbone = ConvNeXtBackbone(in_dim, cfg)
        self.head = InverseSTFTHead(cfg.dim, n_fft, hop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in_dim) to (B, T * hop)."""
        return self.head(self.backbone(x))  # type: ignore[no-any-return]
