"""The ConvNeXt stack that the semantic codec and the vocoder share (`Amphion:models/codec/kmeans/vocos.py`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.config import BackboneConfig

KERNEL = 7
NORM_EPS = 1e-6


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then an MLP over channels, scaled by `gamma` and added to the input."""

    def __init__(self, cfg: BackboneConfig) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(cfg.dim, cfg.dim, KERNEL, padding=KERNEL // 2, groups=cfg.dim)
        self.norm = nn.LayerNorm(cfg.dim, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(cfg.dim, cfg.inner_dim)
        self.pwconv2 = nn.Linear(cfg.inner_dim, cfg.dim)
        self.gamma = nn.Parameter(torch.full((cfg.dim,), 1 / cfg.num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        y = self.dwconv(x.transpose(1, 2)).transpose(1, 2)  # (B, T, C)
        y = self.pwconv2(F.gelu(self.pwconv1(self.norm(y))))  # (B, T, C)
        return torch.addcmul(x, self.gamma, y)


class ConvNeXtBackbone(nn.Module):
    """`in_dim` channels to `cfg.dim`, same number of steps. Channels last throughout: the linears are the work."""

    def __init__(self, in_dim: int, cfg: BackboneConfig) -> None:
        super().__init__()
        self.embed = nn.Conv1d(in_dim, cfg.dim, KERNEL, padding=KERNEL // 2)
        self.norm = nn.LayerNorm(cfg.dim, eps=NORM_EPS)
        self.convnext = nn.ModuleList(ConvNeXtBlock(cfg) for _ in range(cfg.num_layers))
        self.final_layer_norm = nn.LayerNorm(cfg.dim, eps=NORM_EPS)
        self.apply(init_weights)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in_dim) to (B, T, C)."""
        x = self.norm(self.embed(x.transpose(1, 2)).transpose(1, 2))  # (B, T, C)
        for block in self.convnext:
            x = block(x)
        return self.final_layer_norm(x)  # type: ignore[no-any-return]


def init_weights(module: nn.Module) -> None:
    """Truncated normal weights (0.02) and zero biases, as the release draws them."""
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
