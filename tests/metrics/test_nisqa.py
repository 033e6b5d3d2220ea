from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torchmetrics.functional.audio import nisqa as port

from metis_bench.audio import load
from metis_bench.config import WEIGHTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics import _nisqa
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.nisqa import Nisqa, NisqaParams
from tests.metrics.conftest import MakeSample, Wave

RATE = 16_000
SETTINGS = {  # `args` of the real file, those that the network or the spectrogram read
    "ms_sr": None,
    "ms_fmax": 20000,
    "ms_n_fft": 4096,
    "ms_hop_length": 0.01,
    "ms_win_length": 0.02,
    "ms_n_mels": 48,
    "ms_seg_length": 15,
    "ms_seg_hop_length": 4,
    "ms_max_segments": 1300,
    "cnn_model": "adapt",
    "cnn_c_out_1": 16,
    "cnn_c_out_2": 32,
    "cnn_c_out_3": 64,
    "cnn_kernel_size": (3, 3),
    "cnn_dropout": 0.2,
    "cnn_pool_1": [24, 7],
    "cnn_pool_2": [12, 5],
    "cnn_pool_3": [6, 3],
    "td": "self_att",
    "td_sa_d_model": 64,
    "td_sa_nhead": 1,
    "td_sa_num_layers": 2,
    "td_sa_h": 64,
    "td_sa_dropout": 0.1,
    "pool": "att",
    "pool_att_h": 128,
    "pool_att_dropout": 0,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of weights, still empty, and nobody's home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    return tmp_path


@pytest.fixture
def random_weights(folder: Path) -> Path:
    """A nisqa.tar in the real format, of random numbers: the licence of the real one forbids to ship it."""
    torch.manual_seed(0)
    state = port._NISQADIM(SETTINGS).state_dict()
    torch.save({"args": SETTINGS, "model_state_dict": state}, folder / "nisqa.tar")
    return folder / "nisqa.tar"


@pytest.fixture
def true_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = shared / "data" / "weights" / "nisqa.tar"
    if not path.is_file():
        pytest.skip("needs NISQA's weights, which may not be shipped")
    monkeypatch.setenv(WEIGHTS, str(path.parent))
    return path


def build(context: MetricContext, **params: Any) -> Nisqa:
    metric = Nisqa(NisqaParams(**params), context)
    metric.check()
    return metric


def speechlike(seconds: float, rate: int = RATE, level: float = 0.1) -> Wave:
    t = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20))
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(t))
    return np.asarray(level * voice * (np.sin(2 * np.pi * 3 * t) > -0.3) + noise, dtype=np.float32)


def official(weights: Path, samples: Wave, rate: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """torchmetrics' public function; nothing may be downloaded."""
    pytest.importorskip("librosa", reason="torchmetrics' own path needs librosa")
    monkeypatch.setattr(port, "NISQA_DIR", str(weights.parent))
    monkeypatch.setattr(port, "_download_weights", lambda: pytest.fail("the weights would be downloaded"))
    port._load_nisqa_model.cache_clear()
    try:
        values = port.non_intrusive_speech_quality_assessment(torch.from_numpy(np.array(samples)), rate)
    finally:
        port._load_nisqa_model.cache_clear()
    return [float(v) for v in values]


def values(metric: Nisqa, samples: Wave, rate: int, make_sample: MakeSample) -> list[float]:
    scores = metric.score(make_sample(samples, rate))
    return [v for v in (scores[c.id].value for c in metric.columns) if v is not None]


def real_files(real: Path) -> list[Path]:
    """12 recordings at 16 to 48 kHz, 2 to 15 s."""
    files: list[Path] = []
    for folder, count in {"prompts": 4, "voicebank_demand": 2, "clean_speech": 2, "vctk": 2, "seedtts": 2}.items():
        found = sorted(p for p in (real / folder).rglob("*") if p.suffix in {".wav", ".flac"})
        files += [found[round(i)] for i in np.linspace(0, len(found) - 1, count)]
    return files


@pytest.mark.long
def test_equals_torchmetrics_on_real_audio(
    true_weights: Path,
    real: Path,
    make_sample: MakeSample,
    make_context: Callable[..., MetricContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its float32 spectrogram differs from ours, in double precision, by rounding: up to four steps of a float32."""
    at_16k, native = build(make_context()), build(make_context(), rate="native")
    worst, rates = 0.0, set()
    for file in real_files(real):
        audio = load(file)
        rates.add(audio.rate)
        for metric, heard in ((at_16k, audio.resampled(RATE)), (native, audio)):
            expected = official(true_weights, heard.samples, heard.rate, monkeypatch)
            got = values(metric, audio.samples, audio.rate, make_sample)
            worst = max(worst, float(np.abs(np.subtract(got, expected)).max()))
    print(f"largest difference {worst:.2e}")
    assert worst < 5e-6
    assert {16_000, 24_000} <= rates


MEASURED = {  # MOS at 16 kHz, at the file's own 24 kHz and at 48 kHz, by torchmetrics 1.9.0 and the official weights
    "metis_tts_prompt": (4.63, 4.61, 4.61),
    "metis_vc_prompt": (4.66, 4.06, 4.08),
    "metis_tse_prompt": (3.52, 2.86, 2.86),
    "metis_l2s_prompt": (3.51, 2.67, 2.68),
}


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_the_rate_changes_the_score_as_measured_before(
    true_weights: Path, real: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext], name: str
) -> None:
    audio = load(real / "prompts" / f"{name}.wav")
    for rate, expected in zip((16_000, "native", 48_000), MEASURED[name], strict=True):
        metric = build(make_context(), rate=rate)
        score = metric.score(make_sample(audio.samples, audio.rate))[metric.columns[0].id]
        assert score.value == pytest.approx(expected, abs=0.0051)
        assert score.detail["rate"] == (audio.rate if rate == "native" else rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_equals_torchmetrics_with_random_weights(
    random_weights: Path,
    make_sample: MakeSample,
    make_context: Callable[..., MetricContext],
    monkeypatch: pytest.MonkeyPatch,
    rate: int,
) -> None:
    metric = build(make_context(), rate="native")
    for seconds in (0.145, 1.7):
        expected = official(random_weights, speechlike(seconds, rate), rate, monkeypatch)
        got = values(metric, speechlike(seconds, rate), rate, make_sample)
        assert got == pytest.approx(expected, abs=5e-6)


def test_the_network_is_bit_identical_given_the_same_spectrogram(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = speechlike(2.0)
    expected = official(random_weights, samples, RATE, monkeypatch)
    spectrogram = port._get_librosa_melspec(samples[None], RATE, SETTINGS)[0]
    np.testing.assert_allclose(_nisqa.log_mel(samples, RATE, SETTINGS), spectrogram, atol=1e-4)
    monkeypatch.setattr(_nisqa, "log_mel", lambda *_: spectrogram)
    got = _nisqa.nisqa(_nisqa.nisqa_model(random_weights), samples, RATE)
    assert list(got.values()) == expected
    assert tuple(got) == ("mos", "noisiness", "discontinuity", "coloration", "loudness"), "torchmetrics' order"


def test_columns_carry_the_rate(random_weights: Path, make_context: Callable[..., MetricContext]) -> None:
    names = {16_000: "16k", "native": "native", 48_000: "48k"}
    signatures = []
    for rate, name in names.items():
        metric = build(make_context(), rate=rate)
        assert [c.id for c in metric.columns] == [f"nisqa.{name}.{d}" for d in _nisqa.DIMENSIONS]
        assert [c.headline for c in metric.columns] == [True] + [False] * 4
        assert {(c.direction, c.worst, c.decimals) for c in metric.columns} == {("higher", 1.0, 2)}
        signatures.append(metric.signature())
    assert all(a != b for i, a in enumerate(signatures) for b in signatures[:i])
    assert metrics.get("nisqa") is Nisqa
    with pytest.raises(ValueError, match="rate"):
        NisqaParams.model_validate({"rate": 24_000})


@pytest.mark.parametrize("rate", [16_000, "native", 48_000])
def test_length_limits(
    random_weights: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext], rate: Any
) -> None:
    metric = build(make_context(), rate=rate)
    for seconds in (0.14, 52.0):
        assert len(metric.score(make_sample(speechlike(seconds), RATE))) == 5
    for seconds, reason in ((0.139, "too_short"), (0.03, "too_short"), (52.16, "too_long")):
        with pytest.raises(Undefined, match=reason):
            metric.score(make_sample(speechlike(seconds), RATE))


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 0.3), np.zeros(0)])
def test_nothing_wins_by_saying_nothing(
    random_weights: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext], samples: Wave
) -> None:
    with pytest.raises(Undefined, match="silence"):
        build(make_context()).score(make_sample(samples, RATE))


def test_level_counts_and_clipping_is_heard(
    random_weights: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    metric = build(make_context())
    heard = [speechlike(2.0, level=0.1), speechlike(2.0, level=0.01), np.clip(speechlike(2.0, level=5.0), -1, 1)]
    scores = [values(metric, x, RATE, make_sample) for x in heard]
    assert all(len(v) == 5 and np.isfinite(v).all() for v in scores)
    assert scores[0] != scores[1] != scores[2]


def test_two_channels_are_their_mean(
    random_weights: Path, tmp_path: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    left, right = speechlike(1.0), speechlike(1.0, level=0.05)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    audio = load(tmp_path / "two.wav")
    metric = build(make_context())
    expected = values(metric, (left + right) / 2, RATE, make_sample)
    assert values(metric, audio.samples, audio.rate, make_sample) == pytest.approx(expected, abs=1e-5)


def test_missing_weights_name_file_licence_and_place(folder: Path, make_context: Callable[..., MetricContext]) -> None:
    with pytest.raises(MissingPrerequisite) as error:
        build(make_context())
    message = f"{error.value} {error.value.fix}"
    for part in ("metric 'nisqa'", "nisqa.tar", "CC BY-NC-SA 4.0", "gabrielmittag/NISQA", str(folder / "nisqa.tar")):
        assert part in message


def damaged(path: Path, kind: str) -> None:
    checkpoint = torch.load(path, weights_only=True)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not found")
    elif kind == "other":
        torch.save({"state_dict": {}}, path)
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "one key less":
        checkpoint["model_state_dict"].popitem()
        torch.save(checkpoint, path)
    else:
        torch.save({**checkpoint, "args": Path("a")}, path)  # an object: refused, not executed


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "other", "list", "one key less", "object"])
def test_damaged_weights_are_said_to_be(random_weights: Path, kind: str) -> None:
    damaged(random_weights, kind)
    with pytest.raises(MissingPrerequisite, match="not the weights of NISQA v2") as error:
        _nisqa.nisqa_model(random_weights)
    assert "nisqa.tar" in str(error.value.fix)


def test_scoring_needs_neither_librosa_nor_the_network(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("librosa", "requests", "_download_weights"):
        monkeypatch.setattr(port, name, None)
    assert len(_nisqa.nisqa(_nisqa.nisqa_model(random_weights), speechlike(1.0), RATE)) == 5
