"""WavLM (Chen et al. 2022, arXiv 2110.13900) of the "large" kind: what every layer hears, for a speaker encoder.

Parameters carry the names of the published checkpoints, so that loading is strict without a table of names.
Architecture: microsoft/UniSpeech WavLM/WavLM.py, WavLM/modules.py; which states are returned:
s3prl/s3prl s3prl/upstream/wavlm/expert.py; sizes: pytorch/audio src/torchaudio/pipelines (WAVLM_LARGE).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class WavLMSizes:
    """Sizes of WavLM-large. `convolutions`: (channels, kernel, stride) in the order of the signal."""

    convolutions: tuple[tuple[int, int, int], ...] = ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)
    width: int = 1024
    hidden: int = 4096  # of the feed-forward layers
    layers: int = 24
    heads: int = 16
    position_kernel: int = 128
    position_groups: int = 16
    buckets: int = 320  # of distances between frames
    max_distance: int = 800  # frames; all that are further apart share a bucket


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class FeatureExtractor(nn.Module):
    """Seven convolutions: 16 kHz samples to frames every 20 ms."""

    def __init__(self, sizes: WavLMSizes) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        channels = 1
        for out, kernel, stride in sizes.convolutions:
            convolution = nn.Conv1d(channels, out, kernel, stride, bias=False)
            # the checkpoint's names are the places in these nests: 0 and 2.1
            norm = nn.Sequential(nn.Identity(), ChannelNorm(out))
            self.conv_layers.append(nn.Sequential(convolution, nn.Identity(), norm, nn.GELU()))
            channels = out

    def forward(self, wave: Tensor) -> Tensor:
        """(B, T) to (B, C, frames)."""
        x = wave[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class PositionConvolution(nn.Module):
    """A weight-normed grouped convolution, its norm taken per tap: (kernel - 1) / 2 frames to both sides."""

    def __init__(self, sizes: WavLMSizes) -> None:
        super().__init__()
        self.groups, kernel = sizes.position_groups, sizes.position_kernel
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(sizes.width, sizes.width // self.groups, kernel))
        self.bias = nn.Parameter(torch.zeros(sizes.width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        weight = torch._weight_norm(self.weight_v, self.weight_g, 2)
        kernel = weight.shape[-1]
        y = F.conv1d(x, weight, self.bias, padding=kernel // 2, groups=self.groups)
        return F.gelu(y[..., : x.shape[-1]])  # an even kernel gives one frame too many


class Attention(nn.Module):
    """Self-attention with a bias by distance that each query gates. Only the first layer owns the bias."""

    def __init__(self, sizes: WavLMSizes, *, owns_bias: bool) -> None:
        super().__init__()
        width, self.sizes = sizes.width, sizes
        self.k_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.q_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.grep_linear = nn.Linear(width // sizes.heads, 8)
        self.grep_a = nn.Parameter(torch.ones(1, sizes.heads, 1, 1))
        if owns_bias:
            self.relative_attention_bias = nn.Embedding(sizes.buckets, sizes.heads)

    def distance_bias(self, frames: int) -> Tensor:
        """(heads, T, T): the learned bias of each distance (key minus query), exact when near, logarithmic when far."""
        half = self.sizes.buckets // 2
        near = half // 2
        at = torch.arange(frames, device=self.grep_a.device)
        distance = at[None, :] - at[:, None]
        ahead = (distance > 0).long() * half
        distance = distance.abs()
        far = torch.log(distance.float() / near) / math.log(self.sizes.max_distance / near) * (half - near)
        # log 0 is -inf, which is no integer: clamped, and never taken
        bucket = torch.where(distance < near, distance, (near + far.clamp(min=0).long()).clamp(max=half - 1))
        bias: Tensor = self.relative_attention_bias(ahead + bucket)
        return bias.permute(2, 0, 1)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, T, C) and the shared bias (heads, T, T) to (B, T, C)."""
        gates = self.grep_linear(self._heads(x))  # (B, H, T, 8), of the layer's input: before any projection
        gates = torch.sigmoid(gates.view(*gates.shape[:-1], 2, 4).sum(-1))
        update, reset = gates.chunk(2, dim=-1)  # (B, H, T, 1)
        gate = update * (reset * self.grep_a - 1.0) + 2.0
        q, k, v = (self._heads(projection(x)) for projection in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=gate * bias)
        out: Tensor = self.out_proj(y.transpose(1, 2).flatten(-2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, H, T, C / H)."""
        return x.view(*x.shape[:-1], self.sizes.heads, -1).transpose(1, 2)


class Layer(nn.Module):
    """Attention and feed-forward, each normed before."""

    def __init__(self, sizes: WavLMSizes, *, owns_bias: bool) -> None:
        super().__init__()
        self.self_attn = Attention(sizes, owns_bias=owns_bias)
        self.self_attn_layer_norm = nn.LayerNorm(sizes.width)
        self.fc1, self.fc2 = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.hidden, sizes.width)
        self.final_layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), bias)
        y: Tensor = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x + y


class Encoder(nn.Module):
    """The transformer."""

    def __init__(self, sizes: WavLMSizes) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(PositionConvolution(sizes))
        self.layers = nn.ModuleList(Layer(sizes, owns_bias=i == 0) for i in range(sizes.layers))
        self.layer_norm = nn.LayerNorm(sizes.width)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, T, C) to what goes into each layer, and last the normed output of the last: layers + 1 of (B, T, C)."""
        x = x + self.pos_conv(x.transpose(1, 2)).transpose(1, 2)
        first = self.layers[0]
        assert isinstance(first, Layer)
        bias = first.self_attn.distance_bias(x.shape[1])
        states = []
        for layer in self.layers:
            states.append(x)
            x = layer(x, bias)
        return [*states, self.layer_norm(x)]


class WavLM(nn.Module):
    """Waveforms to hidden states."""

    def __init__(self, sizes: WavLMSizes) -> None:
        super().__init__()
        channels = sizes.convolutions[-1][0]
        self.feature_extractor = FeatureExtractor(sizes)
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, sizes.width)
        self.encoder = Encoder(sizes)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """(B, T) at 16 kHz, each row as long as the others, to layers + 1 states of (B, frames, width).

        Every waveform is layer-normed first: `cfg.normalize` is true in WavLM-large (and false in the base models).
        """
        wave = F.layer_norm(wave, wave.shape[-1:])
        frames = self.layer_norm(self.feature_extractor(wave).transpose(1, 2))
        states: list[Tensor] = self.encoder(self.post_extract_proj(frames))
        return states
