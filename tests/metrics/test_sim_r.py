"""SIM-r: the prompt through a tiny codec of random weights, and only the prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metis_bench.audio import Audio
from metis_bench.config import WEIGHTS as WEIGHTS_FOLDER
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Extractor, MetricContext, Sample, Undefined
from metis_bench.metrics.sim import Sim, SimParams
from metis_bench.metrics.speakers import encodec
from metis_bench.metrics.speakers.base import SpeakerEncoder
from metis_bench.metrics.speakers.encodec import RATE, WEIGHTS, Reconstructed, reconstruct

MakeClip = Callable[[Any, int], Clip]
MakeSample = Callable[..., Sample]


class Hearing(SpeakerEncoder):
    """Its embedding is the first samples at 16 kHz."""

    name = "hearing"

    def signature(self) -> dict[str, JSON]:
        return {"name": self.name}

    def extract(self, clip: Clip) -> JSON:
        return [float(x) for x in clip.audio(16_000).samples[:64]]


@pytest.fixture
def codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny EncodecModel in the user's folder."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    config = EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16, codebook_size=1024, num_lstm_layers=1)
    model = EncodecModel(config).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("codebook.embed"):
            buffer.normal_()
    monkeypatch.setenv(WEIGHTS_FOLDER, str(tmp_path))
    encodec._codec.cache_clear()
    model.save_pretrained(tmp_path / WEIGHTS.name)
    return model


def wave(seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(int(seconds * rate)).astype(np.float32) * 0.1


def test_the_codec_runs_at_6_kbps_and_keeps_the_length(codec: Any) -> None:
    audio = Audio(wave(), RATE)
    with torch.inference_mode():
        codes = codec.encode(torch.from_numpy(audio.samples)[None, None], bandwidth=6.0)
        expected = codec.decode(codes.audio_codes, codes.audio_scales)[0][0, 0].numpy()
    assert codes.audio_codes.shape[2] == 8, "codebooks of 0.75 kbit/s each"
    made = reconstruct(audio)
    assert made.rate == RATE and len(made.samples) == len(audio.samples)
    np.testing.assert_allclose(made.samples, expected[: len(audio.samples)], atol=1e-5)
    assert np.abs(made.samples - audio.samples).max() > 0.01


def test_the_encoder_hears_the_codec(codec: Any, make_clip: MakeClip) -> None:
    through = Reconstructed(Hearing()).extract(make_clip(wave(), RATE))
    expected = reconstruct(Audio(wave(), RATE)).resampled(16_000).samples[:64]
    np.testing.assert_array_equal(np.float32(through), expected)  # type: ignore[arg-type]


def test_only_the_prompt_goes_through_it(codec: Any, make_sample: MakeSample) -> None:
    metric = Sim(SimParams(pair="reconstructed"), MetricContext("tts", "en", ()))
    assert metric.needs == {"prompt"}
    (column,) = metric.columns
    assert (column.id, column.direction, column.worst, column.headline) == ("sim.ge2e.rec", "higher", -1.0, False)
    sample = make_sample(np.ones(10), 16_000, prompt=np.ones(12))
    asked: list[tuple[str, bool]] = []

    def feature(extractor: Extractor, clip: Clip) -> JSON:
        asked.append((extractor.name, clip is sample.prompt))
        return [3.0, 4.0] if clip is sample.prompt else [1.0, 0.0]

    scores = metric.score(replace(sample, feature=feature))
    assert scores["sim.ge2e.rec"].value == pytest.approx(0.6)
    assert asked == [("ge2e", False), ("encodec_24khz", True)]
    with pytest.raises(ItemError, match="no prompt"):
        metric.score(make_sample(np.ones(10), 16_000))


@pytest.mark.parametrize(
    ("samples", "reason"), [(np.zeros(RATE), "the audio is silent"), (wave(0.03), "0.030 s of audio is too short")]
)
def test_silence_does_not_become_codec_noise(codec: Any, make_clip: MakeClip, samples: np.ndarray, reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        Reconstructed(Hearing()).extract(make_clip(samples, RATE))


def test_a_feature_is_known_by_encoder_and_codec(codec: Any, tmp_path: Path) -> None:
    first = Reconstructed(Hearing()).signature()
    assert first["encoder"] == Hearing().signature() != first
    with torch.no_grad():
        next(codec.parameters()).add_(1.0)
    codec.save_pretrained(tmp_path / WEIGHTS.name)
    assert Reconstructed(Hearing()).signature() != first


def test_a_missing_codec_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_FOLDER, str(tmp_path))
    with pytest.raises(MissingPrerequisite, match=r"encodec_24khz.*MIT") as told:
        Reconstructed(Hearing()).check()
    assert "hf download facebook/encodec_24khz" in str(told.value)
