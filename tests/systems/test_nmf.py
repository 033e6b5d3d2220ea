"""Extraction by spectra: the factorisation against its definition, then whose voice comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import Audio, load
from metis_bench.systems.nmf import factorise

Make = Callable[..., Any]


def divergence(v: np.ndarray, w: np.ndarray, h: np.ndarray) -> float:
    """Generalised Kullback-Leibler divergence (Lee & Seung 2001, eq. 3)."""
    return float(np.sum(v * np.log(v / (w @ h)) - v + w @ h))


def test_every_update_lowers_the_divergence_and_known_spectra_stay(rng: np.random.Generator) -> None:
    v, known = rng.uniform(0.1, 1, (30, 50)), rng.uniform(0.1, 1, (30, 4))
    known /= known.sum(axis=0)
    fits = []
    for iterations in (1, 2, 5, 20, 100):
        w, h = factorise(v, known, 3, iterations, np.random.RandomState(0))
        np.testing.assert_array_equal(w[:, :4], known)
        np.testing.assert_allclose(w.sum(axis=0), 1)
        fits.append(divergence(v, w, h))
    assert fits == sorted(fits, reverse=True) and fits[-1] < 0.9 * fits[0]


def test_an_exact_product_is_found(rng: np.random.Generator) -> None:
    w, h = np.kron(np.eye(3), np.ones((4, 1))) + 1e-6, rng.uniform(0.1, 1, (3, 60))
    found_w, found_h = factorise(w @ h, None, 3, 500, np.random.RandomState(1))
    assert divergence(w @ h, found_w, found_h) < 1e-3 * float((w @ h).sum())
    assert divergence(w @ h, *factorise(w @ h, None, 2, 500, np.random.RandomState(1))) > 1e-2 * float((w @ h).sum())


def two_voices() -> tuple[Audio, Audio, Audio]:
    """Two sounds without a common partial, and another melody of the first one's timbre."""
    time = np.arange(32_000) / 16_000
    beat = np.sign(np.sin(2 * np.pi * 3 * time)) * 0.4 + 0.6
    first = sum(np.sin(2 * np.pi * 220 * k * time) / k for k in (1, 2, 3)) * beat
    second = sum(np.sin(2 * np.pi * 310 * k * time) / k for k in (1, 2, 3)) * beat[::-1]
    enrolment = sum(np.sin(2 * np.pi * 220 * k * time + k) / k for k in (1, 2, 3))
    return tuple(Audio((0.1 * x).astype(np.float32), 16_000) for x in (first, second, enrolment))  # type: ignore[return-value]


def test_the_enrolled_voice_comes_out(build: Make, make_request: Make, si_sdr: Make) -> None:
    first, second, enrolment = two_voices()
    mixture = Audio(first.samples + second.samples, 16_000)
    system = build("nmf-tse")
    request = make_request(task="tse", source=mixture, prompt=enrolment)
    out = system.generate(request)
    assert (out.rate, out.samples.shape, out.samples.dtype) == (16_000, mixture.samples.shape, np.float32)
    assert si_sdr(first.samples, out.samples) > si_sdr(first.samples, mixture.samples) + 10
    other = system.generate(make_request(task="tse", source=mixture, prompt=second))
    assert si_sdr(second.samples, other.samples) > si_sdr(second.samples, mixture.samples) + 10


def test_seeds_decide_and_nothing_else(build: Make, make_request: Make) -> None:
    first, second, enrolment = two_voices()
    request = make_request(task="tse", source=Audio(first.samples + second.samples, 16_000), prompt=enrolment)
    system = build("nmf-tse", iterations=10)
    one = system.generate(request).samples
    other = system.generate(replace(request, seed=1)).samples
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(system.generate(request).samples, one)


def test_a_prompt_at_another_rate_and_silence(build: Make, make_request: Make, si_sdr: Make) -> None:
    first, second, enrolment = two_voices()
    mixture = Audio(first.samples + second.samples, 16_000)
    system = build("nmf-tse", iterations=30)
    request = make_request(task="tse", source=mixture, prompt=enrolment.resampled(24_000))
    assert si_sdr(first.samples, system.generate(request).samples) > 10
    nothing = Audio(np.zeros(8_000, np.float32), 16_000)
    for fields in ({"source": nothing}, {"prompt": nothing}):
        assert np.isfinite(system.generate(replace(request, **fields)).samples).all()


def test_real_mixtures_follow_the_enrolment(build: Make, make_request: Make, si_sdr: Make, real: Path) -> None:
    """From the same mixture, each talker comes out better with his own enrolment than with the other's."""
    system, folder = build("nmf-tse"), real / "libri2mix" / "Libri2Mix/wav16k/min/test"
    enrolled = json.loads((real / "libri2mix" / "enrollment_librispeech.json").read_text())
    gains = []
    for path in sorted((folder / "mix_clean").glob("*.wav"))[:4]:
        prompts = [load(real / enrolled[f"{path.stem}|{utterance}"][0]) for utterance in path.stem.split("_")]
        targets = [load(folder / name / path.name).samples for name in ("s1", "s2")]
        outputs = [system.generate(make_request(task="tse", source=load(path), prompt=p)).samples for p in prompts]
        gains += [si_sdr(targets[i], outputs[i]) - si_sdr(targets[i], outputs[1 - i]) for i in range(2)]
    assert np.mean(gains) > 3, gains
