from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, load

pytest.importorskip("pyrnnoise")

Make = Callable[..., Any]


def lag(reference: np.ndarray, estimate: np.ndarray) -> int:
    """Samples by which `estimate` is late: the peak of the cross-correlation."""
    from scipy.signal import correlate

    return int(np.argmax(correlate(estimate, reference, method="fft"))) - (len(reference) - 1)


def test_output_is_aligned_with_real_speech(build: Make, make_request: Make, real: Path) -> None:
    system = build("rnnoise")
    paths = sorted((real / "clean_speech" / "librispeech_dev-clean").glob("*.flac"))[:4]
    assert paths
    for path in paths:
        source = load(path, 48_000)
        out = system.generate(make_request(source=source))
        assert lag(source.samples, out.samples) == 0
        assert len(out.samples) == len(source.samples)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_output_is_aligned_at_every_rate(
    rate: int, build: Make, make_request: Make, voice: Make, with_noise: Make
) -> None:
    source = with_noise(voice(2.0, rate), snr_db=15)  # RNNoise mutes the bare synthetic voice
    out = build("rnnoise").generate(make_request(source=source))
    assert lag(np.diff(source.samples), np.diff(out.samples)) == 0
    assert (out.rate, len(out.samples)) == (rate, len(source.samples))


def test_the_tail_is_not_lost(build: Make, make_request: Make, voice: Make, with_noise: Make) -> None:
    source = with_noise(voice(1.65, 48_000), snr_db=15)  # ends inside a syllable
    out = build("rnnoise").generate(make_request(source=source)).samples
    tail = slice(-960, None)
    assert np.mean(out[tail] ** 2) > 0.5 * np.mean(source.samples[tail] ** 2)


def test_removes_noise(build: Make, make_request: Make, voice: Make, with_noise: Make) -> None:
    noisy = with_noise(voice(4.0, 48_000), snr_db=10).samples
    out = build("rnnoise").generate(make_request(source=Audio(noisy, 48_000))).samples
    pause = slice(round(3.30 * 48_000), round(3.45 * 48_000))
    assert np.mean(out[pause] ** 2) < 0.05 * np.mean(noisy[pause] ** 2)


def package_output(scaled: np.ndarray) -> np.ndarray:
    """(T,) int16 at 48 kHz through pyrnnoise's own API, flushed by a second of silence and cut by the 20 ms delay."""
    from pyrnnoise import RNNoise

    padded = np.concatenate([scaled, np.zeros(48_000, np.int16)])[None]
    frames = [frame for _, frame in RNNoise(sample_rate=48_000).denoise_chunk(padded, partial=True)]
    return np.concatenate(frames, axis=1)[0, 960 : 960 + len(scaled)]


@pytest.mark.parametrize(("gain", "overshoots"), [(1, False), (30, True)])
def test_is_the_package_s_rnnoise_but_for_its_int16_wrap(
    gain: int, overshoots: bool, build: Make, make_request: Make, voice: Make, with_noise: Make
) -> None:
    loud = np.clip(with_noise(voice(2.0, 48_000), snr_db=15).samples * gain, -1, 1)
    scaled = (loud * 32_767).astype(np.int16)  # both get exactly these values
    source = Audio(scaled.astype(np.float32) / np.float32(32_768), 48_000)
    ours = np.trunc(build("rnnoise").generate(make_request(source=source)).samples.astype(np.float64) * 32_768)
    theirs = package_output(scaled)
    fits = np.abs(ours) < 32_768
    assert np.array_equal(ours[fits], theirs[fits])
    assert fits.all() != overshoots


def test_nothing_leaks_from_one_item_to_the_next(
    build: Make, make_request: Make, voice: Make, with_noise: Make
) -> None:
    first, second = (make_request(source=with_noise(voice(1.0, 48_000), seed=seed)) for seed in (1, 2))
    system = build("rnnoise")
    alone = build("rnnoise").generate(second).samples
    system.generate(first)
    assert np.array_equal(system.generate(second).samples, alone)
    assert np.array_equal(system.generate(second).samples, alone)
