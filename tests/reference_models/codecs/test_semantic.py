"""The semantic codec: official recordings, key names, batches."""

from dataclasses import replace

import pytest
import torch

from reference_models.codecs.semantic import SemanticCodec
from reference_models.codecs.weight_norm import fold_weight_norm
from reference_models.config import BackboneConfig, SemanticCodecConfig
from tests.reference_models.key_lists import assert_keys_equal, parameter_count
from tests.reference_models.recordings import Recording

TINY = SemanticCodecConfig(
    feature_dim=12, codebook_size=32, codebook_dim=4, backbone=BackboneConfig(dim=8, inner_dim=16, num_layers=2)
)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return SemanticCodec(TINY).eval()


@pytest.fixture(params=[False, True], ids=["weight-norm", "folded"])
def recorded(golden, request):
    recording = Recording(golden, "repcodec")
    sizes = recording.facts["config"]
    codec = SemanticCodec(
        SemanticCodecConfig(
            feature_dim=sizes["hidden_size"],
            codebook_size=sizes["codebook_size"],
            codebook_dim=sizes["codebook_dim"],
            backbone=BackboneConfig(sizes["vocos_dim"], sizes["vocos_intermediate_dim"], sizes["vocos_num_layers"]),
        )
    )
    codec.load_state_dict(recording.weights())
    if request.param:
        fold_weight_norm(codec)
    return codec.eval(), recording


@pytest.mark.parametrize("threads", [1, 2])
@torch.no_grad()
def test_golden_quantize(recorded, threads, torch_threads):
    torch_threads(threads)
    codec, recording = recorded
    case = recording.case("quantize")
    feat = case.inputs["feat"]
    codes, embeddings = codec.quantize(feat)
    assert torch.equal(codes, case.outputs["codes"])
    assert torch.allclose(embeddings, case.outputs["emb"], atol=1e-4, rtol=0)
    assert torch.equal(codec.encode(feat), case.outputs["codes"])
    latent = codec.encoder(feat).transpose(1, 2)
    assert torch.allclose(latent, case.outputs["encoder_latent"], atol=1e-4, rtol=0)
    projected = codec.quantizer.quantizers[0].in_project(latent)
    assert torch.allclose(projected, case.outputs["z_e"], atol=1e-4, rtol=0)


@torch.no_grad()
def test_golden_embed_and_reconstruction(recorded):
    codec, recording = recorded
    case = recording.case("vq2emb")
    codes = case.inputs["codes"]
    assert torch.allclose(codec.embed(codes), case.outputs["emb"].transpose(1, 2), atol=1e-4, rtol=0)
    expected = recording.case("forward").outputs["x_rec"]
    feat = recording.case("quantize").inputs["feat"]
    assert torch.allclose(codec(feat).reconstruction, expected, atol=1e-4, rtol=0)
    assert torch.allclose(codec.decode(codec.encode(feat)), expected, atol=1e-4, rtol=0)


def test_golden_training_outputs(recorded):
    codec, recording = recorded
    case = recording.case("train")
    feat = recording.case("quantize").inputs["feat"]
    out = codec.train()(feat)
    assert torch.allclose(out.reconstruction, case.outputs["x_rec"], atol=1e-4, rtol=0)
    assert torch.allclose(out.codebook_loss, case.outputs["codebook_loss"], atol=1e-4, rtol=0)
    assert torch.equal(out.codes, recording.case("quantize").outputs["codes"])
    (out.reconstruction.square().mean() + out.codebook_loss).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in codec.parameters())


def test_golden_keys_and_size_of_the_official_file(golden):
    with torch.device("meta"):
        codec = SemanticCodec(SemanticCodecConfig())
    assert_keys_equal(codec, golden, "semantic_codec")


def test_full_size():
    with torch.device("meta"):
        codec = SemanticCodec(SemanticCodecConfig())
    assert parameter_count(codec) == 44_289_808  # of the official classes at full size


@torch.no_grad()
def test_encode_then_decode_equals_forward(tiny):
    features = torch.randn(2, 9, 12)
    out = tiny(features)
    assert out.codes.shape == (2, 9)
    assert out.reconstruction.shape == (2, 9, 12)
    assert torch.equal(tiny.encode(features), out.codes)
    assert torch.allclose(tiny.decode(out.codes), out.reconstruction, atol=1e-6)
    assert torch.allclose(tiny.embed(out.codes), tiny.quantize(features)[1], atol=1e-6)


@torch.no_grad()
def test_codes_do_not_depend_on_the_batch(tiny):
    features = torch.randn(3, 20, 12)
    lengths = [20, 7, 12]
    batched = tiny.encode(features, lengths)
    for row, length in enumerate(lengths):
        assert torch.equal(batched[row, :length], tiny.encode(features[row : row + 1, :length])[0])
        assert not batched[row, length:].any()


def test_training_step_lowers_the_loss(tiny):
    torch.manual_seed(1)
    features = torch.randn(2, 16, 12)
    tiny.train()
    optimiser = torch.optim.Adam(tiny.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        out = tiny(features)
        loss = (out.reconstruction - features).abs().mean() + out.codebook_loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_one_codebook_whatever_the_size():
    codec = SemanticCodec(replace(TINY, codebook_size=16))
    assert codec.encode(torch.randn(1, 30, 12)).max() < 16
