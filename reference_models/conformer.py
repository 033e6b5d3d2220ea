"""The conformer of w2v-BERT 2.0 (arXiv 2312.05187), as far as its hidden states are read: inference and plain training.

transformers' Wav2Vec2BertModel (`transformers:models/wav2vec2_bert/modeling_wav2vec2_bert.py`) is the oracle of its
tests; importing it takes longer than all else that a reference model needs to start.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.config import FeaturesConfig


class FeedForward(nn.Module):
    """Two layers with SiLU between."""

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(cfg.hidden_size, cfg.inner_dim)
        self.output_dense = nn.Linear(cfg.inner_dim, cfg.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return self.output_dense(F.silu(self.intermediate_dense(x)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Every frame to every other; how far apart they are, clipped to the contexts, has a learned key of its own."""

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        self.heads, self.left, self.right = cfg.num_heads, cfg.left_context, cfg.right_context
        self.linear_q = nn.Linear(cfg.hidden_size, cfg.hidden_size)
        self.linear_k = nn.Linear(cfg.hidden_size, cfg.hidden_size)
        self.linear_v = nn.Linear(cfg.hidden_size, cfg.hidden_size)
        self.linear_out = nn.Linear(cfg.hidden_size, cfg.hidden_size)
        self.distance_embedding = nn.Embedding(self.left + self.right + 1, cfg.hidden_size // cfg.num_heads)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, C) and which frames there are, (B, T), to (B, T, C)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
            for layer in (self.linear_q, self.linear_k, self.linear_v)
        )
        place = torch.arange(x.shape[1], device=x.device)
        apart = (place - place[:, None]).clamp(-self.left, self.right) + self.left  # (T, T)
        by_distance = q @ self.distance_embedding.weight.T / math.sqrt(q.shape[-1])  # (B, H, T, P)
        bias = by_distance.gather(-1, apart.expand(*by_distance.shape[:2], -1, -1))  # (B, H, T, T)
        bias = bias.masked_fill(~valid[:, None, None], -torch.inf)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, D)
        return self.linear_out(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Convolution(nn.Module):
    """A gated, causal depthwise convolution."""

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        dim, kernel = cfg.hidden_size, cfg.conv_kernel
        self.layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv1 = nn.Conv1d(dim, 2 * dim, 1, bias=False)
        self.depthwise_conv = nn.Conv1d(dim, dim, kernel, groups=dim, bias=False)
        self.depthwise_layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv2 = nn.Conv1d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, C) and which frames there are, (B, T), to (B, T, C)."""
        x = self.layer_norm(x).masked_fill(~valid[..., None], 0.0).transpose(1, 2)  # (B, C, T)
        x = F.glu(self.pointwise_conv1(x), dim=1)
        x = self.depthwise_conv(F.pad(x, (self.depthwise_conv.kernel_size[0] - 1, 0)))
        x = F.silu(self.depthwise_layer_norm(x.transpose(1, 2))).transpose(1, 2)
        return self.pointwise_conv2(x).transpose(1, 2)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward."""

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        self.ffn1_layer_norm, self.ffn1 = nn.LayerNorm(cfg.hidden_size), FeedForward(cfg)
        self.self_attn_layer_norm, self.self_attn = nn.LayerNorm(cfg.hidden_size), Attention(cfg)
        self.conv_module = Convolution(cfg)
        self.ffn2_layer_norm, self.ffn2 = nn.LayerNorm(cfg.hidden_size), FeedForward(cfg)
        self.final_layer_norm = nn.LayerNorm(cfg.hidden_size)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, C) and which frames there are, (B, T), to (B, T, C)."""
        x = x + self.ffn1(self.ffn1_layer_norm(x)) * 0.5
        x = x + self.self_attn(self.self_attn_layer_norm(x), valid)
        x = x + self.conv_module(x, valid)
        x = x + self.ffn2(self.ffn2_layer_norm(x)) * 0.5
        return self.final_layer_norm(x)  # type: ignore[no-any-return]


class Projection(nn.Module):
    """Filter banks to the width of the layers."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layer_norm, self.projection = nn.LayerNorm(inputs), nn.Linear(inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, M) to (B, T, C)."""
        return self.projection(self.layer_norm(x))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """The layers."""

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(cfg) for _ in range(cfg.layer))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, C) and which frames there are, (B, T), to (B, T, C)."""
        x = x.masked_fill(~valid[..., None], 0.0)
        for layer in self.layers:
            x = layer(x, valid)
        return x


class Conformer(nn.Module):
    """w2v-BERT 2.0 up to `cfg.layer`; its state dict has the official names. inputs: width of a filter bank frame."""

    def __init__(self, cfg: FeaturesConfig, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.feature_projection = Projection(inputs, cfg.hidden_size)
        self.masked_spec_embed = nn.Parameter(torch.rand(cfg.hidden_size))  # of pre-training: kept, not used
        self.encoder = Encoder(cfg)
        self.apply(_draw)

    def forward(self, filter_banks: Tensor, mask: Tensor) -> Tensor:
        """Filter banks (B, T, M) and mask (B, T), 0 where there is no frame, to hidden states (B, T, C)."""
        return self.encoder(self.feature_projection(filter_banks), mask.bool())  # type: ignore[no-any-return]


def _draw(module: nn.Module) -> None:
    """Initial weights as transformers draws them."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv1d):
        nn.init.kaiming_normal_(module.weight)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
    if isinstance(module, Projection):
        bound = module.projection.in_features**-0.5
        nn.init.uniform_(module.projection.weight, -bound, bound)
        nn.init.uniform_(module.projection.bias, -bound, bound)
