"""How far two waveforms are apart, by their mel spectrograms at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

RESOLUTIONS = ((2048, 100), (1024, 80), (512, 40))  # window in samples and mel bands; a hop is a quarter of a window
QUIET = 1e-5  # magnitude below which differences do not count: below one step of 16-bit audio


class MelDistance(nn.Module):
    """Mean absolute difference of log mel spectrograms, plus that of the magnitudes relative to the target's size."""

    def __init__(self, rate: int, resolutions: Sequence[tuple[int, int]] = RESOLUTIONS, quiet: float = QUIET) -> None:
        super().__init__()
        self.quiet = quiet
        from transformers.audio_utils import mel_filter_bank

        self.windows = [window for window, _ in resolutions]
        for window, bands in resolutions:
            filters = mel_filter_bank(window // 2 + 1, bands, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney")
            self.register_buffer(f"filters_{window}", torch.tensor(filters, dtype=torch.float32), persistent=False)
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)

    def mel(self, x: Tensor, window: int) -> Tensor:
        """Waveforms (B, S) to mel magnitudes (B, T, M)."""
        shape = self.get_buffer(f"window_{window}")
        spectrum = torch.stft(x, window, window // 4, window=shape, return_complex=True)  # (B, window / 2 + 1, T)
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-12).sqrt()
        return magnitude.transpose(1, 2) @ self.get_buffer(f"filters_{window}")

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """Waveforms (B, S) each to distances (B,)."""
        total = torch.zeros(len(made), device=made.device)
        for window in self.windows:
            ours, theirs = self.mel(made, window), self.mel(target, window)  # (B, T, M)
            logs = (ours.clamp(min=self.quiet).log() - theirs.clamp(min=self.quiet).log()).abs().mean((1, 2))
            size = theirs.square().mean((1, 2)).sqrt().clamp(min=self.quiet)
            total = total + logs + (ours - theirs).square().mean((1, 2)).clamp(min=1e-12).sqrt() / size
        return total / len(self.windows)
