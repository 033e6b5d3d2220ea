"""The visual speech encoder of Auto-AVSR: grey mouth regions at 25 Hz to conformer features, one a frame.

A 3-D convolution and ResNet-18 see 5 frames at a time, a conformer with relative positions sees all. Parameter names
are those of `auto_avsr:espnet/nets/pytorch_backend/e2e_asr_conformer.py` without its decoder; `weights` holds the rest.
Letters: B batch, T frames, C channels, H heads, D channels of a head.

Right padding changes nothing: it is black at the front end, zero at the depthwise convolutions, unseen by attention.
(Auto-AVSR lets its conformer's convolutions read what stands in the padding.)
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.config import VisualConfig

MEAN, STD = 0.421, 0.165  # of grey in 0..1 (auto_avsr:datamodule/transforms.py)
SIDE = 88  # pixels of a mouth region that the encoder sees
CHUNK = 100  # frames the front end computes at a time, to bound its memory (0.5 MB a frame and layer)


def normalise(regions: Tensor) -> Tensor:
    """Grey mouth regions (..., 96, 96) or (..., 88, 88), 0 to 255 -> what the encoder reads, (..., 88, 88) float."""
    top, left = ((size - SIDE) // 2 for size in regions.shape[-2:])
    return (regions[..., top : top + SIDE, left : left + SIDE].float() / 255 - MEAN) / STD


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, of 1 x 1 where the size changes."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C', h', w')."""
        y = self.bn2(self.conv2(F.silu(self.bn1(self.conv1(x)))))
        return F.silu(y + self.downsample(x))


class ResNet18(nn.Module):
    """Four stages of two blocks, then the mean over the picture."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        one, two, three, four = widths
        self.layer1 = nn.Sequential(BasicBlock(one, one, 1), BasicBlock(one, one, 1))
        self.layer2 = nn.Sequential(BasicBlock(one, two, 2), BasicBlock(two, two, 1))
        self.layer3 = nn.Sequential(BasicBlock(two, three, 2), BasicBlock(three, three, 1))
        self.layer4 = nn.Sequential(BasicBlock(three, four, 2), BasicBlock(four, four, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, widths[0], 22, 22) -> (N, widths[3])."""
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((-2, -1))  # type: ignore[no-any-return]


class Frontend(nn.Module):
    """What one frame and its two neighbours on each side look like. W: widths, of the first and last stage."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        stem = widths[0]
        self.frontend3D = nn.Sequential(
            nn.Conv3d(1, stem, (5, 7, 7), (1, 2, 2), padding=(0, 3, 3), bias=False),  # time is padded in forward
            nn.BatchNorm3d(stem),
            nn.SiLU(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
        )
        self.trunk = ResNet18(widths)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, T, 88, 88) -> (B, T, W[3])."""
        padded = F.pad(frames, (0, 0, 0, 0, 2, 2))[:, None]  # (B, 1, T + 4, 88, 88)
        parts = []
        for start in range(0, frames.shape[1], CHUNK):
            stem = self.frontend3D(padded[:, :, start : start + CHUNK + 4])  # (B, W[0], t, 22, 22)
            features = self.trunk(stem.transpose(1, 2).flatten(0, 1))  # (B * t, W[3])
            parts.append(features.unflatten(0, (len(frames), -1)))
        return torch.cat(parts, dim=1)


def relative_positions(length: int, width: int) -> Tensor:
    """Sinusoids of the distances length - 1, ..., 0, ..., -(length - 1) -> (2 * length - 1, width), sines first."""
    distance = torch.arange(length - 1, -length, -1.0)
    frequency = torch.exp(torch.arange(0, width, 2.0) * -(math.log(10_000) / width))
    angle = distance[:, None] * frequency  # (2T - 1, C/2)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # interleaved: sin, cos, sin, cos ...


def relative_shift(x: Tensor) -> Tensor:
    """Scores by distance -> scores by key: out[i, j] = x[i, T - 1 - (i - j)]. (..., T, 2T - 1) -> (..., T, T).

    Row i must start T - 1 - i entries in. One column more makes every row start one entry earlier than the last.
    """
    t = x.shape[-2]
    return F.pad(x, (1, 0)).flatten(-2)[..., t:].view_as(x)[..., :t]


class RelativeAttention(nn.Module):
    """Attention whose scores also depend on the distance of query and key (arXiv 1901.02860, appendix B)."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        c, self.heads = config.dim, config.num_heads
        self.linear_q, self.linear_k, self.linear_v = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
        self.linear_out = nn.Linear(c, c)
        self.linear_pos = nn.Linear(c, c, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(self.heads, c // self.heads))
        self.pos_bias_v = nn.Parameter(torch.empty(self.heads, c // self.heads))
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(self, x: Tensor, positions: Tensor, hidden: Tensor) -> Tensor:
        """x (B, T, C), positions (2T - 1, C), hidden (B, 1, 1, T) True at padding -> (B, T, C)."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)) for f in (self.linear_q, self.linear_k, self.linear_v))
        p = self.linear_pos(positions).unflatten(-1, (self.heads, -1))  # (2T - 1, H, D)
        by_distance = torch.einsum("bthd,phd->bhtp", q + self.pos_bias_v, p)  # (B, H, T, 2T - 1)
        bias = relative_shift(by_distance) / math.sqrt(q.shape[-1])  # (B, H, T, T)
        bias = bias.masked_fill(hidden, torch.finfo(bias.dtype).min)
        q, k, v = ((q + self.pos_bias_u).transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))  # (B, H, T, D)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.linear_out(y.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class ConvolutionModule(nn.Module):
    """Gated pointwise, then depthwise convolution over time."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        c, kernel = config.dim, config.conv_kernel
        self.pointwise_cov1 = nn.Conv1d(c, 2 * c, 1)
        self.depthwise_conv = nn.Conv1d(c, c, kernel, padding=kernel // 2, groups=c)
        self.norm = nn.BatchNorm1d(c)
        self.pointwise_cov2 = nn.Conv1d(c, c, 1)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x (B, T, C), padding (B, T, 1) True at padding -> (B, T, C)."""
        x = F.glu(self.pointwise_cov1(x.transpose(1, 2)), dim=1)  # (B, C, T)
        x = self.depthwise_conv(x.masked_fill(padding.transpose(1, 2), 0.0))
        return self.pointwise_cov2(F.silu(self.norm(x))).transpose(1, 2)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Linear, ReLU, Linear."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.dim, config.inner_dim)
        self.w_2 = nn.Linear(config.inner_dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.w_2(F.relu(self.w_1(x)))  # type: ignore[no-any-return]


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, the other half, each pre-normed with a residual, then a norm."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_macaron = FeedForward(config)
        self.conv_module = ConvolutionModule(config)
        self.norm_ff_macaron, self.norm_mha, self.norm_conv = (layer_norm(config) for _ in range(3))
        self.norm_ff, self.norm_final = layer_norm(config), layer_norm(config)

    def forward(self, x: Tensor, positions: Tensor, padding: Tensor) -> Tensor:
        """x (B, T, C), positions (2T - 1, C), padding (B, T, 1) -> (B, T, C)."""
        x = x + 0.5 * self.feed_forward_macaron(self.norm_ff_macaron(x))
        x = x + self.self_attn(self.norm_mha(x), positions, padding[:, None].mT)
        x = x + self.conv_module(self.norm_conv(x), padding)
        x = x + 0.5 * self.feed_forward(self.norm_ff(x))
        return self.norm_final(x)  # type: ignore[no-any-return]


def layer_norm(config: VisualConfig) -> nn.LayerNorm:
    """With the tiny epsilon of ESPnet (`auto_avsr:.../transformer/layer_norm.py`)."""
    return nn.LayerNorm(config.dim, eps=1e-12)


class Conformer(nn.Module):
    """All blocks and the last norm."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(ConformerBlock(config) for _ in range(config.num_layers))
        self.after_norm = layer_norm(config)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x (B, T, C), padding (B, T, 1) True at padding -> (B, T, C)."""
        _, length, width = x.shape
        positions = relative_positions(length, width).to(x)
        x = x * math.sqrt(width)
        for block in self.encoders:
            x = block(x, positions, padding)
        return self.after_norm(x)  # type: ignore[no-any-return]


class VisualEncoder(nn.Module):
    """`metis_l2s/vis_model.pth`. Use it in eval mode: its batch norms must not learn from padding."""

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = Frontend(config.widths)
        self.proj_encoder = nn.Linear(config.widths[-1], config.dim)
        self.encoder = Conformer(config)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Normalised mouth regions (B, T, 88, 88) at 25 Hz, lengths (B,) in frames -> (B, T, C), zero at padding."""
        batch, length = frames.shape[:2]
        if lengths is None:
            lengths = torch.full((batch,), length, device=frames.device)
        padding = (torch.arange(length, device=frames.device) >= lengths[:, None])[..., None]  # (B, T, 1)
        x = self.frontend(frames.masked_fill(padding[..., None], 0.0))  # (B, T, W[3])
        x = self.encoder(self.proj_encoder(x), padding)
        return x.masked_fill(padding, 0.0)  # type: ignore[no-any-return]
