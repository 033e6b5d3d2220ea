from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metis_bench.metrics.alignment import AlignParams
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.si_sdr import SiSdr, si_sdr
from tests.metrics.conftest import MakeSample


def orthogonal(s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Zero-mean noise orthogonal to s, with the energy of s."""
    s = s - s.mean()
    n = rng.standard_normal(len(s))
    n -= n.mean()
    n -= s * (n @ s) / (s @ s)
    return n * np.sqrt((s @ s) / (n @ n))


@pytest.mark.parametrize("snr", [-10.0, 0.0, 7.5, 30.0])
def test_known_mixture_has_its_snr(rng: np.random.Generator, snr: float) -> None:
    s = rng.standard_normal(16_000)
    x = (s - s.mean()) + 10 ** (-snr / 20) * orthogonal(s, rng)
    assert si_sdr(s, x) == pytest.approx(snr, abs=1e-3)
    assert si_sdr(3 * s + 0.2, 0.1 * x - 0.7) == pytest.approx(snr, abs=1e-3), "scale and mean do not matter"


def test_ends_of_the_scale(rng: np.random.Generator) -> None:
    s = rng.standard_normal(4_000)
    assert si_sdr(s, s) == 100.0
    assert si_sdr(s, orthogonal(s, rng)) == -100.0
    with pytest.raises(Undefined, match="silence"):
        si_sdr(s, np.full(4_000, 0.1))


def test_agrees_with_torchmetrics(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torchmetrics.functional.audio").scale_invariant_signal_distortion_ratio
    s = rng.standard_normal(8_000)
    x = s + 0.3 * rng.standard_normal(8_000) + 0.5
    expected = float(theirs(torch.from_numpy(x), torch.from_numpy(s), zero_mean=True))
    assert si_sdr(s, x) == pytest.approx(expected, abs=1e-6)


def test_metric_aligns_unless_told(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], rng: np.random.Generator
) -> None:
    s = (0.1 * rng.standard_normal(32_000)).astype(np.float32)
    s[-800:] = 0
    sample = make_sample(np.pad(s, (640, 0)), 16_000, reference=s)
    assert metrics.get("si_sdr") is SiSdr
    aligned = SiSdr(AlignParams(), make_context()).score(sample)["si_sdr"]
    literal = SiSdr(AlignParams(align="none"), make_context()).score(sample)["si_sdr"]
    assert aligned.value == 100.0 and aligned.detail["delay_ms"] == 40.0
    assert literal.value is not None and literal.value < -10
    a, b = (SiSdr(AlignParams(align=m), make_context()).signature() for m in ("xcorr50ms", "none"))
    assert a != b


def test_truncation_does_not_look_better(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], rng: np.random.Generator
) -> None:
    s = 0.1 * rng.standard_normal(32_000)
    noisy = s + 0.02 * rng.standard_normal(32_000)
    metric = SiSdr(AlignParams(), make_context())
    full, half = (metric.score(make_sample(x, 16_000, reference=s))["si_sdr"].value for x in (noisy, noisy[:16_000]))
    assert full is not None and half is not None and half < full - 5
