"""The visual encoder once more, written from its formulas on official names: loops instead of tricks, one sample."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.config import VisualConfig
from reference_models.lips import VisualEncoder

Weights = dict[str, Tensor]
SMALL = VisualConfig(dim=24, num_heads=3, inner_dim=40, num_layers=2, conv_kernel=5)


def random_encoder(config: VisualConfig = SMALL, seed: int = 0) -> VisualEncoder:
    """In eval mode, with statistics, biases and gains that all matter."""
    torch.manual_seed(seed)
    encoder = VisualEncoder(config)
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight)  # so that the picture reaches the features
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.2)
    return encoder.eval()


def features(w: Weights, frames: Tensor, config: VisualConfig) -> Tensor:
    """(T, 88, 88) -> (T, C)."""
    x = torch.stack([picture(w, frames, t) for t in range(len(frames))])
    x = linear(w, "proj_encoder", x) * math.sqrt(config.dim)
    for i in range(config.num_layers):
        x = block(w, f"encoder.encoders.{i}.", x, config)
    return norm(w, "encoder.after_norm", x)


def picture(w: Weights, frames: Tensor, t: int) -> Tensor:
    """What the front end makes of frame t: (512,)."""
    kernel = w["frontend.frontend3D.0.weight"]  # (64, 1, 5, 7, 7)
    x = torch.zeros(1, 64, 44, 44)
    for k in range(5):
        if 0 <= t + k - 2 < len(frames):
            x = x + F.conv2d(frames[t + k - 2][None, None], kernel[:, :, k], stride=2, padding=3)
    x = F.max_pool2d(F.silu(batch_norm(w, "frontend.frontend3D.1", x)), 3, 2, 1)
    for stage in range(1, 5):
        for i in range(2):
            name, stride = f"frontend.trunk.layer{stage}.{i}.", 2 if stage > 1 and i == 0 else 1
            y = F.silu(batch_norm(w, name + "bn1", F.conv2d(x, w[name + "conv1.weight"], stride=stride, padding=1)))
            y = batch_norm(w, name + "bn2", F.conv2d(y, w[name + "conv2.weight"], padding=1))
            if name + "downsample.0.weight" in w:
                x = F.conv2d(x, w[name + "downsample.0.weight"], stride=stride)
                x = batch_norm(w, name + "downsample.1", x)
            x = F.silu(x + y)
    return x.mean(dim=(2, 3))[0]


def block(w: Weights, name: str, x: Tensor, config: VisualConfig) -> Tensor:
    """(T, C) -> (T, C)."""
    x = x + feed_forward(w, name + "feed_forward_macaron.", norm(w, name + "norm_ff_macaron", x)) / 2
    x = x + attention(w, name + "self_attn.", norm(w, name + "norm_mha", x), config.num_heads)
    x = x + convolution(w, name + "conv_module.", norm(w, name + "norm_conv", x), config.conv_kernel)
    x = x + feed_forward(w, name + "feed_forward.", norm(w, name + "norm_ff", x)) / 2
    return norm(w, name + "norm_final", x)


def attention(w: Weights, name: str, x: Tensor, heads: int) -> Tensor:
    """Every score by itself: (q_i + u) k_j + (q_i + v) W r(i - j)."""
    length, width = x.shape
    d = width // heads
    q, k, v = (linear(w, f"{name}linear_{letter}", x).view(length, heads, d) for letter in "qkv")
    out = torch.zeros(length, heads, d)
    for h in range(heads):
        for i in range(length):
            scores = []
            for j in range(length):
                r = (w[name + "linear_pos.weight"] @ sinusoid(i - j, width)).view(heads, d)[h]
                by_content = (q[i, h] + w[name + "pos_bias_u"][h]) @ k[j, h]
                by_distance = (q[i, h] + w[name + "pos_bias_v"][h]) @ r
                scores.append((by_content + by_distance) / math.sqrt(d))
            out[i, h] = torch.stack(scores).softmax(0) @ v[:, h]
    return linear(w, name + "linear_out", out.flatten(1))


def sinusoid(distance: int, width: int) -> Tensor:
    """sin and cos of the distance at falling frequencies, in turn: (C,)."""
    angles = [distance / 10_000 ** (2 * k / width) for k in range(width // 2)]
    return torch.tensor([f(angle) for angle in angles for f in (math.sin, math.cos)])


def convolution(w: Weights, name: str, x: Tensor, kernel: int) -> Tensor:
    """Gate, weigh `kernel` neighbours channel by channel, normalise, SiLU, mix."""
    value, gate = (x @ w[name + "pointwise_cov1.weight"][..., 0].T + w[name + "pointwise_cov1.bias"]).chunk(2, dim=1)
    x = value * gate.sigmoid()
    taps = w[name + "depthwise_conv.weight"][:, 0]  # (C, K)
    y = w[name + "depthwise_conv.bias"].repeat(len(x), 1)
    for t in range(len(x)):
        for k in range(kernel):
            if 0 <= t + k - kernel // 2 < len(x):
                y[t] += taps[:, k] * x[t + k - kernel // 2]
    y = F.silu(batch_norm(w, name + "norm", y))
    return y @ w[name + "pointwise_cov2.weight"][..., 0].T + w[name + "pointwise_cov2.bias"]


def feed_forward(w: Weights, name: str, x: Tensor) -> Tensor:
    """Linear, ReLU, Linear."""
    return linear(w, name + "w_2", linear(w, name + "w_1", x).clamp(min=0))


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    """x W' + b."""
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """Layer norm."""
    x = x - x.mean(-1, keepdim=True)
    return x / x.square().mean(-1, keepdim=True).sqrt() * w[name + ".weight"] + w[name + ".bias"]


def batch_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """With stored statistics, channels in dimension 1."""
    mean, var, gain, bias = (
        w[f"{name}.{part}"].view(-1, *(1,) * (x.ndim - 2)) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * gain + bias
