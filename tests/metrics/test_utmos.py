from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metis_bench.audio import load
from metis_bench.config import WEIGHTS
from metis_bench.corpora.base import Params
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics._utmos import Utmos22Strong, UtmosConfig, load_utmos
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.sinc import resample_sinc
from metis_bench.metrics.utmos import Utmos
from tests.metrics.conftest import MakeSample, Wave

RATE = 16_000
TINY = UtmosConfig(conv_width=8, width=32, hidden=48, heads=4, layers=2, position_kernel=16, position_groups=4)
FILE = "utmos22_strong_step7459_v1.pt"


def random_state(config: UtmosConfig) -> dict[str, Tensor]:
    """Every tensor of the checkpoint, random: no gain of one and no bias of zero that would hide a mistake."""
    torch.manual_seed(0)
    state = Utmos22Strong(config).state_dict()
    return {name: t + 0.1 * torch.randn(t.shape) for name, t in state.items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of weights, still empty, and nobody's home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(folder: Path, make_context: Callable[..., MetricContext]) -> Utmos:
    """The metric over a tiny random model in the real key layout."""
    torch.save(random_state(TINY), folder / FILE)
    metric = Utmos(Params(), make_context())
    metric.config = TINY
    metric.check()
    return metric


def speechlike(seconds: float, rate: int = RATE, level: float = 0.1) -> Wave:
    t = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20))
    return np.asarray(level * voice * (np.sin(2 * np.pi * 3 * t) > -0.3), dtype=np.float32)


def value(metric: Utmos, samples: Wave, rate: int, make_sample: MakeSample) -> float:
    score = metric.score(make_sample(samples, rate))["utmos"]
    assert score.status == "ok" and score.value is not None
    return score.value


def transformers_wav2vec2(state: Mapping[str, Tensor], config: UtmosConfig) -> nn.Module:
    """Hugging Face's wav2vec 2.0 with the same weights under its own names."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    model = Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.hidden,
            conv_dim=[config.conv_width] * len(config.convs),
            conv_kernel=[k for k, _ in config.convs],
            conv_stride=[s for _, s in config.convs],
            num_conv_pos_embeddings=config.position_kernel,
            num_conv_pos_embedding_groups=config.position_groups,
            feat_extract_norm="group",
            do_stable_layer_norm=False,
            layer_norm_eps=1e-5,
        )
    )
    renames = {
        "mask_emb": "masked_spec_embed",
        "layer_norm.weight": "feature_projection.layer_norm.weight",
        "layer_norm.bias": "feature_projection.layer_norm.bias",
        "post_extract_proj.weight": "feature_projection.projection.weight",
        "post_extract_proj.bias": "feature_projection.projection.bias",
        "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
        "encoder.pos_conv.0.weight_g": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_v": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "feature_extractor.conv_layers.0.2.weight": "feature_extractor.conv_layers.0.layer_norm.weight",
        "feature_extractor.conv_layers.0.2.bias": "feature_extractor.conv_layers.0.layer_norm.bias",
    }
    parts = {
        "self_attn_layer_norm": "layer_norm",
        "self_attn": "attention",
        "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense",
    }
    mapped = {}
    for full, tensor in state.items():
        prefix, _, name = full.partition(".")
        if prefix != "wav2vec2":
            continue
        if name not in renames and name.startswith("feature_extractor."):
            name = name.replace(".0.weight", ".conv.weight")
        elif name not in renames:
            words = name.split(".")
            name = ".".join(parts.get(word, word) for word in words)
        mapped[renames.get(name, name)] = tensor
    model.load_state_dict(mapped, strict=True)
    return model.eval()


def reference(state: Mapping[str, Tensor], wave: Tensor, config: UtmosConfig) -> float:
    """UTMOS written a second time, from transformers' wav2vec 2.0 and plain arithmetic."""
    with torch.inference_mode():
        x = transformers_wav2vec2(state, config)(wave[None]).last_hidden_state[0]  # (frames, width)
        given = torch.cat([state["domain_emb"][0], state["judge_emb"][0]])
        x = torch.cat([x, given.repeat(len(x), 1)], dim=1)
        directions = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            w_ih, w_hh, b_ih, b_hh = (
                state[f"blstm.{n}_l0{suffix}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h, c, outputs = torch.zeros(config.lstm), torch.zeros(config.lstm), []
            for frame in x if order == 1 else x.flip(0):
                i, f, g, o = (w_ih @ frame + b_ih + w_hh @ h + b_hh).chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                outputs.append(h)
            directions.append(torch.stack(outputs[::order]))
        hidden = torch.cat(directions, dim=1) @ state["projection.0.weight"].T + state["projection.0.bias"]
        scores = hidden.relu() @ state["projection.2.weight"].T + state["projection.2.bias"]
        return float(3 + 2 * scores.mean())


@pytest.mark.parametrize("length", [400, 720, 16_000, 16_321])
def test_equals_an_independent_reference(tmp_path: Path, length: int) -> None:
    state = random_state(TINY)
    torch.save(state, tmp_path / FILE)
    wave = torch.from_numpy(speechlike(2.0)[:length].copy()) + 0.01 * torch.randn(length)
    with torch.inference_mode():
        got = float(load_utmos(tmp_path / FILE, TINY)(wave[None])[0])
    assert got == pytest.approx(reference(state, wave, TINY), abs=1e-5)


def test_layout_is_the_checkpoints() -> None:
    """Names and shapes of the released file: 225 tensors (tarepan/SpeechMOS v1.2.0: the model's state_dict)."""
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in Utmos22Strong().state_dict().items()}
    assert len(shapes) == 225
    assert sum(int(np.prod(s)) for s in shapes.values()) == 102_772_865
    assert UtmosConfig().receptive_field == 400
    some = {
        "domain_emb": (1, 128),
        "judge_emb": (1, 128),
        "wav2vec2.mask_emb": (768,),
        "wav2vec2.feature_extractor.conv_layers.0.0.weight": (512, 1, 10),
        "wav2vec2.feature_extractor.conv_layers.0.2.bias": (512,),
        "wav2vec2.feature_extractor.conv_layers.6.0.weight": (512, 512, 2),
        "wav2vec2.encoder.pos_conv.0.weight_g": (1, 1, 128),
        "wav2vec2.encoder.pos_conv.0.weight_v": (768, 48, 128),
        "wav2vec2.encoder.layers.11.self_attn.k_proj.bias": (768,),
        "wav2vec2.encoder.layers.0.fc1.weight": (3072, 768),
        "wav2vec2.encoder.layers.0.final_layer_norm.bias": (768,),
        "blstm.weight_ih_l0_reverse": (2048, 1024),
        "projection.2.weight": (1, 2048),
    }
    assert {name: shapes.get(name) for name in some} == some


def test_column_and_signature(tiny: Utmos, make_context: Callable[..., MetricContext], folder: Path) -> None:
    (column,) = tiny.columns
    assert (column.id, column.direction, column.worst, column.headline) == ("utmos", "higher", 1.0, True)
    assert not Utmos(Params(), make_context(language="zh")).columns[0].headline
    before = tiny.signature()
    assert set(before["weights"]) == {FILE}  # type: ignore[arg-type]
    torch.save({}, folder / FILE)
    assert tiny.signature() != before, "other weights, another signature"
    assert metrics.get("utmos") is Utmos


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 0.3), np.zeros(0)])
def test_nothing_wins_by_saying_nothing(tiny: Utmos, make_sample: MakeSample, samples: Wave) -> None:
    with pytest.raises(Undefined, match="silence"):
        tiny.score(make_sample(samples, RATE))


def test_less_than_a_frame_is_undefined(tiny: Utmos, make_sample: MakeSample) -> None:
    with pytest.raises(Undefined, match="too_short: 399"):
        tiny.score(make_sample(speechlike(1.0)[:399], RATE))
    assert np.isfinite(value(tiny, speechlike(0.03), RATE, make_sample)), "30 ms: one frame, as the original scores it"


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 44_100, 48_000])
def test_other_rates_are_resampled_as_the_original_does(tiny: Utmos, make_sample: MakeSample, rate: int) -> None:
    samples = speechlike(1.0, rate)
    assert value(tiny, samples, rate, make_sample) == value(tiny, resample_sinc(samples, rate, RATE), RATE, make_sample)


def test_level_counts_and_clipping_is_heard(tiny: Utmos, make_sample: MakeSample) -> None:
    heard = [speechlike(1.0), np.clip(speechlike(1.0, level=5.0), -1, 1), speechlike(1.0, level=5.0)]
    assert len({value(tiny, x, RATE, make_sample) for x in heard}) == 3


def test_two_channels_are_their_mean(tiny: Utmos, make_sample: MakeSample, tmp_path: Path) -> None:
    import soundfile

    left, right = speechlike(1.0), speechlike(1.0, level=0.05)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    audio = load(tmp_path / "two.wav")
    expected = value(tiny, (left + right) / 2, RATE, make_sample)
    assert value(tiny, audio.samples, audio.rate, make_sample) == pytest.approx(expected, abs=1e-5)


def test_a_clip_does_not_depend_on_the_ones_before(tiny: Utmos, make_sample: MakeSample) -> None:
    first = value(tiny, speechlike(1.0), RATE, make_sample)
    value(tiny, speechlike(2.0), RATE, make_sample)
    assert value(tiny, speechlike(1.0), RATE, make_sample) == first


def test_missing_weights_name_file_licence_and_place(folder: Path, make_context: Callable[..., MetricContext]) -> None:
    with pytest.raises(MissingPrerequisite) as error:
        Utmos(Params(), make_context()).check()
    message = f"{error.value} {error.value.fix}"
    for part in ("metric 'utmos'", FILE, "MIT", "tarepan/SpeechMOS", str(folder / FILE)):
        assert part in message


def damage(path: Path, kind: str) -> None:
    state: dict[str, Any] = random_state(TINY)
    if kind == "a key less":
        del state["blstm.weight_hh_l0"]
    elif kind == "a key more":
        state["phoneme_encoder.weight"] = torch.zeros(1)
    elif kind == "another shape":
        state["projection.2.weight"] = torch.zeros(1, 7)
    elif kind == "an object":
        state["domain_emb"] = Path("a")
    elif kind == "no tensor":
        state["domain_emb"] = 3
    torch.save([1] if kind == "a list" else state, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "text":
        path.write_text("<html>not found</html>")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("a key less", r"1 keys missing \(blstm.weight_hh_l0\)"),
        ("a key more", r"1 keys unknown \(phoneme_encoder.weight\)"),
        ("another shape", r"projection.2.weight is \(1, 7\), not \(1, 2048\)"),
        ("an object", ""),
        ("no tensor", ""),
        ("a list", ""),
        ("cut", ""),
        ("text", ""),
    ],
)
def test_wrong_weights_are_said_to_be(tmp_path: Path, kind: str, reason: str) -> None:
    damage(tmp_path / FILE, kind)
    with pytest.raises(MissingPrerequisite, match=f"not the weights of UTMOS22 strong: .*{reason}") as error:
        load_utmos(tmp_path / FILE, TINY)
    assert FILE in str(error.value) and "tarepan/SpeechMOS" in str(error.value.fix)


def test_planning_does_not_import_torch() -> None:
    code = (
        "import sys\nfrom metis_bench.corpora.base import Params\nfrom metis_bench.metrics.base import MetricContext\n"
        "from metis_bench.metrics.nisqa import Nisqa, NisqaParams\nfrom metis_bench.metrics.utmos import Utmos\n"
        "context = MetricContext('tts', 'en', ())\n"
        "print([c.id for m in (Utmos(Params(), context), Nisqa(NisqaParams(), context)) for c in m.columns])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
