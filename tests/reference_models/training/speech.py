"""Speech made from numbers: no recording is needed to test what is done to one."""

from __future__ import annotations

import numpy as np

from reference_models.mini.acoustics import generator
from reference_models.seeds import derive_seed
from reference_models.speech import Speech
from reference_models.training.sources import Utterance


def talk(seed: int, seconds: float = 2.0, rate: int = 16_000, pitch: float = 120.0) -> Speech:
    """Harmonics of a moving pitch through two resonances, in syllables, over some hiss."""
    rng = np.random.RandomState(seed)
    t = np.arange(round(seconds * rate)) / rate
    f0 = pitch * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * t + seed))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    samples = np.zeros_like(t)
    for k in range(1, int(rate / 2 / (1.1 * pitch))):
        gain = sum(np.exp(-(((k * pitch - centre) / 300) ** 2)) for centre in (600, 1800)) + 0.02
        samples += gain * np.sin(k * phase) / 4
    samples *= 0.2 * (0.2 + np.sin(2 * np.pi * 2.5 * t + seed) ** 2)
    return Speech((samples + 0.001 * rng.standard_normal(len(t))).astype(np.float32), rate)


def stream(*name: str | int) -> np.random.RandomState:
    """A generator for a name."""
    return generator(derive_seed(*name))


def utterances(count: int = 6, speakers: int = 3, **about: float) -> list[Utterance]:
    """`count` utterances, the speakers in turn."""
    return [
        Utterance(
            f"u{i}", lambda i=i: talk(i, pitch=100 + 30 * (i % speakers), **about), None, "en", f"s{i % speakers}"
        )
        for i in range(count)
    ]
