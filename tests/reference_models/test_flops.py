"""The arithmetic that benchmarks count, against torch's own counter."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reference_models.config import TransformerConfig
from reference_models.transformer import Transformer
from tests.conftest import REPO

SIZES = [21, 12]


@pytest.fixture
def flops(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    return importlib.import_module("_flops")


@pytest.mark.parametrize("unread", [0, 9])
@pytest.mark.parametrize("spans", [1, 2])
def test_counts_are_those_of_torch(flops: ModuleType, spans: int, unread: int) -> None:
    # eager: torch counts the products of explicit attention on every device, those of the fused kernel not on all
    model = Transformer(TransformerConfig(64, 3, 4, attention="eager"), conditioned=False).eval().requires_grad_(False)
    sizes = SIZES[:spans]
    x, gains = torch.randn(2, sum(sizes), 64), model.gains(torch.tensor([0.5]))
    layout = model.layout([None] * spans, sizes, unread=unread)
    with flops.counting(model) as count, FlopCounterMode(display=False) as theirs:
        model(x, gains, layout)
    assert count.flops == theirs.get_total_flops() > 0
    assert (count.calls, count.passes) == (1, 2 * spans)
    model(x, gains, layout)
    assert count.calls == 1  # no longer counting
