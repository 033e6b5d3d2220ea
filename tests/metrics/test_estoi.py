from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.metrics.alignment import AlignParams
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.estoi import Estoi, estoi
from tests.metrics.conftest import MakeSample

RATE = 16_000


def speechlike(rng: np.random.Generator, seconds: float = 3.0) -> np.ndarray:
    """Noise in syllables of 4 a second, quiet at the end: what ESTOI's envelopes react to."""
    t = np.arange(int(seconds * RATE)) / RATE
    envelope = np.clip(
        np.sin(2 * np.pi * 4 * t) + rng.uniform(-0.3, 0.3, len(t) // 800 + 1).repeat(800)[: len(t)], 0, 1
    )
    x = 0.1 * envelope * rng.standard_normal(len(t))
    x[-1600:] = 0
    return x


def value(metric: Estoi, sample: object) -> float:
    (score,) = metric.score(sample).values()  # type: ignore[arg-type]
    assert score.status == "ok" and score.value is not None
    return score.value


def test_alignment_restores_a_shifted_output(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], rng: np.random.Generator
) -> None:
    x = speechlike(rng)
    y = x + 0.01 * rng.standard_normal(len(x))
    aligned, literal = Estoi(AlignParams(), make_context()), Estoi(AlignParams(align="none"), make_context())
    in_place = value(aligned, make_sample(y, RATE, reference=x))
    shifted = make_sample(np.pad(y, (640, 0)), RATE, reference=x)
    assert value(aligned, shifted) == pytest.approx(in_place, abs=0.01)
    assert value(literal, shifted) < in_place - 0.3
    assert aligned.score(shifted)["estoi.xcorr50ms"].detail["delay_ms"] == 40.0
    assert aligned.signature() != literal.signature()
    assert [m.columns[0].id for m in (aligned, literal)] == ["estoi.xcorr50ms", "estoi.none"]


def test_equals_pystoi(rng: np.random.Generator) -> None:
    pystoi = pytest.importorskip("pystoi")
    x = speechlike(rng)
    y = x + 0.05 * rng.standard_normal(len(x))
    assert estoi(x, y) == pytest.approx(pystoi.stoi(x, y, RATE, extended=True), abs=1e-9)


def test_repeats_exactly_and_leaves_the_global_generator_alone(rng: np.random.Generator) -> None:
    x = speechlike(rng)
    y = x.copy()
    y[RATE:] = 0  # silent bands: pystoi fills them from numpy's global generator
    before = np.random.get_state()[1].copy()
    first = estoi(x, y)
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.standard_normal(7)
    assert estoi(x, y) == first


def test_too_little_speech_is_undefined(rng: np.random.Generator) -> None:
    x = speechlike(rng)
    with pytest.raises(Undefined, match="too_short"):
        estoi(x[:5000], x[:5000])
    mostly_silent = np.zeros(2 * RATE)
    mostly_silent[:3000] = rng.standard_normal(3000)
    with pytest.raises(Undefined, match="too_short"):
        estoi(mostly_silent, mostly_silent)
    for length in (1, 200, 410, 6000):
        with pytest.raises(Undefined, match="too_short"):
            estoi(x[1000 : 1000 + length], x[1000 : 1000 + length])


def test_silent_output_is_undefined(make_sample: MakeSample, make_context: Callable[..., MetricContext]) -> None:
    x = speechlike(np.random.default_rng(1))
    with pytest.raises(Undefined, match="silence"):
        Estoi(AlignParams(), make_context()).score(make_sample(np.zeros(len(x)), RATE, reference=x))
    assert metrics.get("estoi") is Estoi


def test_real_noisy_speech_collapses_without_alignment(
    real: Path, make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    folder = real / "voicebank_demand"
    clean = load(folder / "clean_trainset_28spk_wav_16k" / "p287_003.wav", RATE).samples
    noisy = load(folder / "noisy_trainset_28spk_wav_16k" / "p287_003.wav", RATE).samples
    aligned, literal = Estoi(AlignParams(), make_context()), Estoi(AlignParams(align="none"), make_context())
    in_place = value(literal, make_sample(noisy, RATE, reference=clean))
    late = make_sample(np.pad(noisy, (720, 0)), RATE, reference=clean)
    assert value(literal, late) < 0.6 * in_place
    assert value(aligned, late) == pytest.approx(in_place, abs=0.02)
