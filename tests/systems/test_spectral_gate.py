import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import Audio
from metis_bench.systems.spectral_gate import SpectralGateParams

noisereduce = pytest.importorskip("noisereduce")

Make = Callable[..., Any]


@pytest.mark.parametrize("stationary", [False, True])
def test_is_noisereduce_with_its_defaults(
    stationary: bool, build: Make, make_request: Make, voice: Make, with_noise: Make
) -> None:
    noisy = with_noise(voice(3.0, 16_000))
    out = build("spectral-gate", stationary=stationary).generate(make_request(source=noisy))
    theirs = noisereduce.reduce_noise(y=noisy.samples, sr=16_000, stationary=stationary)
    assert np.array_equal(out.samples, theirs)
    assert not np.array_equal(out.samples, noisy.samples)


def test_prop_decrease_sets_how_much_noise_goes(build: Make, make_request: Make, voice: Make, with_noise: Make) -> None:
    noisy = with_noise(voice(4.0, 16_000))
    pause = slice(round(2.30 * 16_000), round(2.45 * 16_000))  # between two syllables
    levels = [
        np.mean(build("spectral-gate", prop_decrease=p).generate(make_request(source=noisy)).samples[pause] ** 2)
        for p in (1.0, 0.5)
    ]
    assert levels[0] < 0.5 * levels[1] < 0.5 * np.mean(noisy.samples[pause] ** 2)


def test_long_input_uses_no_temporary_file_and_no_torch(
    monkeypatch: pytest.MonkeyPatch, build: Make, make_request: Make, voice: Make, with_noise: Make
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("must not be used")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr("noisereduce.noisereduce.StreamedTorchGate", refuse, raising=False)
    noisy = with_noise(voice(13.0, 48_000))  # 624 000 samples: above noisereduce's chunk
    out = build("spectral-gate").generate(make_request(source=noisy))
    assert out.samples.shape == noisy.samples.shape
    assert np.isfinite(out.samples).all()


def test_digital_silence_is_not_nan(build: Make, make_request: Make) -> None:
    out = build("spectral-gate").generate(make_request(source=Audio(np.zeros(8000, np.float32), 16_000)))
    assert not out.samples.any()


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValidationError):
        SpectralGateParams(prop_decrease=1.5)
