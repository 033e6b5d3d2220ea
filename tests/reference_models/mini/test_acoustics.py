"""Rooms and noises: their spectra, levels and decays."""

from __future__ import annotations

import numpy as np
import pytest

from reference_models.mini import acoustics

RATE = 16_000


def spectrum_db(x: np.ndarray, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(x)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / RATE)
    return float(10 * np.log10(power[(hz >= low) & (hz < high)].mean()))


def test_white_is_flat_and_pink_falls_three_decibel_an_octave() -> None:
    white = acoustics.noise("white", 10 * RATE, RATE, acoustics.generator(0))
    pink = acoustics.noise("pink", 10 * RATE, RATE, acoustics.generator(0))
    assert spectrum_db(white, 200, 400) - spectrum_db(white, 3200, 6400) == pytest.approx(0, abs=0.5)
    assert spectrum_db(pink, 200, 400) - spectrum_db(pink, 3200, 6400) == pytest.approx(4 * 3.01, abs=0.5)


def test_hum_has_lines_at_the_mains_and_clicks_are_impulsive() -> None:
    x = acoustics.noise("hum-clicks", 10 * RATE, RATE, acoustics.generator(1))
    assert spectrum_db(x, 99.5, 100.5) - spectrum_db(x, 110, 140) > 20
    high = np.diff(x, n=2)
    assert np.mean(high**4) / np.mean(high**2) ** 2 > 10  # kurtosis; 3 for noise


def test_babble_holds_every_voice_equally_and_needs_some() -> None:
    t = np.arange(RATE) / RATE
    voices = [0.01 * np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 1000 * t)]
    x = acoustics.noise("babble", 2 * RATE, RATE, acoustics.generator(2), voices)
    assert spectrum_db(x, 439, 441) == pytest.approx(spectrum_db(x, 999, 1001), abs=0.5)
    with pytest.raises(ValueError, match="voices"):
        acoustics.noise("babble", RATE, RATE, acoustics.generator(2))


@pytest.mark.parametrize("snr_db", [0, 7, 15])
def test_scaled_noise_has_the_stated_snr(snr_db: int, rng: np.random.Generator) -> None:
    speech, noise = rng.standard_normal(5000), rng.standard_normal(5000) * 3
    scaled = acoustics.scale_to_snr(speech, noise, snr_db)
    assert 10 * np.log10(np.sum(speech**2) / np.sum(scaled**2)) == pytest.approx(snr_db, abs=1e-9)


@pytest.mark.parametrize("t60_s", [0.3, 0.6])
def test_the_room_decays_by_60_db_in_t60(t60_s: float) -> None:
    response = acoustics.impulse_response(RATE, t60_s, acoustics.generator(3))
    energy = np.cumsum(response[:0:-1] ** 2)[::-1]  # Schroeder's backward integral, without the direct sound
    decay = 10 * np.log10(energy / energy[0])
    at_5, at_25 = (int(np.argmax(decay < level)) for level in (-5, -25))
    assert (at_25 - at_5) / RATE * 3 == pytest.approx(t60_s, rel=0.1)
    assert response[0] == 1.0 and np.sum(response[1:] ** 2) == pytest.approx(1.0)


def test_reverberation_is_the_convolution_and_keeps_time(rng: np.random.Generator) -> None:
    speech, response = rng.standard_normal(400), acoustics.impulse_response(RATE, 0.05, acoustics.generator(4))
    np.testing.assert_allclose(acoustics.reverberate(speech, response), np.convolve(speech, response), atol=1e-9)


def test_full_scale_is_refused_not_clipped() -> None:
    assert acoustics.pcm16(np.array([0.5, -0.5])).tolist() == [16384, -16384]
    with pytest.raises(ValueError, match="full scale"):
        acoustics.pcm16(np.array([1.0]))
