"""Count what the masked models and the vocoder compute: arithmetic of linear layers and attention, and passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from reference_models.transformer import Layout, SelfAttention, Transformer


@dataclass
class Count:
    """flops: 2 an accumulated product. calls: of a transformer. passes: of one sequence of one sample through one."""

    flops: int = 0
    calls: int = 0
    passes: int = 0


@contextmanager
def counting(*models: nn.Module) -> Iterator[Count]:
    """Count within the block. Left out: norms, activations, softmax, embeddings, convolutions of the vocoder."""
    count = Count()

    def linear(layer: nn.Module, _: Any, y: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        count.flops += 2 * y.numel() * layer.in_features

    def attention(_: nn.Module, given: tuple[Tensor, Layout, int], __: Tensor) -> None:
        x, layout, skip = given  # (B, N, C)
        pairs = sum((s.stop - max(s.start, skip)) * (s.stop - s.start) for s in layout.spans if s.stop > skip)
        count.flops += 2 * 2 * x.shape[0] * pairs * x.shape[2]  # q k^T, and weights times v

    def transformer(_: nn.Module, given: tuple[Tensor, Tensor, Layout], __: Tensor) -> None:
        x, _gains, layout = given
        count.calls += 1
        count.passes += x.shape[0] * len(layout.spans)

    hooks: dict[type[nn.Module], Any] = {nn.Linear: linear, SelfAttention: attention, Transformer: transformer}
    handles = [
        module.register_forward_hook(hook)
        for model in models
        for module in model.modules()
        for kind, hook in hooks.items()
        if isinstance(module, kind)
    ]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()
