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
    """flops: 2 an accumulated product. calls: of a transformer. passes: of one sequence of one sample through one.

    backward: what gradients of these forward passes will take, counted where torch is to compute them. A forward pass
    that is repeated to save memory belongs to neither: switch `on` off meanwhile.
    """

    flops: int = 0
    backward: int = 0
    calls: int = 0
    passes: int = 0
    on: bool = True


@contextmanager
def counting(*models: nn.Module) -> Iterator[Count]:
    """Count within the block. Left out: norms, activations, softmax, embeddings, convolutions of the vocoder."""
    count = Count()

    def linear(layer: nn.Module, given: tuple[Tensor], y: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        product = 2 * y.numel() * layer.in_features
        count.flops += product
        if y.requires_grad:  # of the input, and of the weight: a frozen weight and the data have none
            count.backward += product * (int(given[0].requires_grad) + int(layer.weight.requires_grad))

    def attention(_: nn.Module, given: tuple[Tensor, Layout, int], y: Tensor) -> None:
        x, layout, skip = given  # (B, N, C)
        pairs = sum((s.stop - max(s.start, skip)) * (s.stop - s.start) for s in layout.spans if s.stop > skip)
        products = 2 * 2 * x.shape[0] * pairs * x.shape[2]  # q k^T, and weights times v
        count.flops += products
        count.backward += 2 * products * y.requires_grad  # of both factors of both

    def transformer(_: nn.Module, given: tuple[Tensor, Tensor, Layout], __: Tensor) -> None:
        x, _gains, layout = given
        count.calls += 1
        count.passes += x.shape[0] * len(layout.spans)

    def hooked(hook: Any) -> Any:
        return lambda *arguments: hook(*arguments) if count.on else None

    hooks: dict[type[nn.Module], Any] = {nn.Linear: linear, SelfAttention: attention, Transformer: transformer}
    handles = [
        module.register_forward_hook(hooked(hook))
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
