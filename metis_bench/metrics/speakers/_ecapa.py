"""ECAPA-TDNN small (Desplanques et al. 2020, arXiv 2005.07143) over WavLM-large: the speaker model of the papers' SIM.

Parameters carry the names of `wavlm_large_finetune.pth`.
Architecture: microsoft/UniSpeech downstreams/speaker_verification/models/ecapa_tdnn.py (ECAPA_TDNN_SMALL, wavlm_large).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metis_bench.metrics.speakers._wavlm import WavLM, WavLMSizes


@dataclass(frozen=True)
class SpeakerSizes:
    """Sizes of ECAPA_TDNN_SMALL over WavLM-large."""

    wavlm: WavLMSizes = field(default_factory=WavLMSizes)
    channels: int = 512
    scale: int = 8  # groups of a Res2 convolution
    squeezed: int = 128  # channels of the squeeze-excitation bottleneck
    pooled: int = 1536  # channels before pooling
    attention: int = 128  # channels of the pooling's attention
    embedding: int = 256


class ConvReluNorm(nn.Module):
    """Convolution, ReLU, batch norm: in this order."""

    def __init__(self, channels: int, out: int, kernel: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, out, kernel, padding=padding)
        self.bn = nn.BatchNorm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C', T)."""
        y: Tensor = self.bn(F.relu(self.conv(x)))
        return y


class Res2Convolution(nn.Module):
    """Dilated convolutions of channel groups, each adding the result before it; the last group passes."""

    def __init__(self, channels: int, scale: int, dilation: int) -> None:
        super().__init__()
        self.scale, width = scale, channels // scale
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        *groups, untouched = x.chunk(self.scale, dim=1)
        out: list[Tensor] = []
        for group, convolution, norm in zip(groups, self.convs, self.bns, strict=True):
            out.append(norm(F.relu(convolution(group + out[-1] if out else group))))
        return torch.cat([*out, untouched], dim=1)


class SqueezeExcitation(nn.Module):
    """Channels weighted by what their means over time say."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(channels, squeezed), nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        weights = torch.sigmoid(self.linear2(F.relu(self.linear1(x.mean(dim=2)))))
        return x * weights[..., None]


class Block(nn.Module):
    """SE-Res2 block with a residual connection."""

    def __init__(self, sizes: SpeakerSizes, dilation: int) -> None:
        super().__init__()
        channels = sizes.channels
        self.Conv1dReluBn1 = ConvReluNorm(channels, channels)
        self.Res2Conv1dReluBn = Res2Convolution(channels, sizes.scale, dilation)
        self.Conv1dReluBn2 = ConvReluNorm(channels, channels)
        self.SE_Connect = SqueezeExcitation(channels, sizes.squeezed)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        y: Tensor = self.SE_Connect(self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(x))))
        return x + y


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, each channel with an attention of its own."""

    def __init__(self, channels: int, attention: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Conv1d(channels, attention, 1), nn.Conv1d(attention, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, 2 C)."""
        weights = torch.softmax(self.linear2(torch.tanh(self.linear1(x))), dim=2)
        mean = (weights * x).sum(dim=2)
        variance = (weights * x**2).sum(dim=2) - mean**2
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)


class SpeakerModel(nn.Module):
    """Waveforms to embeddings."""

    def __init__(self, sizes: SpeakerSizes) -> None:
        super().__init__()
        width, channels = sizes.wavlm.width, sizes.channels
        self.feature_extract = nn.ModuleDict({"model": WavLM(sizes.wavlm)})
        self.feature_weight = nn.Parameter(torch.zeros(sizes.wavlm.layers + 1))
        self.instance_norm = nn.InstanceNorm1d(width)
        self.layer1 = ConvReluNorm(width, channels, kernel=5, padding=2)
        self.layer2, self.layer3, self.layer4 = (Block(sizes, dilation) for dilation in (2, 3, 4))
        self.conv = nn.Conv1d(3 * channels, sizes.pooled, 1)
        self.pooling = AttentiveStatistics(sizes.pooled, sizes.attention)
        self.bn = nn.BatchNorm1d(2 * sizes.pooled)
        self.linear = nn.Linear(2 * sizes.pooled, sizes.embedding)

    def features(self, wave: Tensor) -> Tensor:
        """(B, T) at 16 kHz to (B, width, frames): the learned mean of WavLM's states, normed over time."""
        weights = torch.softmax(self.feature_weight, dim=0)
        states = self.feature_extract["model"](wave)
        mean = (weights[:, None, None, None] * torch.stack(states)).sum(dim=0)
        normed: Tensor = self.instance_norm(mean.transpose(1, 2) + 1e-6)
        return normed

    def forward(self, wave: Tensor) -> Tensor:
        """(B, T) at 16 kHz, each row as long as the others, to (B, embedding). T is at least 720 (two frames)."""
        first = self.layer1(self.features(wave))
        second = self.layer2(first)
        third = self.layer3(second)
        fourth = self.layer4(third)
        x = F.relu(self.conv(torch.cat([second, third, fourth], dim=1)))
        embedding: Tensor = self.linear(self.bn(self.pooling(x)))
        return embedding
