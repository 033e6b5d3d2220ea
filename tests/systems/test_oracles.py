from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import Audio
from metis_bench.errors import ItemError
from metis_bench.systems.base import RANKED, Request, System, systems

Make = Callable[..., Any]

COPIES = {
    "ground-truth": "reference",
    "prompt-copy": "prompt",
    "source-copy": "source",
    "noisy": "source",
    "mixture": "source",
}


@pytest.mark.parametrize(("name", "field"), COPIES.items())
def test_copies_return_their_field_unchanged(name: str, field: str, build: Make, make_request: Make) -> None:
    tracks = {
        key: Audio(np.full(100 + n, 0.1 * n, np.float32), 8000 * n)
        for n, key in enumerate(("prompt", "source", "reference"), start=1)
    }
    system: System = build(name)
    assert system.needs == {field}
    out = system.generate(make_request(**tracks))
    assert out.rate == tracks[field].rate
    assert np.array_equal(out.samples, tracks[field].samples)


@pytest.mark.parametrize("name", [*COPIES, "silence", "low-pass", "oracle-mask", "logmmse"])
def test_a_missing_field_is_an_item_error(name: str, build: Make, make_request: Make) -> None:
    with pytest.raises(ItemError, match="'item' has no"):
        build(name).generate(make_request())


@pytest.mark.parametrize(
    ("name", "kind", "tasks"),
    [
        ("ground-truth", "bound", {"tts", "vc", "tse", "se", "l2s"}),
        ("prompt-copy", "bound", {"tts", "vc", "tse", "l2s"}),
        ("source-copy", "bound", {"vc", "tse", "se"}),
        ("noisy", "bound", {"se"}),
        ("mixture", "bound", {"tse"}),
        ("silence", "bound", {"tts", "vc", "tse", "se", "l2s"}),
        ("nmf-tse", "classical", {"tse"}),
        ("world-vc", "classical", {"vc"}),
        ("low-pass", "bound", {"se"}),
        ("oracle-mask", "oracle", {"se", "tse"}),
        ("logmmse", "classical", {"se"}),
        ("spectral-gate", "classical", {"se"}),
        ("rnnoise", "classical", {"se"}),
        ("imported", "imported", {"tts", "vc", "tse", "se", "l2s"}),
    ],
)
def test_kinds_and_tasks(name: str, kind: str, tasks: set[str]) -> None:
    cls = systems.get(name)
    assert (cls.kind, cls.tasks) == (kind, tasks)
    assert (cls.kind in RANKED) == (kind not in {"bound", "oracle"})
    assert cls.deterministic == (name != "nmf-tse"), "its factors start at random"
    if cls.kind in RANKED:
        assert "reference" not in cls.needs, "a ranked system must not see the answer"


def test_silence_is_zeros_as_long_as_the_source(build: Make, make_request: Make, voice: Make) -> None:
    out = build("silence").generate(make_request(source=voice(0.5, 44_100)))
    assert (out.rate, out.samples.shape, out.samples.dtype) == (44_100, (22_050,), np.float32)
    assert not out.samples.any()


@pytest.mark.parametrize("task", ["tts", "l2s"])
def test_silence_is_as_long_as_the_reference_where_the_input_is_no_audio(
    build: Make, make_request: Make, voice: Make, task: str
) -> None:
    system: System = build("silence")
    assert system.needs_for(task) == {"reference"} and system.needs_for("vc") == {"source"}  # type: ignore[arg-type]
    out = system.generate(make_request(task=task, reference=voice(0.25, 16_000)))
    assert (out.rate, out.samples.shape) == (16_000, (4_000,)) and not out.samples.any()
    with pytest.raises(ItemError, match="no reference"):
        system.generate(make_request(task=task, source=voice(0.25, 16_000)))


def tone_gain_db(build: Make, make_request: Make, frequency: float, **params: float) -> float:
    """Level change of a tone, measured by projection on the same tone: delay or inversion would lower it."""
    rate = 16_000
    tone = np.sin(2 * np.pi * frequency * np.arange(rate) / rate)
    request: Request = make_request(source=Audio(tone.astype(np.float32), rate))
    out = build("low-pass", **params).generate(request).samples
    middle = slice(rate // 4, 3 * rate // 4)
    gain = float(out[middle].astype(np.float64) @ tone[middle] / (tone[middle] @ tone[middle]))
    return float(20 * np.log10(max(abs(gain), 1e-9))) if gain > 0 else -180.0


def test_low_pass_keeps_the_lows_and_removes_the_highs_without_delay(build: Make, make_request: Make) -> None:
    assert tone_gain_db(build, make_request, 500) == pytest.approx(0, abs=0.01)
    assert tone_gain_db(build, make_request, 1000) == pytest.approx(-6.02, abs=0.05)
    assert tone_gain_db(build, make_request, 2000) < -90
    assert tone_gain_db(build, make_request, 2000, cutoff_hz=4000) == pytest.approx(0, abs=0.01)


def test_low_pass_refuses_a_cutoff_above_nyquist(build: Make, make_request: Make, voice: Make) -> None:
    system = build("low-pass", cutoff_hz=4000)
    with pytest.raises(ItemError, match=r"cutoff_hz 4000 is not below half of the source's rate \(8000 Hz\)"):
        system.generate(make_request(source=voice(0.1, 8000)))
    with pytest.raises(ValidationError):
        build("low-pass", cutoff_hz=0)


@pytest.mark.parametrize(("name", "timed"), [*((n, False) for n in (*COPIES, "silence")), ("low-pass", True)])
def test_only_what_computes_something_is_timed(name: str, timed: bool) -> None:
    assert systems.get(name).timed is timed
