"""The papers' speaker encoder, tiny and with random weights, against literal references of both of its halves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from metis_bench.config import WEIGHTS as WEIGHTS_FOLDER
from metis_bench.errors import MissingPrerequisite, SuiteError
from metis_bench.metrics.base import Clip, MetricContext, Undefined
from metis_bench.metrics.sim import Sim, SimParams
from metis_bench.metrics.speakers._ecapa import SpeakerModel, SpeakerSizes
from metis_bench.metrics.speakers._wavlm import WavLMSizes
from metis_bench.metrics.speakers.base import encoders
from metis_bench.metrics.speakers.wavlm_large import UNUSED, WEIGHTS, WavLMLarge, _model

MakeClip = Callable[[Any, int], Clip]
State = dict[str, Tensor]

WAVLM = WavLMSizes(
    convolutions=((16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2),
    width=32,
    hidden=48,
    layers=3,
    heads=4,
    position_kernel=16,
    position_groups=4,
    buckets=16,
    max_distance=20,
)
TINY = SpeakerSizes(WAVLM, channels=32, scale=8, squeezed=12, pooled=24, attention=10, embedding=20)


class Tiny(WavLMLarge):
    """The encoder at a size that a test can write."""

    sizes = TINY


def random_state(seed: int = 0) -> State:
    """A checkpoint's tensors, those that are not used among them, none of them trivial."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in SpeakerModel(TINY).state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith(("running_var", "weight_g")):
            state[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            scale = 1.4 / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 0.3
            state[name] = torch.randn(tensor.shape, generator=generator) * scale
            if "norm.weight" in name or (".bn" in name and name.endswith("weight")) or name.endswith("2.1.weight"):
                state[name] += 1.0
    state["feature_extract.model.mask_emb"] = torch.randn(WAVLM.width, generator=generator)
    state["loss_calculator.projection.weight"] = torch.randn(5, TINY.embedding, generator=generator)
    return state


def write(folder: Path, state: State) -> Path:
    """In the published file's format."""
    path = folder / WEIGHTS.name
    torch.save({"model": state, "best_valid_eer": 0.431}, path)
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of weights."""
    monkeypatch.setenv(WEIGHTS_FOLDER, str(tmp_path))
    _model.cache_clear()
    return tmp_path


@pytest.fixture(scope="module")
def network() -> tuple[SpeakerModel, State]:
    """A network and its tensors."""
    state = random_state()
    model = SpeakerModel(TINY).eval()
    model.load_state_dict({k: v for k, v in state.items() if k not in UNUSED})
    return model, state


def waves(rows: int = 2, seconds: float = 1.0) -> Tensor:
    """(rows, T): a tone of each row's own in syllables of its own, and noise."""
    at = torch.arange(int(16_000 * seconds)) / 16_000
    row = torch.arange(rows)[:, None]
    tones = torch.sin(2 * torch.pi * 200 * 3**row * at) * (torch.sin(2 * torch.pi * (3 + 4 * row) * at) > 0)
    return 0.2 * tones + 0.02 * torch.randn(tones.shape, generator=torch.Generator().manual_seed(1))


# --- ECAPA-TDNN, from the tensors alone, one operation a line -------------------------------------------------


def conv_relu_norm(s: State, name: str, x: Tensor, conv: str = ".conv", bn: str = ".bn", **how: int) -> Tensor:
    y = torch.relu(torch.conv1d(x, s[f"{name}{conv}.weight"], s[f"{name}{conv}.bias"], **how))
    mean, var = s[f"{name}{bn}.running_mean"], s[f"{name}{bn}.running_var"]
    y = (y - mean[:, None]) / torch.sqrt(var[:, None] + 1e-5)
    return y * s[f"{name}{bn}.weight"][:, None] + s[f"{name}{bn}.bias"][:, None]


def se_res2_block(s: State, name: str, x: Tensor, dilation: int) -> Tensor:
    y = conv_relu_norm(s, f"{name}.Conv1dReluBn1", x)
    width = y.shape[1] // 8
    parts = []
    for i in range(7):
        part = y[:, i * width : (i + 1) * width]
        if i > 0:
            part = part + parts[i - 1]
        names = {"conv": f".convs.{i}", "bn": f".bns.{i}"}
        parts.append(conv_relu_norm(s, f"{name}.Res2Conv1dReluBn", part, **names, padding=dilation, dilation=dilation))  # type: ignore[arg-type]
    parts.append(y[:, 7 * width :])
    y = conv_relu_norm(s, f"{name}.Conv1dReluBn2", torch.cat(parts, 1))
    gate = y.mean(2) @ s[f"{name}.SE_Connect.linear1.weight"].T + s[f"{name}.SE_Connect.linear1.bias"]
    gate = torch.relu(gate) @ s[f"{name}.SE_Connect.linear2.weight"].T + s[f"{name}.SE_Connect.linear2.bias"]
    return x + y / (1 + torch.exp(-gate[:, :, None]))


def literal_ecapa(s: State, states: list[Tensor]) -> Tensor:
    """From WavLM's states, (B, T, C) each, to the embedding."""
    weights = torch.exp(s["feature_weight"]) / torch.exp(s["feature_weight"]).sum()
    x = sum(weight * state for weight, state in zip(weights, states, strict=True))
    assert isinstance(x, Tensor)
    x = x.transpose(1, 2) + 1e-6
    x = (x - x.mean(2, keepdim=True)) / torch.sqrt(x.var(2, keepdim=True, unbiased=False) + 1e-5)
    first = conv_relu_norm(s, "layer1", x, padding=2)
    second = se_res2_block(s, "layer2", first, 2)
    third = se_res2_block(s, "layer3", second, 3)
    fourth = se_res2_block(s, "layer4", third, 4)
    x = torch.relu(torch.conv1d(torch.cat([second, third, fourth], 1), s["conv.weight"], s["conv.bias"]))
    score = torch.tanh(torch.conv1d(x, s["pooling.linear1.weight"], s["pooling.linear1.bias"]))
    score = torch.conv1d(score, s["pooling.linear2.weight"], s["pooling.linear2.bias"])
    alpha = torch.exp(score) / torch.exp(score).sum(2, keepdim=True)
    mean = (alpha * x).sum(2)
    std = torch.sqrt(torch.clamp((alpha * x * x).sum(2) - mean * mean, min=1e-9))
    x = torch.cat([mean, std], 1)
    x = (x - s["bn.running_mean"]) / torch.sqrt(s["bn.running_var"] + 1e-5) * s["bn.weight"] + s["bn.bias"]
    return x @ s["linear.weight"].T + s["linear.bias"]


def test_the_speaker_half_is_the_published_one(network: tuple[SpeakerModel, State]) -> None:
    model, state = network
    with torch.inference_mode():
        theirs = literal_ecapa(state, model.feature_extract["model"](waves()))
        ours = model(waves())
    assert ours.shape == (2, 20)
    assert (ours[0] - ours[1]).abs().max() > 0.1, "it hears the difference"
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


# --- WavLM, against the transformers library --------------------------------------------------------------------

RENAMED = (
    ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
    ("self_attn_layer_norm.", "layer_norm."),
    ("self_attn.relative_attention_bias.", "attention.rel_attn_embed."),
    ("self_attn.grep_linear.", "attention.gru_rel_pos_linear."),
    ("self_attn.grep_a", "attention.gru_rel_pos_const"),
    ("self_attn.", "attention."),
    ("fc1.", "feed_forward.intermediate_dense."),
    ("fc2.", "feed_forward.output_dense."),
    ("post_extract_proj.", "feature_projection.projection."),
)


def theirs_of(name: str) -> str:
    """The transformers library's name of a WavLM parameter."""
    name = name.removeprefix("feature_extract.model.")
    if name.startswith("feature_extractor."):
        return name.replace(".2.1.", ".layer_norm.") if ".2.1." in name else name.replace(".0.weight", ".conv.weight")
    if name.startswith("layer_norm."):
        return f"feature_projection.{name}"
    for ours, theirs in RENAMED:
        if ours in name:
            return name.replace(ours, theirs)
    return name


def test_the_wavlm_half_is_that_of_transformers(network: tuple[SpeakerModel, State]) -> None:
    from transformers import WavLMConfig, WavLMModel

    dims, kernels, strides = zip(*WAVLM.convolutions, strict=True)
    config = WavLMConfig(
        conv_dim=dims,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=False,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        hidden_size=WAVLM.width,
        intermediate_size=WAVLM.hidden,
        num_hidden_layers=WAVLM.layers,
        num_attention_heads=WAVLM.heads,
        num_conv_pos_embeddings=WAVLM.position_kernel,
        num_conv_pos_embedding_groups=WAVLM.position_groups,
        num_buckets=WAVLM.buckets,
        max_bucket_distance=WAVLM.max_distance,
        mask_time_prob=0.0,
    )
    model, state = network
    theirs = WavLMModel(config).eval()
    prefix = "feature_extract.model."
    theirs.load_state_dict({theirs_of(k): v for k, v in state.items() if k.startswith(prefix) and k not in UNUSED})
    wave = waves()
    with torch.inference_mode():
        ours = model.feature_extract["model"](wave)
        normed = torch.nn.functional.layer_norm(wave, wave.shape[1:])
        made = theirs(normed, output_hidden_states=True)
    # s3prl takes the encoder's output, after its last norm; what `hidden_states` ends with differs by version
    expected = [*made.hidden_states[: WAVLM.layers], made.last_hidden_state]
    assert len(ours) == len(expected) == WAVLM.layers + 1 and ours[0].shape[1] == 49 > 2 * WAVLM.max_distance
    for a, b in zip(ours, expected, strict=True):
        assert b.std() > 0.05
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_published_sizes_have_the_published_keys() -> None:
    """The published file holds 711 tensors, 488 of them WavLM's, and two of all are of training alone."""
    with torch.device("meta"):
        names = set(SpeakerModel(SpeakerSizes()).state_dict())
    assert not names & UNUSED
    assert len(names | UNUSED) == 711
    assert sum(name.startswith("feature_extract.model.") for name in names | UNUSED) == 488


# --- the encoder ------------------------------------------------------------------------------------------------


def test_from_the_file_to_the_embedding(folder: Path, make_clip: MakeClip, network: tuple[SpeakerModel, State]) -> None:
    model, state = network
    write(folder, state)
    wave = waves(1)
    feature = Tiny().extract(make_clip(wave[0].numpy(), 16_000))
    with torch.inference_mode():
        expected = literal_ecapa(state, model.feature_extract["model"](wave))[0]
    np.testing.assert_allclose(feature, expected, atol=1e-5)  # type: ignore[arg-type]
    assert encoders.get("wavlm_large_finetune") is WavLMLarge


def test_what_stands_beside_a_clip_and_its_level_change_nothing(folder: Path, make_clip: MakeClip) -> None:
    write(folder, random_state())
    clips = [make_clip(waves(1, seconds)[0].numpy(), 24_000) for seconds in (1.0, 0.6, 1.7)]
    together = Tiny().extract_all(clips)
    for clip, feature in zip(clips, together, strict=True):
        np.testing.assert_allclose(feature, Tiny().extract(clip), atol=1e-5)  # type: ignore[arg-type]
    louder = Tiny().extract(make_clip(waves(1)[0].numpy() * 5, 24_000))
    np.testing.assert_allclose(louder, together[0], atol=2e-3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(16_000), "the audio is silent"),
        (np.full(16_000, 2e-6), "the audio is silent"),
        (waves(1, 0.03)[0].numpy(), "0.030 s of audio is too short"),
        (np.ones(1), "too short"),
    ],
)
def test_no_embedding(folder: Path, make_clip: MakeClip, samples: np.ndarray, reason: str) -> None:
    write(folder, random_state())
    with pytest.raises(Undefined, match=reason):
        Tiny().extract(make_clip(samples, 16_000))


@pytest.mark.parametrize("samples", [np.full(16_000, 0.3), waves(1, 0.25)[0].numpy(), waves(1)[0].numpy() * 100])
def test_an_odd_clip_has_a_finite_embedding(folder: Path, make_clip: MakeClip, samples: np.ndarray) -> None:
    write(folder, random_state())
    assert np.isfinite(Tiny().extract(make_clip(samples, 16_000))).all()  # type: ignore[arg-type]


def test_a_feature_is_known_by_its_weights(folder: Path) -> None:
    write(folder, random_state())
    first = Tiny().signature()
    assert first["resampling"] == "sinc-hann:6:0.99" and len(str(first["weights_sha256"])) == 64
    assert first == Tiny().signature()
    write(folder, random_state(1))
    assert Tiny().signature() != first


def test_missing_weights_are_told(folder: Path) -> None:
    metric = Sim(SimParams(model="wavlm_large_finetune"), MetricContext("tts", "en", ()))
    with pytest.raises(MissingPrerequisite) as told:
        metric.check()
    for part in ("wavlm_large_finetune.pth", "CC BY-SA", str(folder), "drive.google.com", "k2-fsa/TTS_eval_models"):
        assert part in str(told.value)
    write(folder, random_state())
    metric.check()
    assert metric.columns[0].id == "sim.wavlm_large_finetune"


def refused(folder: Path, make_clip: MakeClip) -> str:
    with pytest.raises(SuiteError) as told:
        Tiny().extract(make_clip(waves(1)[0].numpy(), 16_000))
    assert str(folder / WEIGHTS.name) in str(told.value)
    return str(told.value)


def test_every_key_is_accounted_for(folder: Path, make_clip: MakeClip) -> None:
    state = random_state()
    del state["layer3.SE_Connect.linear2.bias"]
    state["layer5.conv.weight"] = torch.ones(1)
    state["bn.weight"] = torch.ones(3)
    write(folder, state)
    told = refused(folder, make_clip)
    assert "1 missing:" in told and "layer3.SE_Connect.linear2.bias" in told
    assert "1 unexpected:" in told and "layer5.conv.weight" in told
    assert "bn.weight [3] instead of [48]" in told


def test_the_wrong_file_is_told(folder: Path, make_clip: MakeClip) -> None:
    path = write(folder, random_state())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(folder, make_clip)
    path.write_bytes(b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>")
    assert "web page" in refused(folder, make_clip)
    torch.save({"state_dict": {}}, path)
    assert "no entry 'model', only state_dict" in refused(folder, make_clip)
    torch.save({"model": io.BytesIO}, path)
    assert "code" in refused(folder, make_clip)
    state = random_state()
    state["linear.bias"][0] = float("nan")
    write(folder, state)
    assert "linear.bias holds numbers that are not finite" in refused(folder, make_clip)
