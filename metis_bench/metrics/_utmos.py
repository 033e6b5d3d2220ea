"""UTMOS22 strong learner without its phoneme encoder: a module of our own with the parameter names of its checkpoint.

Source of architecture and names: tarepan/SpeechMOS@ed25eac (v1.2.0) speechmos/utmos22/strong/model.py and
speechmos/utmos22/fairseq_alt.py, compared with k2-fsa/ZipVoice zipvoice/eval/models/utmos.py. It is wav2vec 2.0 base
(arXiv 2006.11477), whose frames go with an embedding of a data domain and one of a judge into a BiLSTM and two linear
layers. The checkpoint holds the one row of each embedding that the authors chose for inference, so there are no ids to
choose here. Clips are scored one at a time: in a batch, padding would change their scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metis_bench.metrics import _torch_file
from metis_bench.metrics.device import device

RATE = 16_000
WHAT = "the weights of UTMOS22 strong"
FIX = "get utmos22_strong_step7459_v1.pt from the releases (v1.0.0) of github.com/tarepan/SpeechMOS"


@dataclass(frozen=True)
class UtmosConfig:
    """Sizes; the defaults are those of the checkpoint. convs: (kernel, stride) of each."""

    conv_width: int = 512
    convs: tuple[tuple[int, int], ...] = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))
    width: int = 768
    hidden: int = 3072
    heads: int = 12
    layers: int = 12
    position_kernel: int = 128
    position_groups: int = 16
    embedding: int = 128  # of the domain, and of the judge
    lstm: int = 512
    projection: int = 2048

    @property
    def receptive_field(self) -> int:
        """Samples that one frame is made of: 400."""
        field, hop = 1, 1
        for kernel, stride in self.convs:
            field, hop = field + (kernel - 1) * hop, hop * stride
        return field


class Convolutions(nn.Module):
    """(B, T) samples to (B, conv_width, frames), 20 ms a frame; the first layer normalises each channel over time."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        width = config.conv_width
        self.conv_layers = nn.ModuleList()
        for i, (kernel, stride) in enumerate(config.convs):
            conv = nn.Conv1d(1 if i == 0 else width, width, kernel, stride, bias=False)
            norm = [nn.GroupNorm(width, width)] if i == 0 else []
            # the checkpoint counts a dropout: the norm is number 2
            self.conv_layers.append(nn.Sequential(conv, nn.Identity(), *norm, nn.GELU()))

    def forward(self, wave: Tensor) -> Tensor:
        """One layer after the other."""
        x = wave[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class PositionConv(nn.Module):
    """A grouped convolution over time whose kernel is stored as direction (weight_v) and length (weight_g) per tap."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        width, kernel, self.groups = config.width, config.position_kernel, config.position_groups
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(width, width // self.groups, kernel) / kernel)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, frames), the same size; an even kernel gives one frame too many, the last is dropped."""
        weight = self.weight_g * self.weight_v / self.weight_v.norm(dim=(0, 1), keepdim=True)
        x = F.conv1d(x, weight, self.bias, padding=weight.shape[-1] // 2, groups=self.groups)
        return x[..., :-1] if weight.shape[-1] % 2 == 0 else x


class Attention(nn.Module):
    """Self-attention over all frames."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, frames, width), the same size."""
        q, k, v = (
            f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)  # (B, heads, frames, width / heads)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(-2))
        return out


class Layer(nn.Module):
    """Attention and a two-layer network, each normalised after its residual sum."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, frames, width), the same size."""
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        out: Tensor = self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))
        return out


class Encoder(nn.Module):
    """The transformer. The original pads to an even number of frames and masks the pad: the same result."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(PositionConv(config))
        self.layer_norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, frames, width), the same size."""
        x = self.layer_norm(x + F.gelu(self.pos_conv(x.transpose(1, 2))).transpose(1, 2))
        for layer in self.layers:
            x = layer(x)
        return x


class Wav2Vec2(nn.Module):
    """(B, T) samples to (B, frames, width). The wave is not normalised."""

    def __init__(self, config: UtmosConfig) -> None:
        super().__init__()
        self.feature_extractor = Convolutions(config)
        self.layer_norm = nn.LayerNorm(config.conv_width)
        self.post_extract_proj = nn.Linear(config.conv_width, config.width)
        self.encoder = Encoder(config)
        self.mask_emb = nn.Parameter(torch.zeros(config.width))  # of the pre-training; unused

    def forward(self, wave: Tensor) -> Tensor:
        """Convolutions, then the transformer."""
        features = self.layer_norm(self.feature_extractor(wave).transpose(1, 2))
        out: Tensor = self.encoder(self.post_extract_proj(features))
        return out


class Utmos22Strong(nn.Module):
    """(B, T) samples at 16 kHz, T >= 400, to (B,) predicted opinion scores, about 1..5."""

    def __init__(self, config: UtmosConfig = UtmosConfig()) -> None:
        super().__init__()
        self.config = config
        self.wav2vec2 = Wav2Vec2(config)
        self.domain_emb = nn.Parameter(torch.zeros(1, config.embedding))
        self.judge_emb = nn.Parameter(torch.zeros(1, config.embedding))
        self.blstm = nn.LSTM(config.width + 2 * config.embedding, config.lstm, batch_first=True, bidirectional=True)
        self.projection = nn.Sequential(
            nn.Linear(2 * config.lstm, config.projection), nn.ReLU(), nn.Linear(config.projection, 1)
        )

    def forward(self, wave: Tensor) -> Tensor:
        """The mean over frames of their scores; the network answers on -1..1, which is 1..5."""
        frames = self.wav2vec2(wave)  # (B, frames, width)
        given = torch.cat([self.domain_emb, self.judge_emb], dim=1)  # (1, 2 * embedding)
        given = given[:, None].expand(len(frames), frames.shape[1], -1)
        scores: Tensor = self.projection(self.blstm(torch.cat([frames, given], dim=2))[0])  # (B, frames, 1)
        return scores.mean(dim=(1, 2)) * 2 + 3


def load_utmos(path: Path, config: UtmosConfig) -> Utmos22Strong:
    """The model with every key of the checkpoint, and no other. Raises MissingPrerequisite."""
    model = Utmos22Strong(config)
    with _torch_file.expected(WHAT, path, FIX):
        _torch_file.load_strictly(model, _torch_file.read(path))
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def utmos_model(path: Path, config: UtmosConfig = UtmosConfig()) -> Utmos22Strong:
    """As `load_utmos`, on a GPU where there is one, kept for the life of the process."""
    return load_utmos(path, config).to(device())
