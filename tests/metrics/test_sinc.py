"""Windowed sinc resampling against its formula, sample by sample."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metis_bench.metrics.sinc import resample_sinc


def literal(samples: np.ndarray, old: int, new: int) -> np.ndarray:
    """Every output sample as the sum over every input sample of sinc times Hann, both 6 zero crossings wide."""
    cutoff = min(old, new) * 0.99  # Hz of the kernel: twice the pass band's edge
    at = np.arange(len(samples)) / old
    out = []
    for n in range(math.ceil(len(samples) * new / old)):
        t = (at - n / new) * cutoff
        window = np.where(np.abs(t) < 6, np.cos(math.pi * t / 12) ** 2, 0)
        out.append(np.sum(samples * np.sinc(t) * window) * cutoff / old)
    return np.array(out)


@pytest.mark.parametrize(("old", "new"), [(24_000, 16_000), (22_050, 16_000), (48_000, 16_000), (8_000, 16_000)])
@pytest.mark.parametrize("length", [1, 7, 441, 1000])
def test_equals_the_formula(rng: np.random.Generator, old: int, new: int, length: int) -> None:
    samples = rng.standard_normal(length).astype(np.float32)
    ours = resample_sinc(samples, old, new)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, literal(samples, old, new), atol=2e-6)


def test_a_tone_stays_a_tone_and_what_cannot_be_heard_goes() -> None:
    at = np.arange(24_000) / 24_000
    low = resample_sinc(np.float32(np.sin(2 * np.pi * 1000 * at)), 24_000, 16_000)
    np.testing.assert_allclose(
        low[100:-100], np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)[100:-100], atol=2e-3
    )
    high = resample_sinc(np.float32(np.sin(2 * np.pi * 10_500 * at)), 24_000, 16_000)
    assert np.abs(high[100:-100]).max() < 0.01


def test_equal_rates_change_nothing(rng: np.random.Generator) -> None:
    samples = rng.standard_normal(50).astype(np.float32)
    assert resample_sinc(samples, 16_000, 16_000) is samples
