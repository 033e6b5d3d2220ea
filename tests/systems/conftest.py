"""Requests, systems and signals for the tests of the systems."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.systems.base import Request, System, systems


@pytest.fixture
def make_request() -> Callable[..., Request]:
    """Request(...) with defaults for what a test does not care about."""

    def make(**fields: Any) -> Request:
        return Request(**{"id": "item", "task": "se", "language": "en", "seed": 0, **fields})

    return make


@pytest.fixture
def build() -> Callable[..., System]:
    """A checked and set-up system by its registered name; skips the test where its package is not installed."""

    def make(name: str, **params: Any) -> System:
        cls = systems.get(name)
        for package in cls.packages:
            pytest.importorskip(package)
        system = cls(cls.params_type(**params))
        system.check()
        system.setup()
        return system

    return make


@pytest.fixture
def voice() -> Callable[..., Audio]:
    """A voice-like sound: harmonics of a gliding pitch below 3.4 kHz, in syllables with pauses between them."""

    def make(seconds: float, rate: int, level: float = 0.1) -> Audio:
        time = np.arange(round(seconds * rate)) / rate
        pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time)
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        harmonics = sum(np.sin(k * phase) / k for k in range(1, 23))
        syllables = np.clip(np.sin(2 * np.pi * 2 * time), 0, None) ** 0.5
        return Audio((level * syllables * harmonics).astype(np.float32), rate)

    return make


@pytest.fixture
def with_noise() -> Callable[..., Audio]:
    """The audio plus seeded white noise at an SNR in dB."""

    def add(clean: Audio, snr_db: float = 5.0, seed: int = 0) -> Audio:
        noise = np.random.default_rng(seed).standard_normal(len(clean.samples))
        level = np.sqrt(np.mean(clean.samples**2) / 10 ** (snr_db / 10))
        return Audio((clean.samples + level * noise).astype(np.float32), clean.rate)

    return add


@pytest.fixture
def write_wav() -> Callable[[Path, Audio], Path]:
    """Write audio to a wav file."""

    def write(path: Path, audio: Audio) -> Path:
        path.write_bytes(encode_wav(audio))
        return path

    return write


@pytest.fixture
def si_sdr() -> Callable[[np.ndarray, np.ndarray], float]:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019)."""

    def measure(reference: np.ndarray, estimate: np.ndarray) -> float:
        reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
        target = reference * (estimate @ reference) / (reference @ reference)
        return float(10 * np.log10((target @ target) / np.sum((target - estimate) ** 2)))

    return measure
