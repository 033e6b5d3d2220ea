"""The bidirectional Llama of every masked model: adaptive RMSNorm, RoPE, SwiGLU, no cache, no causal mask.

Parameter names are those of the official checkpoints (`Amphion:models/tts/maskgct/llama_nar.py`, DiffLlama and
DiffLlamaPrefix). What conditions a model is added or prepended by its owner (`stage1`, `acoustic`).
Letters: B batch, N tokens, C hidden size, H heads, D head size, L layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reference_models.config import Attention, TransformerConfig

BUCKET = 64  # tokens: fewer different lengths are fewer compilations, more are less padding


@dataclass(frozen=True)
class Span:
    """Tokens `start:stop` that attend to each other. bias: (B, 1, 1, n) bool, True where a key may be read."""

    start: int
    stop: int
    bias: Tensor | None


@dataclass(frozen=True)
class Layout:
    """Where tokens stand and who sees whom: made once, used by every layer of every pass.

    cos, sin: (B or 1, 1, N, D) rotations; sin is negative where `rotate` adds a negative half
    spans:    independent sequences that share one pass (guidance has two)
    unread:   so many tokens come first of which the result is not needed: the last block ends without them
    """

    cos: Tensor
    sin: Tensor
    spans: tuple[Span, ...]
    unread: int = 0


def mlp(width: int, out: int) -> nn.Sequential:
    """Linear, SiLU, Linear through 4 * `out` channels: step embedding, conditions and adapters all look like this."""
    return nn.Sequential(nn.Linear(width, 4 * out), nn.SiLU(), nn.Linear(4 * out, out))


def step_embedding(t: Tensor, width: int) -> Tensor:
    """Sinusoids of the raw mask time t in [0, 1]: (S,) -> (S, C), fp32."""
    half = width // 2
    frequency = torch.exp(torch.arange(half, device=t.device) * -(math.log(10_000) / (half - 1)))
    angle = t[:, None].float() * frequency  # (S, C/2)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE with the halves of a head as the rotated pairs: x is (B, H, N, D)."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, how: Attention) -> Tensor:
    """Softmax attention, (B, H, N, D) each; `eager` is the release's formula, `sdpa` the fused kernel."""
    if how == "sdpa":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (B, H, N, N)
    if bias is not None:
        scores = scores.masked_fill(~bias, torch.finfo(scores.dtype).min)
    return scores.softmax(-1, dtype=torch.float32).to(q.dtype) @ v


class AdaptiveRMSNorm(nn.Module):
    """RMSNorm whose gain is a linear function of the step embedding (no shift).

    Starts with gain 1. The release means to as well, but its `post_init` overwrites it with a gain near 0.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.to_weight = nn.Linear(width, width)

    def reset_parameters(self) -> None:
        """Gain 1 whatever the step."""
        nn.init.zeros_(self.to_weight.weight)
        nn.init.ones_(self.to_weight.bias)

    def forward(self, x: Tensor, gain: Tensor) -> Tensor:
        """x (B, N, C), gain (B or 1, 1, C) -> (B, N, C)."""
        return F.rms_norm(x, x.shape[-1:], eps=self.eps) * gain


class SelfAttention(nn.Module):
    """Multi-head attention within each span of the layout."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.how = config.num_heads, config.attention
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, layout: Layout, skip: int = 0) -> Tensor:
        """(B, N, C) -> (B, N - skip, C): no results for the first `skip` tokens, which are only attended to."""
        q, k, v = (
            p(y).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for p, y in ((self.q_proj, x[:, skip:]), (self.k_proj, x), (self.v_proj, x))
        )
        q = rotate(q, layout.cos[:, :, skip:], layout.sin[:, :, skip:])  # (B, H, N - skip, D)
        k = rotate(k, layout.cos, layout.sin)  # (B, H, N, D)
        parts = []
        for s in layout.spans:
            mine = q[:, :, max(0, s.start - skip) : max(0, s.stop - skip)]
            parts.append(attend(mine, k[:, :, s.start : s.stop], v[:, :, s.start : s.stop], s.bias, self.how))
        y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)  # (B, H, N - skip, D)
        return self.o_proj(y.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.mlp_ratio * config.hidden_size
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config)
        self.mlp = SwiGLU(config)
        self.input_layernorm = AdaptiveRMSNorm(config.hidden_size, config.norm_eps)
        self.post_attention_layernorm = AdaptiveRMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, x: Tensor, gains: tuple[Tensor, Tensor], layout: Layout, skip: int = 0) -> Tensor:
        """(B, N, C) -> (B, N - skip, C)."""
        x = x[:, skip:] + self.self_attn(self.input_layernorm(x, gains[0]), layout, skip)
        return x + self.mlp(self.post_attention_layernorm(x, gains[1]))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """The `diff_estimator` of the official models. conditioned: owns the MLP that conditions pass through first."""

    def __init__(self, config: TransformerConfig, conditioned: bool) -> None:
        super().__init__()
        self.config = config
        self.recompute = False  # training: blocks run again in the backward pass instead of keeping what they computed
        self.bucket = 1  # decoding: prefixes and targets are padded to multiples of it, see `quicken`
        width = config.hidden_size
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = AdaptiveRMSNorm(width, config.norm_eps)
        self.diff_step_mlp = mlp(width, width)
        if conditioned:
            self.cond_mlp = mlp(width, width)

    def norms(self) -> list[AdaptiveRMSNorm]:
        """Every norm in the order in which a pass meets them: two a layer, then the last."""
        return [module for module in self.modules() if isinstance(module, AdaptiveRMSNorm)]

    def gains(self, t: Tensor) -> Tensor:
        """Gains of all norms at mask times t (S,) in [0, 1] -> (2L + 1, S, 1, C). Depends on nothing else: hoist it."""
        sinusoids = step_embedding(t, self.config.hidden_size).to(self.norm.to_weight.weight.dtype)
        embedded = self.diff_step_mlp(sinusoids)  # (S, C)
        return torch.stack([norm.to_weight(embedded) for norm in self.norms()])[:, :, None]

    def layout(
        self, masks: Sequence[Tensor | None], sizes: Sequence[int], packed: bool = True, unread: int = 0
    ) -> Layout:
        """Rotations and attention of sequences that share a pass side by side.

        masks: for each sequence (B, n) bool, True at tokens, or None: all are; sizes: its n.
        packed: positions count tokens, so that padding anywhere changes nothing; False: they count padding as well, as
        the release does; unread: see Layout.
        """
        weight = self.norm.to_weight.weight
        positions, spans, start = [], [], 0
        for mask, n in zip(masks, sizes, strict=True):
            plain = torch.arange(n, device=weight.device)[None]  # (1, n)
            positions.append(plain if mask is None or not packed else (mask.long().cumsum(1) - 1).clamp(min=0))
            bias = None if mask is None else mask[:, None, None, :]
            spans.append(Span(start, start + n, bias))
            start += n
        rows = max(p.shape[0] for p in positions)
        position = torch.cat([p.expand(rows, -1) for p in positions], dim=1)  # (B or 1, N)
        d = self.config.head_dim
        frequency = 1.0 / self.config.rope_theta ** (torch.arange(0, d, 2, device=weight.device).float() / d)
        angle = position[:, None, :, None].float() * torch.cat((frequency, frequency))  # (B or 1, 1, N, D)
        sign = torch.ones(d, device=weight.device)
        sign[: d // 2] = -1  # (first, second) turns into (second, first), one of them negative
        return Layout(angle.cos().to(weight.dtype), (angle.sin() * sign).to(weight.dtype), tuple(spans), unread)

    def forward(self, x: Tensor, gains: Tensor, layout: Layout) -> Tensor:
        """One pass: x (B, N, C), gains (2L + 1, B or 1, 1, C) -> (B, N - layout.unread, C), normalised."""
        last = len(self.layers) - 1
        for i, block in enumerate(self.layers):
            given = (x, (gains[2 * i], gains[2 * i + 1]), layout, layout.unread if i == last else 0)
            x = checkpoint(block, *given, use_reentrant=False) if self.recompute and self.training else block(*given)
        return self.norm(x, gains[-1])  # type: ignore[no-any-return]


def quicken(transformer: Transformer, device: torch.device) -> None:
    """Compile a pass: on a CPU for any shape; on a GPU into CUDA graphs, for lengths rounded up to BUCKET tokens.

    A first pass of a shape that is new takes up to minutes. Results differ by rounding.
    """
    # variants (models, guided or not, masked or not, on a GPU each length); more than these are not compiled
    torch._dynamo.config.recompile_limit = 64
    if device.type == "cuda":
        transformer.bucket = BUCKET
        transformer.compile(mode="reduce-overhead", dynamic=False)
    else:
        transformer.compile(dynamic=True)


def init_weights(model: nn.Module) -> None:
    """The release's initial weights, but for the gains of adaptive norms, which stay 1 (see AdaptiveRMSNorm)."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx].detach())
    for module in model.modules():  # after the linears, some of which are theirs
        if isinstance(module, AdaptiveRMSNorm):
            module.reset_parameters()
