from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import Audio, load
from metis_bench.systems._signal import stft
from metis_bench.systems.logmmse import LogMMSEParams, log_mmse_gain, minimum_statistics

Make = Callable[..., Any]


def integral_gain(xi: float, gamma: float) -> float:
    """Ephraim & Malah 1985 eq. 20, its integral done numerically."""
    from scipy.integrate import quad

    v = xi / (1 + xi) * gamma
    integral, _ = quad(lambda t: np.exp(-t) / t, v, np.inf)
    return float(xi / (1 + xi) * np.exp(integral / 2))


def test_gain_follows_the_paper_over_two_frames() -> None:
    power = np.array([[1.0], [9.0]])
    params = LogMMSEParams(vad_threshold=-1e9)  # no frame is ever noise: the noise stays where the minima put it
    gain = log_mmse_gain(power, np.full((2, 1), 0.25), 1e-12, params)
    noise = 1.0  # the first frames' mean is 5; the margin around the minima allows 4 * 0.25
    xi_first = 0.98 * (5.0 / noise) + 0.02 * 0.0
    assert gain[0, 0] == pytest.approx(integral_gain(xi_first, 1.0), rel=1e-6)
    xi_second = 0.98 * gain[0, 0] ** 2 * 1.0 / noise + 0.02 * (9.0 - 1.0)
    assert gain[1, 0] == pytest.approx(integral_gain(xi_second, 9.0), rel=1e-6)


@pytest.mark.parametrize("rate", [8000, 16_000, 48_000])
def test_minimum_statistics_are_unbiased_on_white_noise(rate: int, rng: np.random.Generator) -> None:
    power = np.abs(stft(rng.standard_normal(10 * rate), rate // 100)) ** 2
    error_db = 10 * np.log10(minimum_statistics(power[1:-1])[:, 2:-2].mean() / power[1:-1, 2:-2].mean())
    assert abs(error_db) < 1


def test_noise_sinks_and_the_voice_stays(
    build: Make, make_request: Make, voice: Make, with_noise: Make, si_sdr: Make
) -> None:
    clean = voice(4.0, 16_000)
    noisy = with_noise(clean, snr_db=5)
    out = build("logmmse").generate(make_request(source=noisy)).samples
    assert si_sdr(clean.samples, out) > si_sdr(clean.samples, noisy.samples) + 4
    pause = slice(round(2.30 * 16_000), round(2.45 * 16_000))  # between two syllables
    drop_db = 10 * np.log10(np.mean(out[pause] ** 2) / np.mean(noisy.samples[pause] ** 2))
    assert drop_db < -8


@pytest.mark.parametrize("case", ["digital silence first", "noise rises tenfold"])
def test_the_noise_estimate_does_not_stick(
    case: str, build: Make, make_request: Make, voice: Make, with_noise: Make, si_sdr: Make
) -> None:
    """The VAD alone would call everything after such a start speech, and enhance nothing."""
    rate = 16_000
    clean = voice(8.0, rate)
    noisy = with_noise(clean, snr_db=5).samples.copy()
    if case == "digital silence first":
        noisy[: 2 * rate] = 0
    else:
        noisy[: 2 * rate] = clean.samples[: 2 * rate] + 0.1 * (noisy - clean.samples)[: 2 * rate]
    out = build("logmmse").generate(make_request(source=Audio(noisy, rate))).samples
    later = slice(4 * rate, 8 * rate)
    assert si_sdr(clean.samples[later], out[later]) > si_sdr(clean.samples[later], noisy[later]) + 3


def test_clean_speech_is_left_nearly_alone(build: Make, make_request: Make, voice: Make, si_sdr: Make) -> None:
    clean = voice(3.0, 16_000)
    assert si_sdr(clean.samples, build("logmmse").generate(make_request(source=clean)).samples) > 20


def test_digital_silence_stays_digital_silence(build: Make, make_request: Make) -> None:
    out = build("logmmse").generate(make_request(source=Audio(np.zeros(16_000, np.float32), 16_000)))
    assert not out.samples.any()


@pytest.mark.parametrize("wrong", [{"frame_ms": 0}, {"alpha": 1.0}, {"noise_memory": -0.1}, {"alfa": 0.9}])
def test_wrong_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        LogMMSEParams(**wrong)


def test_improves_real_noisy_speech(build: Make, make_request: Make, real: Path, si_sdr: Make) -> None:
    pesq = pytest.importorskip("pesq").pesq
    folder, gains = real / "voicebank_demand", []
    for path in sorted((folder / "noisy_trainset_28spk_wav_16k").glob("*.wav")):
        source, reference = load(path), load(folder / "clean_trainset_28spk_wav_16k" / path.name).samples
        out = build("logmmse").generate(make_request(source=source)).samples
        gains.append(
            [
                pesq(16_000, reference, out, "wb") - pesq(16_000, reference, source.samples, "wb"),
                si_sdr(reference, out) - si_sdr(reference, source.samples),
            ]
        )
    assert len(gains) == 4
    assert (np.mean(gains, axis=0) > 0).all()
