"""Judges of whether a waveform was recorded or decoded, for the acoustic codec's adversarial training.

Periods as in HiFi-GAN (arXiv 2010.05646, §2.3), complex spectra at several resolutions as in DAC
(`descript-audio-codec:dac/model/discriminator.py`, there in bands as well). Each judges many places of a waveform, and
shows what its layers saw, for feature matching.
Letters: B batch, S samples, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1  # of the leaky ReLU below 0


@dataclass(frozen=True)
class DiscriminatorConfig:
    """periods: in samples; windows: of the spectra, in samples; channels: of the first layers. Defaults: DAC's."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    windows: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 32


class Discriminator(nn.Module):
    """2-d convolutions; the last makes the scores."""

    def __init__(self, layers: Sequence[nn.Conv2d]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)

    def picture(self, waves: Tensor) -> Tensor:
        """Waveforms (B, S) as what the convolutions see, (B, C, ., .)."""
        raise NotImplementedError

    def forward(self, waves: Tensor) -> list[Tensor]:
        """Waveforms (B, S) to what every layer saw, (B, C, ., .) each, and at last the scores (B, 1, ., .)."""
        x, seen = self.picture(waves), []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), SLOPE)
            seen.append(x)
        return [*seen, self.layers[-1](x)]


class PeriodDiscriminator(Discriminator):
    """Sees the samples that lie a period apart beneath each other."""

    def __init__(self, period: int, channels: int) -> None:
        widths = (1, channels, 4 * channels, 16 * channels, 32 * channels)
        layers = [nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths)]
        layers.append(nn.Conv2d(widths[-1], widths[-1], (5, 1), padding=(2, 0)))
        super().__init__([*layers, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))])
        self.period = period

    def picture(self, waves: Tensor) -> Tensor:
        """(B, S) to (B, 1, S / period, period), whole periods."""
        whole = waves.shape[1] // self.period * self.period
        return waves[:, :whole].reshape(len(waves), 1, -1, self.period)


class SpectrumDiscriminator(Discriminator):
    """Sees the real and imaginary part of a spectrum."""

    shape: Tensor

    def __init__(self, window: int, channels: int) -> None:
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        layers += [nn.Conv2d(channels, channels, (3, 9), (1, 2), (1, 4)) for _ in range(3)]
        layers.append(nn.Conv2d(channels, channels, 3, padding=1))
        super().__init__([*layers, nn.Conv2d(channels, 1, 3, padding=1)])
        self.window = window
        self.register_buffer("shape", torch.hann_window(window), persistent=False)

    def picture(self, waves: Tensor) -> Tensor:
        """(B, S) to (B, 2, frames, window / 2 + 1); a hop is a quarter of a window."""
        with torch.autocast(waves.device.type, enabled=False):
            spectrum = torch.stft(
                waves.float(), self.window, self.window // 4, window=self.shape, normalized=True, return_complex=True
            )  # (B, bins, frames)
        return torch.view_as_real(spectrum).permute(0, 3, 2, 1)


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            [
                *(PeriodDiscriminator(period, config.channels) for period in config.periods),
                *(SpectrumDiscriminator(window, config.channels) for window in config.windows),
            ]
        )

    def forward(self, waves: Tensor) -> list[list[Tensor]]:
        """Waveforms (B, S) to what each saw and, last, its scores."""
        return [judge(waves) for judge in self.judges]
