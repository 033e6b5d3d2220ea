from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, load
from metis_bench.errors import ItemError

Make = Callable[..., Any]


def test_matches_the_formula_written_with_scipy(build: Make, make_request: Make, rng: np.random.Generator) -> None:
    from scipy import signal

    rate, length = 16_000, 512 * 20
    clean, noise = rng.standard_normal((2, length)).astype(np.float32) * 0.1
    window = np.sqrt(signal.get_window("hann", 512))
    stft = signal.ShortTimeFFT(window, 256, rate)
    speech, distortion = stft.stft(clean.astype(float)), stft.stft(noise.astype(float))
    mask = np.sqrt(abs(speech) ** 2 / (abs(speech) ** 2 + abs(distortion) ** 2))
    expected = stft.istft(mask * stft.stft(clean.astype(float) + noise), k1=length)
    out = build("oracle-mask").generate(make_request(source=Audio(clean + noise, rate), reference=Audio(clean, rate)))
    np.testing.assert_allclose(out.samples[512:-512], expected[512:-512], atol=1e-5)


def test_extremes(build: Make, make_request: Make, voice: Make, si_sdr: Make) -> None:
    source = voice(1.0, 16_000)
    system = build("oracle-mask")
    clean = system.generate(make_request(source=source, reference=source))
    np.testing.assert_allclose(clean.samples, source.samples, atol=1e-6)
    nothing = system.generate(make_request(source=source, reference=Audio(np.zeros_like(source.samples), 16_000)))
    assert not nothing.samples.any()


def test_improves_a_noisy_voice_even_with_a_reference_at_another_rate(
    build: Make, make_request: Make, voice: Make, with_noise: Make, si_sdr: Make
) -> None:
    reference = voice(2.0, 16_000)
    noisy = with_noise(reference, snr_db=0)
    system = build("oracle-mask")
    same = system.generate(make_request(source=noisy, reference=reference)).samples
    other = system.generate(make_request(source=noisy, reference=reference.resampled(24_000))).samples
    assert si_sdr(reference.samples, same) > si_sdr(reference.samples, noisy.samples) + 8
    assert si_sdr(same, other) > 30


def test_lengths_may_differ_by_rounding_only(build: Make, make_request: Make, voice: Make) -> None:
    source = voice(1.0, 16_000)
    system = build("oracle-mask")
    for extra in (-144, 144):  # 9 ms
        reference = voice(1.0 + extra / 16_000, 16_000)
        out = system.generate(make_request(source=source, reference=reference))
        assert len(out.samples) == len(source.samples)
    with pytest.raises(ItemError, match=r"lasts 1\.000 s but its reference 1\.011 s"):
        system.generate(make_request(source=source, reference=voice(1.011, 16_000)))


def test_restores_real_noisy_speech(build: Make, make_request: Make, real: Path) -> None:
    pesq = pytest.importorskip("pesq").pesq
    folder = real / "voicebank_demand"
    source = load(folder / "noisy_trainset_28spk_wav_16k" / "p287_002.wav")
    reference = load(folder / "clean_trainset_28spk_wav_16k" / "p287_002.wav")
    out = build("oracle-mask").generate(make_request(source=source, reference=reference))
    noisy, masked = (pesq(16_000, reference.samples, audio.samples, "wb") for audio in (source, out))
    assert masked > noisy + 1.5
