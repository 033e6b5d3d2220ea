"""The arithmetic that benchmarks and training count, against torch's own counter."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reference_models import lora
from reference_models.config import TransformerConfig
from reference_models.flops import counting
from reference_models.registry import SPEECH
from reference_models.sizes import sized, with_attention
from reference_models.stage1 import Stage1
from reference_models.transformer import Transformer

SIZES = [21, 12]


@pytest.mark.parametrize("unread", [0, 9])
@pytest.mark.parametrize("spans", [1, 2])
def test_counts_are_those_of_torch(spans: int, unread: int) -> None:
    # eager: torch counts the products of explicit attention on every device, those of the fused kernel not on all
    model = Transformer(TransformerConfig(64, 3, 4, attention="eager"), conditioned=False).eval().requires_grad_(False)
    sizes = SIZES[:spans]
    x, gains = torch.randn(2, sum(sizes), 64), model.gains(torch.tensor([0.5]))
    layout = model.layout([None] * spans, sizes, unread=unread)
    with counting(model) as count, FlopCounterMode(display=False) as theirs:
        model(x, gains, layout)
    assert count.flops == theirs.get_total_flops() > 0
    assert (count.calls, count.passes, count.backward) == (1, 2 * spans, 0)
    model(x, gains, layout)
    assert count.calls == 1  # no longer counting


@pytest.mark.parametrize("rank", [None, 4])
def test_backward_passes_are_counted_as_torch_does(rank: int | None) -> None:
    """Of a model that is trained whole, and of one with a frozen base; recomputing is left out."""
    model = Stage1(with_attention(sized(SPEECH, "tiny"), "eager"))
    if rank is not None:
        lora.attach(model, rank, dropout=0.0)
    tokens, valid = torch.randint(64, (2, 21)), torch.ones(2, 21, dtype=torch.bool)
    given = (tokens, valid, torch.tensor([0.3, 0.8]), valid)
    condition = torch.randn(2, 21, model.config.condition_dim)

    def run(module: nn.Module) -> tuple[int, int, int]:
        with counting(module) as count, FlopCounterMode(display=False) as theirs:
            loss = module(*given, condition=condition).sum()
            count.on = False
            loss.backward()
        return count.flops, count.backward, theirs.get_total_flops()

    forward, backward, all_of_torch = run(model)
    assert forward + backward == all_of_torch and backward > forward
    model.diff_estimator.recompute = True
    assert run(model)[:2] == (forward, backward)
