"""w2v-BERT features: official recordings, frame counts, refused audio, layers that are not built."""

import numpy as np
import pytest
import soundfile
import soxr
import torch

from reference_models.config import FeaturesConfig
from reference_models.errors import InputError
from reference_models.features import MIN_SAMPLES, FeatureExtractor, SemanticFeatures, frames, unused_key
from tests.reference_models.key_lists import key_list, parameter_count, shapes
from tests.reference_models.recordings import Recording

TINY = FeaturesConfig(
    hidden_size=16, num_layers=3, layer=2, num_heads=2, inner_dim=24, left_context=4, right_context=2, conv_kernel=5
)


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return SemanticFeatures(TINY)


def recorded_config(golden, layer):
    sizes = Recording(golden, "w2vbert_tiny").facts["config"]
    assert (sizes["hidden_act"], sizes["position_embeddings_type"]) == ("swish", "relative_key")
    return FeaturesConfig(
        hidden_size=sizes["hidden_size"],
        num_layers=sizes["num_hidden_layers"],
        layer=layer,
        num_heads=sizes["num_attention_heads"],
        inner_dim=sizes["intermediate_size"],
        mel_bins=sizes["feature_projection_input_dim"] // 2,
        left_context=sizes["left_max_position_embeddings"],
        right_context=sizes["right_max_position_embeddings"],
        conv_kernel=sizes["conv_depthwise_kernel_size"],
    )


@pytest.mark.parametrize("threads", [1, 2])
@torch.no_grad()
def test_golden_hidden_states_of_every_cut(golden, threads, torch_threads):
    torch_threads(threads)
    recording = Recording(golden, "w2vbert_tiny")
    weights = recording.weights()
    assert recording.recorded_names
    for layer in range(1, recording.facts["config"]["num_hidden_layers"] + 1):
        cfg = recorded_config(golden, layer)
        features = SemanticFeatures(cfg)
        features.model.load_state_dict({key: value for key, value in weights.items() if not unused_key(key, cfg)})
        for name in recording.recorded_names:
            case = recording.case(name)
            out = features.hidden(case.inputs["input_features"], case.inputs["attention_mask"])
            assert torch.allclose(out, case.outputs[f"hidden_states.{layer}"], atol=1e-4, rtol=0)


def test_golden_normalisation(golden):
    recording = Recording(golden, "w2vbert_frontend")
    case = recording.case("norm")
    features = SemanticFeatures(FeaturesConfig(hidden_size=case.inputs["mean"].shape[0], inner_dim=8, layer=1))
    features.load_state_dict({key: case.inputs[key] for key in ("mean", "var")}, strict=False)
    assert torch.allclose(features.normalise(case.inputs["hidden"]), case.outputs["feat"], atol=1e-4, rtol=0)


def test_golden_filter_banks(golden):
    recording = Recording(golden, "w2vbert_frontend")
    settings = recording.facts["feature_extractor"]
    extractor = FeatureExtractor(
        FeaturesConfig(mel_bins=settings["num_mel_bins"], padding_value=settings["padding_value"])
    )
    cases = [recording.case(name) for name in recording.facts["cases"] if name != "norm"]
    assert cases
    for case in cases:
        filter_banks, mask = extractor(case.inputs["wav"])
        assert list(filter_banks.shape) == case.facts["frames"]
        assert frames(case.facts["samples"]) == filter_banks.shape[1]
        assert int(mask.sum()) == case.facts["mask_sum"]
        assert torch.equal(mask, case.outputs["attention_mask"])
        assert torch.allclose(filter_banks, case.outputs["input_features"], atol=1e-5, rtol=0)


def test_golden_keys_of_the_official_file(golden):
    official = key_list(golden, "w2v_bert_2.0")
    with torch.device("meta"):
        features = SemanticFeatures(FeaturesConfig())
    used = {key: shape for key, shape in official.items() if not unused_key(key)}
    assert shapes(features.model) == used
    dropped = sorted({int(key.split(".")[2]) for key in official if unused_key(key)})
    assert dropped == list(range(17, 24))
    statistics = {key: tuple(getattr(features, key).shape) for key in ("mean", "var")}
    assert statistics == key_list(golden, "wav2vec2bert_stats")


def test_full_size_is_the_part_that_is_needed():
    with torch.device("meta"):
        features = SemanticFeatures(FeaturesConfig())
    feed_forward, attention = 2 * 1024 * 4096 + 4096 + 1024, 4 * (1024 + 1) * 1024 + (64 + 1 + 8) * 64
    convolution, norms = (2 * 1024 + 31 + 1024) * 1024, 6 * 2 * 1024
    layer = 2 * feed_forward + attention + convolution + norms
    assert parameter_count(features.model) == 580_493_120 - 7 * layer == 411_231_104


def test_only_layers_behind_the_one_read_are_unused():
    assert unused_key("encoder.layers.17.ffn1.output_dense.bias")
    assert unused_key("encoder.layers.23.final_layer_norm.weight")
    for name in (
        "encoder.layers.16.ffn1.output_dense.bias",
        "encoder.layers.24.ffn1.output_dense.bias",
        "encoder.layers.1.final_layer_norm.weight",
        "feature_projection.projection.weight",
        "masked_spec_embed",
        "adapter.layers.17.ffn.output_dense.bias",
        "model.encoder.layers.17.ffn1.output_dense.bias",
    ):
        assert not unused_key(name)
    assert unused_key("encoder.layers.2.x", TINY)
    assert not unused_key("encoder.layers.3.x", TINY)


@pytest.mark.parametrize("samples", [*range(560, 900, 20), 719, 720, 721, 15999, 16000, 16001])
def test_frame_count_equals_the_extractor(samples, rng):
    wav = torch.from_numpy(rng.normal(size=samples).astype(np.float32))
    filter_banks, mask = FeatureExtractor(TINY)(wav)
    assert filter_banks.shape == (1, frames(samples), 160)
    odd = ((samples - 400) // 160 + 1) % 2
    assert mask[0].tolist() == [1] * (frames(samples) - odd) + [0] * odd
    assert torch.isfinite(filter_banks).all()
    if odd:
        assert (filter_banks[0, -1, 80:] == TINY.padding_value).all()


def test_filter_banks_equal_those_of_transformers(rng):
    transformers = pytest.importorskip("transformers")
    original = transformers.SeamlessM4TFeatureExtractor(padding_value=TINY.padding_value)
    ours = FeatureExtractor(TINY)
    for samples in (560, 561, 719, 720, 16000, 20479, 20480, 20481, 70001):  # chunks of 128 frames are 20480 samples
        noise = rng.normal(size=samples) * 10 ** rng.uniform(-4, 0)
        noise[samples // 3 : samples // 2] = 0.0
        wav = torch.from_numpy(noise.astype(np.float32))
        expected = original(wav.numpy(), sampling_rate=16000, return_tensors="pt")
        filter_banks, mask = ours(wav)
        assert torch.equal(mask, expected["attention_mask"])
        assert torch.allclose(filter_banks, expected["input_features"], atol=2e-6, rtol=0)


def kaldi_filter_banks(wav):
    """(S,) to (T, 80): Kaldi's recipe in float64, written from its documentation."""
    steps = wav.unfold(0, 400, 160).double() * 2**15
    steps = steps - steps.mean(1, keepdim=True)
    before = torch.cat([steps[:, :1], steps[:, :-1]], 1)
    steps = steps - 0.97 * before
    hann = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(400, dtype=torch.float64) / 399)
    power = torch.fft.rfft(steps * hann**0.85, 512).abs().square()  # (T, 257)

    def mel(hertz):
        return 1127 * torch.log1p(hertz / 700)

    low, high = (mel(torch.tensor(edge, dtype=torch.float64)) for edge in (20.0, 8000.0))
    edges = torch.linspace(low.item(), high.item(), 82, dtype=torch.float64)
    position = mel(torch.arange(257, dtype=torch.float64) * 16000 / 512)[:, None]
    rising = (position - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)  # (257, 80)
    return (power @ bank).clamp(min=1.1920928955078125e-07).log()


def test_filter_banks_equal_the_kaldi_recipe(rng):
    tone = np.sin(2 * np.pi * 300 * np.arange(16160) / 16000)
    wav = torch.from_numpy((0.1 * rng.normal(size=16160) + 0.3 * tone).astype(np.float32))
    log_mels = kaldi_filter_banks(wav)
    expected = (log_mels - log_mels.mean(0)) / (log_mels.var(0) + 1e-7).sqrt()
    filter_banks, mask = FeatureExtractor(TINY)(wav)
    assert len(log_mels) == 99
    assert mask.sum() == 49
    assert torch.allclose(filter_banks.reshape(-1, 80)[:99].double(), expected, atol=2e-4)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, MIN_SAMPLES - 1])
def test_audio_without_two_frames_is_an_input_error(samples):
    assert frames(samples) == 0
    with pytest.raises(InputError, match=f"{samples} samples"):
        FeatureExtractor(TINY)(torch.zeros(samples))


def test_broken_audio_is_an_input_error():
    for bad in (float("nan"), float("inf")):
        wav = torch.zeros(1000)
        wav[500] = bad
        with pytest.raises(InputError, match="finite"):
            FeatureExtractor(TINY)(wav)


def test_stereo_is_refused():
    with pytest.raises(ValueError, match="waveform"):
        FeatureExtractor(TINY)(torch.zeros(2, 1000))


@torch.no_grad()
def test_forward_is_finite_frozen_and_deterministic_in_every_mode(tiny, rng):
    wav = torch.from_numpy(rng.normal(size=13280).astype(np.float32) * 0.1)
    tiny.mean.copy_(torch.randn(16))
    tiny.var.copy_(torch.rand(16) + 0.5)
    features = tiny.train()(wav)
    assert features.shape == (1, frames(13280), 16) == (1, 41, 16)
    assert torch.isfinite(features).all()
    assert torch.equal(tiny.eval()(wav), features)
    hidden = tiny.hidden(*tiny.extractor(wav))
    assert torch.allclose(features, (hidden - tiny.mean) / tiny.var**0.5, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in tiny.parameters())


def original(cfg):
    """The uncut model of transformers."""
    transformers = pytest.importorskip("transformers")
    return transformers.Wav2Vec2BertModel(
        transformers.Wav2Vec2BertConfig(
            hidden_size=cfg.hidden_size,
            num_hidden_layers=cfg.num_layers,
            num_attention_heads=cfg.num_heads,
            intermediate_size=cfg.inner_dim,
            feature_projection_input_dim=2 * cfg.mel_bins,
            left_max_position_embeddings=cfg.left_context,
            right_max_position_embeddings=cfg.right_context,
            conv_depthwise_kernel_size=cfg.conv_kernel,
        )
    ).eval()


@pytest.mark.parametrize("samples", [600, 9000, 9160])
@torch.no_grad()
def test_hidden_states_equal_those_of_transformers(tiny, rng, samples):
    """Of the uncut model, asked for all of its hidden states; one frame, and an odd filter bank frame at the end."""
    whole = original(TINY)
    for parameter in tiny.model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.5)
    missing = whole.load_state_dict(tiny.model.state_dict(), strict=False).missing_keys
    assert missing
    assert all(unused_key(key, TINY) for key in missing)
    filter_banks, mask = tiny.extractor(torch.from_numpy(rng.normal(size=samples).astype(np.float32)))
    states = whole(input_features=filter_banks, attention_mask=mask, output_hidden_states=True).hidden_states
    assert torch.allclose(tiny.hidden(filter_banks, mask), states[TINY.layer], atol=1e-5)
    two = torch.cat([filter_banks, filter_banks.flip(1)])
    masks = torch.cat([torch.ones_like(mask), (torch.arange(mask.shape[1]) < max(1, mask.shape[1] // 2))[None].int()])
    states = whole(input_features=two, attention_mask=masks, output_hidden_states=True).hidden_states
    assert torch.allclose(tiny.hidden(two, masks), states[TINY.layer], atol=1e-5)


@torch.no_grad()
def test_initial_weights_are_drawn_as_those_of_transformers(tiny):
    whole = original(TINY).state_dict()
    for name, ours in tiny.model.state_dict().items():
        assert ours.mean() == pytest.approx(float(whole[name].mean()), abs=0.3 * float(whole[name].std() or 1)), name
        assert float(ours.std()) == pytest.approx(float(whole[name].std()), rel=0.5, abs=1e-6), name


@torch.no_grad()
def test_real_speech_and_silence(tiny, real):
    wav, rate = soundfile.read(real / "prompts" / "metis_se_noise.wav", dtype="float32", always_2d=True)
    speech = torch.from_numpy(soxr.resample(wav[: 3 * rate, 0], rate, 16000))
    assert torch.isfinite(tiny(speech)).all()
    assert torch.isfinite(tiny(torch.zeros(8000))).all()


@torch.no_grad()
def test_half_precision_follows_the_weights(tiny, rng):
    wav = torch.from_numpy(rng.normal(size=8000).astype(np.float32))
    assert tiny.bfloat16()(wav).dtype == torch.bfloat16
