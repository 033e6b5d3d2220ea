"""Phones against the sound they are said by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from reference_models.errors import InputError
from reference_models.mini.alignment import CLOSURE_S, PAUSE, PHONES, Phone, frame_labels, spans
from reference_models.mini.espeak import EspeakEngine, Voice
from reference_models.mini.grammar import SLOTS, sentence, training_sentence
from reference_models.mini.voices import SPEAKERS, say, say_aligned, training_voices

RATE = 16_000
VOWELS = tuple("aeiouæɑɛɪʊʌəɚɜɔᵻ")


@pytest.fixture(scope="module")
def engine() -> Iterator[EspeakEngine]:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        yield engine


def level_db(samples: np.ndarray, phone: Phone, rate: int = RATE) -> float:
    """Of the middle half of a phone."""
    quarter = (phone.end - phone.start) / 4
    part = samples[round((phone.start + quarter) * rate) : round((phone.end - quarter) * rate)]
    return float(10 * np.log10(np.mean(part**2) + 1e-12))


# --- spans -----------------------------------------------------------------------------------------------------------

TONE = np.sin(np.arange(1000))  # one second at 1000 Hz
SILENCE = np.zeros(1000)


def test_a_phone_lasts_until_the_next_and_the_ends_are_pauses() -> None:
    samples = np.concatenate([SILENCE[:100], TONE[:300], SILENCE[:100]])
    found = spans([(100, "a"), (250, "ˈb"), (400, ""), (450, "")], samples, 1000)
    assert found == (Phone("", 0, 0.1), Phone("a", 0.1, 0.25), Phone("ˈb", 0.25, 0.4), Phone("", 0.4, 0.5))
    assert found[2].plain == "b"


def test_a_closure_is_the_stops_and_a_short_dip_is_not() -> None:
    for gap, start in ((50, 0.15), (8, 0.2)):
        samples = TONE[:400].copy()
        samples[200 - gap : 200] = 0
        found = spans([(0, "n"), (200, "t"), (300, "s")], samples, 1000)
        assert gap / 1000 > CLOSURE_S or start == 0.2
        assert found == (Phone("n", 0, start), Phone("t", start, 0.3), Phone("s", 0.3, 0.4))


def test_a_glide_without_a_name_is_the_vowels_before_it() -> None:
    assert spans([(0, "i"), (100, ""), (150, "ɔ")], TONE[:300], 1000) == (Phone("i", 0, 0.15), Phone("ɔ", 0.15, 0.3))


def test_a_pause_between_sentences_stays_one() -> None:
    samples = np.concatenate([TONE[:200], SILENCE[:100], TONE[:200]])
    found = spans([(0, "s"), (200, ""), (300, ""), (300, "ˈa")], samples, 1000)
    assert found == (Phone("s", 0, 0.2), Phone("", 0.2, 0.3), Phone("ˈa", 0.3, 0.5))


def test_without_events_there_is_one_pause_and_without_samples_nothing() -> None:
    assert spans([], TONE, 1000) == (Phone("", 0, 1.0),)
    assert spans([], TONE[:0], 1000) == ()
    assert spans([(0, "a"), (5000, "b")], TONE, 1000) == (Phone("a", 0, 1.0),)  # past the end


# --- what eSpeak says ------------------------------------------------------------------------------------------------


def test_phones_cover_the_sound_without_gaps_and_scale_with_the_warp(engine: EspeakEngine) -> None:
    for number, speaker in enumerate((*SPEAKERS, *training_voices(12))):
        samples, phones = say_aligned(engine, speaker, training_sentence(number), RATE)
        assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(samples) / RATE, abs=1e-3)
        assert all(a.end == b.start for a, b in pairwise(phones)) and all(p.end > p.start for p in phones)
        assert phones[-1].symbol == PAUSE and PAUSE not in [p.symbol for p in phones[1:-1]]
        assert 20 < len(phones) < 60


def test_pauses_are_silent_and_vowels_are_not(engine: EspeakEngine) -> None:
    """Whatever the warp: times that are not those of the sound would mix both up."""
    for number, speaker in enumerate(training_voices(20)):
        samples, phones = say_aligned(engine, speaker, training_sentence(number), RATE)
        pauses = [level_db(samples, p) for p in phones if p.symbol == PAUSE and p.end - p.start > 0.02]
        vowels = [level_db(samples, p) for p in phones if p.plain.startswith(VOWELS)]
        echo = 25 if speaker.voice.name == "en-us+f5" else 0  # a variant that echoes
        assert max(pauses) < min(vowels) + echo
        assert np.median(vowels) - max(pauses) > 35 - echo


def test_hisses_are_high(engine: EspeakEngine) -> None:
    """The spectrum in the middle of each s and z, against that of the vowels."""
    for number, speaker in enumerate(SPEAKERS):
        samples, phones = say_aligned(engine, speaker, f"{SLOTS[0][4]} sold six spoons.", RATE)
        share = {"s": [], "v": []}
        for phone in phones:
            kind = "s" if phone.plain == "s" else "v" if phone.plain.startswith(VOWELS) else None
            if kind:
                part = samples[round(phone.start * RATE) : round(phone.end * RATE)]
                power = np.abs(np.fft.rfft(part)) ** 2
                high = np.fft.rfftfreq(len(part), 1 / RATE) > 3500
                share[kind].append(power[high].sum() / power.sum())
        assert len(share["s"]) >= 4, number
        assert min(share["s"]) > 4 * np.median(share["v"])


def test_the_sound_is_that_of_say(engine: EspeakEngine) -> None:
    for speaker in (SPEAKERS[0], SPEAKERS[9]):
        text = sentence(0, "tts", "target", 0)
        np.testing.assert_array_equal(say(engine, speaker, text, 24_000), say_aligned(engine, speaker, text, 24_000)[0])


def test_every_phone_of_the_grammar_has_a_label_and_every_label_is_used(engine: EspeakEngine) -> None:
    """Every word beside every other of the slots next to its own, which is all that changes how it is said."""
    seen: set[str] = set()
    for shift in range(13):
        for first in range(13):
            words = [slot[(first + shift * place) % len(slot)] for place, slot in enumerate(SLOTS)]
            text = " ".join([*words[:-1], "the", words[-1]]) + "."
            spoken = engine.synthesize(text, Voice())
            labels = frame_labels(spoken.phones, round(spoken.seconds * 50))
            assert labels[-1] == 0 and labels.max() < len(PHONES)
            seen |= {phone.plain for phone in spoken.phones}
    assert seen == set(PHONES)
    assert len(set(PHONES)) == len(PHONES) and PHONES[0] == PAUSE


# --- frames ----------------------------------------------------------------------------------------------------------


def test_a_frame_has_the_label_of_its_middle() -> None:
    phones = [Phone("", 0, 0.029), Phone("ˈiː", 0.029, 0.049), Phone("n", 0.049, 0.1)]
    i, n = PHONES.index("iː"), PHONES.index("n")
    assert frame_labels(phones, 7).tolist() == [0, i, n, n, n, 0, 0]  # middles: 10, 30, 50 ms ...
    assert frame_labels(phones, 2).tolist() == [0, i]
    assert frame_labels([], 3).tolist() == [0, 0, 0]
    assert frame_labels(phones, 3, frames_per_s=25).tolist() == [0, n, 0]


def test_labels_agree_with_spans_at_every_middle(engine: EspeakEngine) -> None:
    _, phones = say_aligned(engine, SPEAKERS[5], training_sentence(7), RATE)
    frames = int(phones[-1].end * 50)
    labels = frame_labels(phones, frames)
    for frame in range(frames):
        middle = (frame + 0.5) / 50
        (said,) = [p for p in phones if p.start <= middle < p.end]
        assert PHONES[labels[frame]] == said.plain


def test_a_symbol_of_another_language_is_refused() -> None:
    with pytest.raises(InputError, match="'ç' is not among the phones"):
        frame_labels([Phone("ç", 0, 1)], 10)
