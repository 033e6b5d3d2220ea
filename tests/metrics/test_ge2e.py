"""The GE2E encoder against the resemblyzer package itself, on synthetic and on real audio."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.metrics.base import Clip, Undefined
from metis_bench.metrics.sim import cosine
from metis_bench.metrics.speakers.base import encoders
from metis_bench.metrics.speakers.ge2e import Ge2e, partial_starts, raise_volume

MakeClip = Callable[[Any, int], Clip]


@pytest.fixture(scope="module")
def original() -> Any:
    """resemblyzer's own encoder."""
    resemblyzer = pytest.importorskip("resemblyzer", exc_type=ImportError)
    return resemblyzer.VoiceEncoder("cpu", verbose=False)


@pytest.fixture(autouse=True, scope="module")
def _weights() -> None:
    from importlib.util import find_spec

    if find_spec("resemblyzer") is None:
        pytest.skip("needs the resemblyzer wheel")


def voice(seconds: float, f0: float = 120.0, rate: int = 16_000) -> np.ndarray:
    """A buzz with a syllable rhythm."""
    t = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * f0 * t[:, None] * np.arange(1, 20)).sum(1) * (1.1 + np.sin(2 * np.pi * 4 * t)) / 60


def theirs(original: Any, samples: np.ndarray) -> list[float]:
    from resemblyzer.audio import normalize_volume

    return [float(x) for x in original.embed_utterance(normalize_volume(samples, -30, increase_only=True))]


def test_partials_are_theirs(original: Any) -> None:
    for n in [1, 159, 160, 25_599, 25_600, *range(1000, 120_000, 37)]:
        slices = original.compute_partial_slices(n, 1.3, 0.75)[1]
        assert partial_starts(n) == [s.start for s in slices], n


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.6, 2.9, 7.77])
@pytest.mark.parametrize("gain", [0.001, 1.0])
def test_equal_on_synthetic_audio(original: Any, make_clip: MakeClip, seconds: float, gain: float) -> None:
    samples = (voice(seconds) * gain).astype(np.float32)
    ours = Ge2e().extract(make_clip(samples, 16_000))
    assert cosine(ours, theirs(original, samples)) > 0.999999  # type: ignore[arg-type]
    np.testing.assert_allclose(ours, theirs(original, samples), atol=1e-5)  # type: ignore[arg-type]


def test_equal_on_real_audio(original: Any, real: Path, make_clip: MakeClip) -> None:
    files = [
        *sorted((real / "seedtts/en/prompt-wavs").glob("*.wav"))[::2],
        *sorted(real.glob("metrics_ref/vox1_data/*/*.wav")),
    ]
    assert len(files) >= 6
    for file in files:
        audio = load(file, 16_000)
        ours = Ge2e().extract(make_clip(audio.samples, 16_000))
        assert cosine(ours, theirs(original, audio.samples)) > 0.999999, file  # type: ignore[arg-type]


def test_feature_is_a_unit_vector_of_float32(make_clip: MakeClip) -> None:
    feature = Ge2e().extract(make_clip(voice(2.0), 16_000))
    assert isinstance(feature, list) and len(feature) == 256
    assert all(type(x) is float and len(repr(x)) <= 16 for x in feature)
    np.testing.assert_array_equal(np.float32(feature).astype(str).astype(float), feature)
    assert np.linalg.norm(feature) == pytest.approx(1.0, abs=1e-6)
    assert feature == Ge2e().extract(make_clip(voice(2.0), 16_000))


def test_level_does_not_matter_below_the_target_only(make_clip: MakeClip) -> None:
    quiet = raise_volume(np.float32(voice(1.0) * 0.001))
    assert 20 * np.log10(np.sqrt(np.mean(quiet**2))) == pytest.approx(-30.0, abs=1e-3)
    loud = np.float32(voice(1.0))
    assert raise_volume(loud) is loud


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(16_000), "the audio is silent"),
        (np.full(16_000, 2e-6), "the audio is silent"),
        (voice(0.24), "0.240 s of audio is too short"),
    ],
)
def test_no_embedding(make_clip: MakeClip, samples: np.ndarray, reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        Ge2e().extract(make_clip(samples, 16_000))


def test_the_clip_is_resampled(make_clip: MakeClip) -> None:
    low, high = (Ge2e().extract(make_clip(voice(2.0, rate=rate), rate)) for rate in (16_000, 48_000))
    assert cosine(low, high) > 0.99  # type: ignore[arg-type]


def test_silence_inside_is_kept_and_harmless(make_clip: MakeClip) -> None:
    feature = Ge2e().extract(make_clip(np.concatenate([voice(1.0), np.zeros(64_000)]), 16_000))
    assert np.isfinite(feature).all()  # type: ignore[arg-type]


def test_signature() -> None:
    signature = Ge2e().signature()
    assert (signature["name"], signature["rate"], signature["vad"]) == ("ge2e", 16_000, "none")
    assert len(str(signature["weights_sha256"])) == 64
    assert encoders.get("ge2e") is Ge2e
