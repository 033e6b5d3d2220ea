"""Rooms and noises made from numbers: every sample follows from a seed, so a corpus can be made again anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Kind: TypeAlias = Literal["white", "pink", "babble", "hum-clicks"]
KINDS: tuple[Kind, ...] = ("white", "pink", "babble", "hum-clicks")

MAINS_HZ = 50.0
CLICKS_PER_S = 4.0
PEAK = 0.95  # full scale that no file exceeds


def generator(seed: int) -> np.random.RandomState:
    """The legacy generator: numpy promises that its streams never change, which `default_rng` does not."""
    return np.random.RandomState(seed)


def rms(x: F64) -> float:
    """Root mean square of the whole signal."""
    return float(np.sqrt(np.mean(x**2)))


def noise(kind: Kind, length: int, rate: int, rng: np.random.RandomState, voices: Sequence[F64] = ()) -> F64:
    """(length,) noise at `rate` Hz, not yet scaled. `voices`: the talkers of babble (each at least one sample)."""
    if kind == "white":
        return rng.standard_normal(length)
    if kind == "pink":
        return _pink(length, rng)
    if kind == "babble":
        return _babble(length, rng, voices)
    return _hum_and_clicks(length, rate, rng)


def _pink(length: int, rng: np.random.RandomState) -> F64:
    """Power falls with 1/f (3 dB an octave), no DC."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    bins = np.arange(len(spectrum), dtype=np.float64)
    bins[0] = np.inf
    return np.fft.irfft(spectrum / np.sqrt(bins), length)


def _babble(length: int, rng: np.random.RandomState, voices: Sequence[F64]) -> F64:
    """Every voice in a loop from a random point, all equally loud."""
    if not voices:
        raise ValueError("babble needs voices")
    out = np.zeros(length)
    for voice in voices:
        start = rng.randint(len(voice))
        out += np.resize(np.roll(voice, -start), length) / rms(voice)
    return out


def _hum_and_clicks(length: int, rate: int, rng: np.random.RandomState) -> F64:
    """Mains hum (odd and even harmonics, falling) and short decaying clicks, with some hiss under them."""
    t = np.arange(length) / rate
    hum = sum(np.sin(2 * np.pi * MAINS_HZ * k * t + rng.uniform(0, 2 * np.pi)) / k for k in range(1, 9))
    out: F64 = np.asarray(hum, dtype=np.float64) + 0.1 * rng.standard_normal(length)
    for at in rng.randint(length, size=max(1, round(CLICKS_PER_S * length / rate))):
        click = rng.standard_normal(round(0.004 * rate)) * np.exp(-np.arange(round(0.004 * rate)) / (0.001 * rate))
        out[at : at + len(click)] += 8.0 * click[: length - at]
    return out


def scale_to_snr(speech: F64, noise: F64, snr_db: float) -> F64:
    """`noise` scaled so that the energies of `speech` and it, over the whole file, are `snr_db` apart."""
    return noise * (rms(speech) / rms(noise) * 10 ** (-snr_db / 20))


def impulse_response(rate: int, t60_s: float, rng: np.random.RandomState, direct_db: float = 0.0) -> F64:
    """A room: the direct sound, then Gaussian noise from 5 ms on that decays by 60 dB in `t60_s`.

    direct_db: energy of the direct sound over the tail's. Length: `t60_s`. The direct sound is sample 0, so that
    reverberant speech stays aligned with the dry one.
    """
    length = round(t60_s * rate)
    tail = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / (t60_s * rate))
    tail[: round(0.005 * rate)] = 0.0
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def reverberate(speech: F64, response: F64) -> F64:
    """(T,) speech in a room, (T + len(response) - 1,): nothing of the tail is cut."""
    size = len(speech) + len(response) - 1
    return np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(response, size), size)


def pcm16(x: F64) -> NDArray[np.int16]:
    """16-bit samples. Raises ValueError above full scale: clipping is the caller's mistake."""
    scaled = np.round(x * 32768.0)
    if len(scaled) and np.abs(scaled).max() > 32767:
        raise ValueError("samples above full scale")
    return scaled.astype(np.int16)
