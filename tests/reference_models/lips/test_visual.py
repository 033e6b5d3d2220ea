from __future__ import annotations

import pytest
import torch

from reference_models.config import VisualConfig
from reference_models.lips import VisualEncoder, normalise, visual
from reference_models.lips.visual import relative_shift
from tests.reference_models.lips.formulas import SMALL, features, random_encoder


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normalised random frames (..., 88, 88)."""
    return torch.randn(*shape, 88, 88, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, 6])
def test_features_agree_with_their_formulas(length: int) -> None:
    encoder, x = random_encoder(), frames(length)
    expected = features(encoder.state_dict(), x, SMALL)
    assert length == 1 or expected.std(dim=0).mean() > 0.02, "frames differ by far more than the tolerance"
    torch.testing.assert_close(encoder(x[None])[0], expected, atol=1e-4, rtol=1e-4)


def test_relative_shift_moves_every_row_by_its_number() -> None:
    x = torch.randn(2, 3, 6, 11)
    shifted = relative_shift(x)
    assert shifted.shape == (2, 3, 6, 6)
    for i in range(6):
        for j in range(6):
            assert torch.equal(shifted[..., i, j], x[..., i, 5 - (i - j)])


@torch.inference_mode()
def test_features_do_not_depend_on_the_batch() -> None:
    encoder = random_encoder()
    samples = [frames(n, seed=n) for n in (3, 5, 1)]
    batch = torch.full((3, 5, 88, 88), 50.0)  # what stands in the padding must not matter
    for row, sample in zip(batch, samples, strict=True):
        row[: len(sample)] = sample
    together = encoder(batch, torch.tensor([len(s) for s in samples]))
    for row, sample in zip(together, samples, strict=True):
        torch.testing.assert_close(row[: len(sample)], encoder(sample[None])[0], atol=1e-5, rtol=1e-5)
        assert not row[len(sample) :].any()


@torch.inference_mode()
def test_long_films_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, x = random_encoder(), frames(2, 5)
    whole = encoder(x)
    monkeypatch.setattr(visual, "CHUNK", 2)
    torch.testing.assert_close(encoder(x), whole, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_half_precision_runs() -> None:
    encoder, x = random_encoder(), frames(1, 4)
    half = random_encoder().to(torch.bfloat16)(x.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
    assert (half.float() - encoder(x)).abs().mean() < 0.1


def test_the_encoder_sees_the_middle_of_a_region() -> None:
    regions = torch.randint(0, 256, (2, 96, 96), dtype=torch.uint8)
    expected = (regions[:, 4:92, 4:92].double() / 255 - 0.421) / 0.165
    torch.testing.assert_close(normalise(regions).double(), expected, atol=1e-5, rtol=0)
    assert torch.equal(normalise(regions[:, 4:92, 4:92]), normalise(regions))


def test_full_size() -> None:
    with torch.device("meta"):
        encoder = VisualEncoder(VisualConfig())
    assert sum(p.numel() for p in encoder.parameters()) == 182_028_224, "counted in auto_avsr's classes"
    shapes = {name: tuple(t.shape) for name, t in encoder.state_dict().items()}
    assert shapes["frontend.frontend3D.0.weight"] == (64, 1, 5, 7, 7)
    assert shapes["frontend.trunk.layer4.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert shapes["proj_encoder.weight"] == (768, 512)
    assert shapes["encoder.encoders.11.self_attn.pos_bias_u"] == (12, 64)
    assert shapes["encoder.encoders.11.conv_module.depthwise_conv.weight"] == (768, 1, 31)
    assert shapes["encoder.encoders.11.feed_forward_macaron.w_1.weight"] == (3072, 768)
