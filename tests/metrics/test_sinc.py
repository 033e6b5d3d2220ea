from __future__ import annotations

import math

import numpy as np
import pytest

from metis_bench.metrics._sinc import sinc_resample


def by_definition(x: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Each output sample as its own sum over the input, in double precision: a windowed sinc of six zero crossings."""
    common = math.gcd(from_rate, to_rate)
    down, up = from_rate // common, to_rate // common
    cutoff = 0.99 * min(up, down) / down  # of the input's rate
    out = np.empty(math.ceil(len(x) * up / down))
    for n in range(len(out)):
        distance = (np.arange(len(x)) - n * down / up) * cutoff  # in zero crossings
        window = np.where(np.abs(distance) < 6, np.cos(np.clip(distance, -6, 6) * np.pi / 12) ** 2, 0.0)
        out[n] = np.sum(x * np.sinc(distance) * window) * cutoff
    return out


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(48_000, 16_000), (44_100, 16_000), (24_000, 16_000), (8_000, 16_000), (16_000, 22_050)]
)
@pytest.mark.parametrize("length", [1, 7, 1001])
def test_equals_its_definition(rng: np.random.Generator, from_rate: int, to_rate: int, length: int) -> None:
    x = rng.standard_normal(length).astype(np.float32)
    got = sinc_resample(x, from_rate, to_rate)
    assert got.dtype == np.float32 and len(got) == math.ceil(length * to_rate / from_rate)
    np.testing.assert_allclose(got, by_definition(x, from_rate, to_rate), atol=2e-6)


def test_a_tone_stays_a_tone_and_what_is_too_high_goes(rng: np.random.Generator) -> None:
    t = np.arange(48_000) / 48_000
    low, high = (np.sin(2 * np.pi * f * t).astype(np.float32) for f in (1_000, 12_000))
    expected = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    inner = slice(100, -100)
    np.testing.assert_allclose(sinc_resample(low, 48_000, 16_000)[inner], expected[inner], atol=2e-3)
    assert np.abs(sinc_resample(high, 48_000, 16_000)[inner]).max() < 2e-3


def test_the_same_rate_is_untouched_and_nothing_stays_nothing(rng: np.random.Generator) -> None:
    x = rng.standard_normal(100).astype(np.float32)
    assert sinc_resample(x, 16_000, 16_000) is x
    assert len(sinc_resample(x[:0], 48_000, 16_000)) == 0
