from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.lsd import Lsd, LsdParams, lsd
from tests.metrics.conftest import MakeSample, Wave

RATE = 16_000


def ssr_eval(reference: Wave, output: Wave, rate: int) -> float:
    """What ssr_eval computes, written again with librosa: log10 of powers, no decibel."""
    librosa = pytest.importorskip("librosa", reason="the reference's spectra are librosa's")
    n_fft, hop = int(2048 / (44100 / rate)), int(rate / 100)
    target, estimate = (np.abs(librosa.stft(x, n_fft=n_fft, hop_length=hop)) for x in (reference, output))
    frames = []
    for t, e in zip(target.T, estimate.T, strict=True):
        frames.append(
            np.sqrt(np.mean([np.log10(a**2 / (b + 1e-12) ** 2 + 1e-12) ** 2 for a, b in zip(t, e, strict=True)]))
        )
    return float(np.mean(frames))


def noise(seconds: float = 1.0, rate: int = RATE, seed: int = 0) -> Wave:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_equals_ssr_eval_times_ten(rate: int) -> None:
    x, y = noise(0.5, rate), noise(0.5, rate) + 0.5 * noise(0.5, rate, seed=1)
    assert lsd(x, y, rate) == pytest.approx(10 * ssr_eval(x, y, rate), abs=1e-6)


def test_equals_ssr_eval_on_real_speech(real: Path) -> None:
    folder = real / "voicebank_demand"
    clean, noisy = (
        load(folder / f"{kind}_trainset_28spk_wav_16k" / "p287_003.wav", RATE).samples.astype(np.float64)
        for kind in ("clean", "noisy")
    )
    assert lsd(clean, noisy, RATE) == pytest.approx(10 * ssr_eval(clean, noisy, RATE), abs=1e-6)
    assert 3 < lsd(clean, noisy, RATE) < 30


def test_known_values() -> None:
    x = noise()
    assert lsd(x, x, RATE) == pytest.approx(0.0, abs=1e-9)
    for gain, decibel in ((10.0, 20.0), (0.5, 6.0206)):
        assert lsd(x, gain * x, RATE) == pytest.approx(decibel, abs=1e-3), "a gain is its own distance"


def test_columns_and_signature(make_context: Callable[..., MetricContext]) -> None:
    at_16k, native = Lsd(LsdParams(), make_context()), Lsd(LsdParams(rate="native"), make_context())
    assert [m.columns[0].id for m in (at_16k, native)] == ["lsd.16k", "lsd.native"]
    assert (at_16k.columns[0].direction, at_16k.columns[0].worst, at_16k.columns[0].unit) == ("lower", 100.0, "dB")
    literal = Lsd(LsdParams(align="none"), make_context())
    assert at_16k.signature() != native.signature() and at_16k.signature() != literal.signature()
    assert metrics.get("lsd") is Lsd


def test_aligns_unless_told(make_sample: MakeSample, make_context: Callable[..., MetricContext]) -> None:
    x = noise()
    x[-800:] *= 1e-3
    late = make_sample(np.pad(x, (640, 0)), RATE, reference=x)
    aligned = Lsd(LsdParams(), make_context()).score(late)["lsd.16k"]
    literal = Lsd(LsdParams(align="none"), make_context()).score(late)["lsd.16k"]
    assert aligned.value == pytest.approx(0.0, abs=1e-3) and aligned.detail["delay_ms"] == 40.0
    assert literal.value is not None and literal.value > 5


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 0.3), np.zeros(0)])
def test_silence_is_undefined(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], samples: Wave
) -> None:
    metric = Lsd(LsdParams(), make_context())
    with pytest.raises(Undefined, match="silence: the output"):
        metric.score(make_sample(samples, RATE, reference=noise()))
    with pytest.raises(Undefined, match="silence: the reference"):
        metric.score(make_sample(noise(), RATE, reference=samples))
    with pytest.raises(Undefined, match="no_reference"):
        metric.score(make_sample(noise(), RATE))


def test_missing_speech_costs_more_than_bad_speech(
    make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    metric = Lsd(LsdParams(), make_context())
    values = [
        metric.score(make_sample(y, RATE, reference=noise()))["lsd.16k"].value
        for y in (noise(), np.clip(30 * noise(), -1, 1), noise()[:12_000], noise(0.03))
    ]
    assert all(v is not None and np.isfinite(v) for v in values)
    assert values == sorted(values, key=lambda v: v or 0.0), "clipped < cut at 3/4 < 30 ms"
    assert values[3] is not None and values[3] > 100


def test_rates(make_sample: MakeSample, make_context: Callable[..., MetricContext]) -> None:
    sample = make_sample(noise(rate=48_000), 48_000, reference=noise(rate=48_000))
    for rate, heard in ((16_000, 16_000), ("native", 48_000)):
        metric = Lsd(LsdParams.model_validate({"rate": rate}), make_context())
        (score,) = metric.score(sample).values()
        assert score.value == pytest.approx(0.0, abs=1e-6) and score.detail["rate"] == heard
