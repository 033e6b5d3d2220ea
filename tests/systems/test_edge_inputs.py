"""Every enhancement and bound system on inputs that break naive code."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.systems.base import Request, System

Make = Callable[..., Any]

NAMES = ["ground-truth", "prompt-copy", "noisy", "mixture", "silence", "low-pass", "oracle-mask", "logmmse"]
NAMES += ["spectral-gate", "rnnoise", "imported"]
CASES = ["8 kHz", "44.1 kHz", "48 kHz", "30 ms", "one sample", "digital silence", "clipped", "DC", "odd length"]


@pytest.fixture
def edge(voice: Make, with_noise: Make) -> Callable[[str], Audio]:
    def make(case: str) -> Audio:
        rates = {"8 kHz": 8000, "44.1 kHz": 44_100, "48 kHz": 48_000}
        if case in rates:
            return Audio(with_noise(voice(1.0, rates[case])).samples, rates[case])
        samples = {
            "30 ms": with_noise(voice(0.2, 16_000)).samples[1000:1480],
            "one sample": np.array([0.5]),
            "digital silence": np.zeros(16_000),
            "clipped": np.clip(voice(1.0, 16_000).samples * 50, -1, 1),
            "DC": np.full(16_000, 0.25),
            "odd length": with_noise(voice(1.0, 16_000)).samples[:15_997],
        }
        return Audio(samples[case].astype(np.float32), 16_000)

    return make


@pytest.fixture
def everywhere(make_request: Make, tmp_path: Any, write_wav: Make) -> Callable[[Audio, str], Request]:
    """The same audio in all roles and in the folder of `imported`; reference = source at 0.7 of its level."""

    def make(audio: Audio, item: str = "item") -> Request:
        write_wav(tmp_path / f"{item}.wav", audio)
        quieter = Audio(audio.samples * np.float32(0.7), audio.rate)
        return make_request(id=item, source=audio, prompt=audio, reference=quieter)

    return make


def named(name: str, build: Make, tmp_path: Any) -> System:
    system: System = build(name, path=str(tmp_path)) if name == "imported" else build(name)
    return system


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_output_is_finite_and_as_long_as_its_input(
    name: str, case: str, build: Make, edge: Make, everywhere: Make, tmp_path: Any
) -> None:
    audio = edge(case)
    untouched = audio.samples.copy()
    out = named(name, build, tmp_path).generate(everywhere(audio))
    assert (out.rate, out.samples.shape, out.samples.dtype) == (audio.rate, audio.samples.shape, np.float32)
    assert np.isfinite(out.samples).all()
    assert np.abs(out.samples).max() <= 2
    assert np.array_equal(audio.samples, untouched), "the input was changed in place"
    if case == "digital silence":
        assert not out.samples.any()


@pytest.mark.parametrize("name", NAMES)
def test_fresh_objects_in_another_order_give_the_same_bytes(
    name: str, build: Make, edge: Make, everywhere: Make, tmp_path: Any
) -> None:
    requests = [everywhere(edge(case), f"item{n}") for n, case in enumerate(("8 kHz", "48 kHz", "clipped", "30 ms"))]
    first, second = named(name, build, tmp_path), named(name, build, tmp_path)
    forward = {request.id: encode_wav(first.generate(request)) for request in requests}
    backward = {request.id: encode_wav(second.generate(request)) for request in reversed(requests)}
    assert forward == backward
    assert len(set(forward.values())) > 1
