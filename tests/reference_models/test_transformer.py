"""The transformer against formulas written another way."""

from __future__ import annotations

import pytest
import torch

from reference_models.config import Attention, TransformerConfig
from reference_models.transformer import Transformer, rotate

ATTENTION: list[Attention] = ["sdpa", "eager"]


def model_of(how: Attention = "sdpa") -> Transformer:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(64, 3, 4, attention=how), conditioned=False)
    for layer in model.parameters():
        torch.nn.init.normal_(layer, std=0.1)
    return model.eval().requires_grad_(False)


def test_rotation_is_a_complex_product() -> None:
    """Channels i and i + D / 2 are the real and imaginary part, turned by position * theta ** (-2i / D)."""
    model, x = model_of(), torch.randn(2, 4, 10, 16)
    layout = model.layout([None], [10])
    angle = torch.arange(10)[:, None] * 10_000.0 ** (-torch.arange(8) / 8)
    turned = torch.complex(x[..., :8], x[..., 8:]) * torch.polar(torch.ones_like(angle), angle)
    torch.testing.assert_close(
        rotate(x, layout.cos, layout.sin), torch.cat([turned.real, turned.imag], -1), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("how", ATTENTION)
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_read_does_not_depend_on_what_is_not(how: Attention, masked: bool) -> None:
    """The last block's shortcut, with one sequence and with two that share the pass."""
    model, gains = model_of(how), model_of(how).gains(torch.tensor([0.4]))
    for sizes in ([15], [15, 6]):
        x = torch.randn(2, sum(sizes), 64)
        masks = [torch.arange(n) < torch.tensor([[n], [n - 2]]) if masked else None for n in sizes]
        whole = model(x, gains, model.layout(masks, sizes))
        for unread in (0, 1, 9):
            part = model(x, gains, model.layout(masks, sizes, unread=unread))
            torch.testing.assert_close(part, whole[:, unread:], atol=1e-5, rtol=0)


def test_sequences_that_share_a_pass_do_not_see_each_other() -> None:
    model, gains, x = model_of(), model_of().gains(torch.tensor([0.4])), torch.randn(1, 21, 64)
    both = model(x, gains, model.layout([None, None], [15, 6]))
    alone = [model(part, gains, model.layout([None], [part.shape[1]])) for part in x.split([15, 6], dim=1)]
    torch.testing.assert_close(both, torch.cat(alone, dim=1), atol=1e-5, rtol=0)
