"""Mel filters and power spectrogram against librosa, and against what they must be by definition."""

from __future__ import annotations

import numpy as np
import pytest

from metis_bench.metrics.mel import power_spectrogram, slaney_mel

SHAPES = [(16_000, 400, 160, 40), (16_000, 321, 160, 120), (24_000, 1024, 256, 80)]


def test_a_tone_is_where_it_should_be() -> None:
    t = np.arange(16_000) / 16_000
    power = power_spectrogram(np.sin(2 * np.pi * 1000 * t), 400, 160)
    assert power.shape == (201, 101)
    assert power[:, 50].argmax() == 25  # 1000 Hz / 40 Hz a bin
    assert power[25, 50] == pytest.approx(100.0**2)  # amplitude 1 times half the window's sum of 200, squared


def test_filters_cover_the_range_and_sum_to_their_area() -> None:
    filters = slaney_mel(16_000, 4096, 20, fmin=100.0, fmax=7000.0)
    hz = np.fft.rfftfreq(4096, 1 / 16_000)
    assert filters.shape == (20, 2049)
    assert (filters >= 0).all()
    assert not filters[:, (hz < 100) | (hz > 7000)].any()
    np.testing.assert_allclose(filters.sum(1) * (hz[1] - hz[0]), 1.0, rtol=2e-3)


def test_too_short_without_padding() -> None:
    with pytest.raises(ValueError, match="399 samples are shorter than one frame of 400"):
        power_spectrogram(np.zeros(399), 400, 160, center=False)
    assert power_spectrogram(np.zeros(0), 400, 160).shape == (201, 1)


@pytest.mark.parametrize(("rate", "n_fft", "hop", "n_mels"), SHAPES)
def test_equal_to_librosa(rng: np.random.Generator, rate: int, n_fft: int, hop: int, n_mels: int) -> None:
    librosa = pytest.importorskip("librosa")
    x = rng.standard_normal(rate)
    np.testing.assert_allclose(
        slaney_mel(rate, n_fft, n_mels), librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels), atol=1e-8
    )
    theirs = librosa.feature.melspectrogram(y=x, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels)
    ours = slaney_mel(rate, n_fft, n_mels) @ power_spectrogram(x, n_fft, hop)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for center in (True, False):
        stft = librosa.stft(x, n_fft=n_fft, hop_length=hop, center=center, pad_mode="reflect")
        np.testing.assert_allclose(power_spectrogram(x, n_fft, hop, center, "reflect"), np.abs(stft) ** 2, atol=1e-6)
