"""The closed-vocabulary recogniser: vocabulary, determinism, odd audio, real speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.errors import CorpusError
from metis_bench.metrics.asr import pocketsphinx as module
from metis_bench.metrics.asr.base import recognisers
from metis_bench.metrics.asr.pocketsphinx import PocketSphinx, to_pcm16, vocabulary_of, words
from metis_bench.metrics.base import Clip
from metis_bench.text import espeak_phones

pytest.importorskip("pocketsphinx")

MakeClip = Callable[[Any, int], Clip]
TEXTS = ("The child almost hurt the small dog.", "Drop the two when you add the figures.")


@pytest.fixture(autouse=True)
def fresh_vocabularies() -> None:
    """Tests change what eSpeak says; nothing of that may survive."""
    vocabulary_of.cache_clear()


def test_words_are_those_of_the_default_profile() -> None:
    assert words("Super-imposition, don\N{RIGHT SINGLE QUOTATION MARK}t \N{EM DASH} 'twas OK! A.B.C. 25%") == [
        ("superimposition", ("super", "imposition")),
        ("don't", ("don't",)),
        ("'twas", ("twas",)),
        ("ok", ("ok",)),
        ("abc", ("a", "b", "c")),
        ("25", ("25",)),
    ]


def test_vocabulary_is_closed_and_independent_of_order_and_repetition() -> None:
    vocabulary = vocabulary_of(TEXTS)
    assert vocabulary == vocabulary_of((TEXTS[1], TEXTS[0], TEXTS[1]))
    listed = {line.split()[0].partition("(")[0] for line in vocabulary.dictionary.splitlines()}
    assert listed == {w for t in TEXTS for w, _ in words(t)}
    assert "the(2) DH IY" in vocabulary.dictionary
    assert vocabulary.unknown == vocabulary.pronounced == ()
    assert "\\3-grams:" in vocabulary.language_model


def test_compounds_are_pronounced_from_their_parts_and_strange_words_by_espeak() -> None:
    pytest.importorskip("espeakng_loader")
    vocabulary = vocabulary_of(("A super-duper zorbflix costs 25.",))
    lines = dict(line.split(maxsplit=1) for line in vocabulary.dictionary.splitlines())
    assert lines["superduper"] == "S UW P ER D UW P ER"
    assert lines["zorbflix"] == "Z AO R B F L IH K S"
    assert lines["25"] == "T W EH N T IY F AY V"
    assert vocabulary.pronounced == ("25", "zorbflix")
    assert vocabulary.unknown == ()


def test_without_espeak_strange_words_are_declared(monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip) -> None:
    texts, has_espeak = ("The zorbflix child.",), espeak_phones.available()
    with_espeak = PocketSphinx(texts, "en").signature()
    monkeypatch.setattr(espeak_phones, "available", lambda: False)
    vocabulary_of.cache_clear()
    recogniser = PocketSphinx(texts, "en")
    signature = recogniser.signature()
    assert vocabulary_of(texts).unknown == ("zorbflix",)
    assert signature["out_of_vocabulary"]["count"] == 1  # type: ignore[index, call-overload]
    if has_espeak:
        assert signature != with_espeak
    noise = np.random.default_rng(0).standard_normal(16_000) * 0.1
    assert set(str(recogniser.extract(make_clip(noise, 16_000))["text"]).split()) <= {"the", "child"}  # type: ignore[call-overload, index]


@pytest.mark.parametrize("texts", [(), ("",), ("?!", "'")])
def test_nothing_to_say_is_an_error(texts: tuple[str, ...]) -> None:
    with pytest.raises(CorpusError, match="needs texts"):
        PocketSphinx(texts, "en").signature()


def test_signature() -> None:
    one, other = PocketSphinx(TEXTS, "en").signature(), PocketSphinx(TEXTS[:1], "en").signature()
    changed = {key for key in one if one[key] != other[key]}
    assert changed == {"language_model_sha256", "dictionary_sha256"}
    assert one["package"].startswith("5.")  # type: ignore[union-attr]
    assert recognisers.get("pocketsphinx") is PocketSphinx


def test_pcm16_rounds_and_clips() -> None:
    pcm = to_pcm16(np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.6 / 32768], np.float32))
    assert np.frombuffer(pcm, "<i2").tolist() == [0, 32767, -32768, 32767, -32768, 1]


@pytest.mark.parametrize("seconds", [0.0001, 0.02, 0.0257, 0.03, 0.1, 1.0])
@pytest.mark.parametrize("kind", ["silence", "noise", "dc"])
def test_odd_audio_gives_a_transcript(make_clip: MakeClip, seconds: float, kind: str) -> None:
    n = max(1, round(seconds * 16_000))
    noise = np.random.default_rng(0).standard_normal(n) * 0.1
    samples = {"silence": np.zeros(n), "noise": noise, "dc": np.ones(n)}[kind]
    recogniser = PocketSphinx(TEXTS, "en")
    feature = recogniser.extract(make_clip(samples, 16_000))
    assert isinstance(feature, dict) and set(feature) == {"text"}
    if kind == "silence" or seconds <= 0.03:
        assert feature["text"] == ""


def decode(recogniser: PocketSphinx, clip: Clip) -> tuple[object, float]:
    """The transcript, and the decoder's confidence: it moves with the slightest change of the features."""
    feature = recogniser.extract(clip)
    hypothesis = module._decoder(vocabulary_of(recogniser.texts)).hyp()
    return feature, 0.0 if hypothesis is None else hypothesis.best_score


def assert_independent_of_history(recogniser: PocketSphinx, clips: list[Clip]) -> None:
    alone = []
    for clip in clips:
        module._decoder.cache_clear()
        alone.append(decode(recogniser, clip))
    forward = [decode(recogniser, clip) for clip in clips]
    backward = [decode(recogniser, clip) for clip in reversed(clips)][::-1]
    assert forward == alone
    assert backward == alone


def test_the_past_does_not_matter_for_synthetic_audio(make_clip: MakeClip) -> None:
    rng = np.random.default_rng(0)
    t = np.arange(24_000) / 16_000
    buzz = np.sin(2 * np.pi * 120 * t[:, None] * np.arange(1, 20)).sum(1) * (1 + np.sin(2 * np.pi * 4 * t)) / 40
    clips = [make_clip(x, 16_000) for x in (buzz, rng.standard_normal(16_000) * 0.3, buzz[::2], buzz * 0.01)]
    assert_independent_of_history(PocketSphinx(TEXTS, "en"), clips)


def test_the_past_does_not_matter_for_real_audio(real: Path, make_clip: MakeClip) -> None:
    folder = real / "seedtts" / "en"
    lines = [line.split("|") for line in (folder / "meta.lst").read_text(encoding="utf-8").splitlines()]
    recogniser = PocketSphinx(tuple(line[3] for line in lines), "en")
    clips = [load(folder / "wavs" / f"{line[0]}.wav", 16_000) for line in lines[4:8]]
    noise = np.random.default_rng(0).standard_normal(16_000) * 0.2
    assert_independent_of_history(
        recogniser, [make_clip(noise, 16_000)] + [make_clip(c.samples, 16_000) for c in clips]
    )


def test_jfk(real: Path, make_clip: MakeClip) -> None:
    """44.1 kHz stereo, among the sentences of another corpus."""
    folder = real / "metrics_ref" / "asr"
    text = (folder / "jfk.txt").read_text().strip()
    audio = load(folder / "jfk.flac")
    feature = PocketSphinx((*TEXTS, text), "en").extract(make_clip(audio.samples, audio.rate))
    assert feature == {"text": text.lower()}


def test_dither_is_one_step_and_always_the_same() -> None:
    silence = np.zeros(16_000, dtype=np.float32)
    noise = module.dithered(silence) * 32768
    assert np.abs(noise).max() <= 1
    assert noise.std() == pytest.approx((1 / 6) ** 0.5, rel=0.05), "triangular"
    assert (module.dithered(silence) * 32768 == noise).all()
