"""Who speaks: no voice of an evaluation is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import training_sentence
from reference_models.mini.voices import (
    LEVEL,
    NEAR_PITCH,
    NEAR_WARP,
    PITCHES,
    RANGES,
    RATES,
    SPEAKERS,
    VARIANTS,
    WARPS,
    Speaker,
    near,
    say,
    training_voices,
)

PURPOSES = ("training", "recogniser")


@pytest.fixture(scope="module")
def engine() -> Iterator[EspeakEngine]:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        yield engine


def sound(speaker: Speaker) -> tuple[object, ...]:
    return (speaker.voice, speaker.warp)


def test_twelve_talkers_of_evaluation_are_twelve() -> None:
    assert len(SPEAKERS) == len({s.name for s in SPEAKERS}) == len({sound(s) for s in SPEAKERS}) == 12
    assert [s.name for s in SPEAKERS[:6]] == ["f5", "m1", "ed", "steph", "klatt", "klatt4"]
    assert not any(near(a, b) for a in SPEAKERS for b in SPEAKERS if a is not b)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_no_trained_voice_is_near_one_of_evaluation(purpose: str) -> None:
    for drawn in training_voices(1000, purpose):
        for known in SPEAKERS:
            close = abs(drawn.warp - known.warp) <= 0.04 and abs(drawn.voice.pitch - known.voice.pitch) <= 8
            assert not (drawn.voice.name == known.voice.name and close), (drawn, known)


def test_voices_that_would_be_near_are_drawn_and_left_out() -> None:
    """Without the rule there would be such: the test above is not empty."""
    numbers = [int(s.name.rsplit("-", 1)[1]) for s in training_voices(1000)]
    assert numbers == sorted(set(numbers)) and numbers[-1] > 1000
    assert (NEAR_PITCH, NEAR_WARP) == (8, 0.04)
    own = SPEAKERS[6]
    assert near(own, replace(own, warp=own.warp + 0.04)) and not near(own, replace(own, warp=own.warp + 0.05))
    assert near(own, replace(own, voice=replace(own.voice, pitch=own.voice.pitch - 8)))
    assert not near(own, replace(own, voice=replace(own.voice, pitch=own.voice.pitch - 9)))


def test_purposes_share_no_voice_and_more_of_them_changes_none() -> None:
    training, recogniser = (training_voices(400, purpose) for purpose in PURPOSES)
    assert not {sound(s) for s in training} & {sound(s) for s in recogniser}
    assert not {s.name for s in training} & {s.name for s in recogniser}
    assert training_voices(50) == training[:50] and training_voices(0) == ()


def test_trained_voices_fill_their_range() -> None:
    drawn = training_voices(400)
    variants = Counter(s.voice.name.removeprefix("en-us+") for s in drawn)
    assert set(variants) == set(VARIANTS) and len(VARIANTS) == 26 and max(variants.values()) < 35
    said = [(s.voice.rate * s.warp, s.voice.pitch, s.voice.range, s.warp) for s in drawn]
    for values, (low, high) in zip(zip(*said, strict=True), (RATES, PITCHES, RANGES, WARPS), strict=True):
        slack = 0.02 * high
        assert low - slack <= min(values) < low + 0.1 * (high - low) + slack
        assert high + slack >= max(values) > high - 0.1 * (high - low) - slack


def test_every_variant_exists(engine: EspeakEngine) -> None:
    for speaker in SPEAKERS:
        engine.check_voice(speaker.voice.name)
    for variant in VARIANTS:
        engine.check_voice(f"en-us+{variant}")


def test_the_warp_raises_all_frequencies_and_keeps_the_tempo(engine: EspeakEngine) -> None:
    """Formants and voice: the centre of the spectrum moves with the warp, at the rate the voice gives."""
    text, (plain, short) = training_sentence(0), (Speaker("a", SPEAKERS[1].voice, warp) for warp in (1.0, 1.1))

    def centre(x: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(x))[: 4000 * len(x) // 16_000] ** 2
        return float((np.arange(len(power)) * power).sum() / power.sum() * 16_000 / len(x))

    slow, fast = (say(engine, speaker, text, 16_000) for speaker in (plain, short))
    assert len(slow) / len(fast) == pytest.approx(1.1, rel=1e-3)
    assert centre(fast) / centre(slow) == pytest.approx(1.1, abs=0.06)


def test_levels_are_equal_and_nothing_is_digital_silence(engine: EspeakEngine) -> None:
    for speaker in SPEAKERS[::4]:
        samples = say(engine, speaker, training_sentence(1), 16_000)
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(LEVEL, rel=0.01)
        assert np.abs(samples).max() <= 0.95 and np.count_nonzero(samples == 0) == 0
