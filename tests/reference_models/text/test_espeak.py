"""Phonemes by eSpeak NG."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reference_models.errors import InputError, MetisError, MissingPackage
from reference_models.espeak import LIBRARY_VARIABLE
from reference_models.text import espeak as module
from reference_models.text.espeak import Espeak, _as_in_1_51, _names, _spoken, _symbols, find_library


def say(espeak: Espeak, text: str, voice: str = "en-us") -> str:
    return " ".join("".join(word) for word in espeak.words([text], voice)[0])


@pytest.mark.parametrize(
    ("voice", "text", "phonemes"),
    [
        ("en-us", "hello world", "həloʊ wɜːld"),
        ("en-us", "didn't", "dɪdnt"),
        ("fr", "bonjour tout le monde", "bɔ̃ʒuʁ tulmɔ̃d"),
        ("de", "guten Morgen", "ɡuːtən mɔɾɡən"),
        ("ko", "안녕하세요", "ɐnnjʌŋhɐsejo"),
    ],
)
def test_every_voice_speaks(espeak: Espeak, voice: str, text: str, phonemes: str) -> None:
    assert say(espeak, text, voice) == phonemes


def test_stress_and_marks_of_another_language_are_gone(espeak: Espeak) -> None:
    clauses = espeak.clauses(["le weekend"], "fr")[0]
    assert "(en)" in clauses[0]
    assert "ˈ" in clauses[0]
    assert say(espeak, "le weekend", "fr") == "lə wiːkɛnd"


def test_the_words_of_1_51_whatever_the_version(espeak: Espeak) -> None:
    assert say(espeak, "four for story north") == "foːɹ fɔːɹ stoːɹi nɔːɹθ"
    assert say(espeak, "müssen über durch", "de") == "mysən yːbɜ d??ç"


def test_1_52_is_rewritten_by_phoneme_name() -> None:
    """Recorded from 1.52.0; 1.51 says f_ˈoːɹ f_ɔːɹ s_t_ˈoː_ɹ_i."""
    ipa, names = ["f_ˈɔːɹ f_ɔːɹ s_t_ˈɔː_ɹ_i"], ["f_'o@_:__: f_O@ s_t_'o@_r_i_;"]
    words = [_symbols(word) for word in _spoken(ipa)]
    told = _as_in_1_51(words, [_names(word) for word in _spoken(names)], module._RENAMED["en-us"])
    assert told == [["f", "oːɹ"], ["f", "ɔːɹ"], ["s", "t", "oː", "ɹ", "i"]]
    assert _as_in_1_51(words, [["f", "o@"]], module._RENAMED["en-us"]) == words  # the two answers do not correspond


def test_silence_at_the_edge_of_a_word_is_an_empty_phoneme() -> None:
    assert _symbols("_ˈaʊ_s") == ["", "aʊ", "s"]
    assert _symbols("s_ˈi_p__ˈi_") == ["s", "i", "p", "i", ""]
    assert _symbols("__") == []


def test_a_text_sounds_the_same_whatever_was_said_before(espeak: Espeak) -> None:
    texts = ["St. John's Rd. no. 5", "I read a book", "in 1999", "no. 7"]
    alone = {}
    for text in texts:
        with Espeak() as fresh:
            alone[text] = fresh.clauses([text], "en-us")
    assert {text: espeak.clauses([text], "en-us") for text in reversed(texts)} == alone


def test_texts_of_one_call_come_back_in_order(espeak: Espeak) -> None:
    texts = ["one", "", "two words", "three"]
    together = espeak.clauses(texts, "en-us")
    assert together == [espeak.clauses([text], "en-us")[0] for text in texts]
    assert espeak.clauses([], "en-us") == []


def test_long_texts_lose_nothing(espeak: Espeak) -> None:
    assert len(espeak.words(["word " * 700], "en-us")[0]) == 700


def test_an_unknown_voice_and_text_that_is_no_unicode_are_input_errors(espeak: Espeak) -> None:
    with pytest.raises(InputError, match="no voice 'xx-yy'"):
        espeak.clauses(["a"], "xx-yy")
    with pytest.raises(InputError, match="surrogates"):
        espeak.clauses(["a\ud800"], "en-us")
    assert say(espeak, "so\0so") == say(espeak, "so so")


def test_a_text_that_takes_too_long_ends_itself(espeak: Espeak) -> None:
    with Espeak(timeout_s=10.0) as slow:
        say(slow, "hello")
        server = slow._server
        slow.timeout_s = 0.01
        with pytest.raises(InputError, match="takes longer than"):
            slow.clauses(["antidisestablishmentarianism " * 200] * 500, "en-us")
        slow.timeout_s = 10.0
        assert say(slow, "hello") == "həloʊ"
        assert slow._server is server


def test_another_library_may_be_given(espeak: Espeak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, data = find_library()
    link = tmp_path / "libmine.so"
    link.symlink_to(library) if "/" in library else link.write_bytes(b"")
    if "/" in library:
        with Espeak(link, data) as mine:
            assert say(mine, "hello") == "həloʊ"
            assert mine.version == espeak.version
    monkeypatch.setenv(LIBRARY_VARIABLE, str(link))
    assert find_library() == (str(link), "")


def test_a_library_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "libwrong.so"
    wrong.write_text("not a library")
    with pytest.raises(MetisError, match=r"libwrong\.so.*\n.*library="):
        Espeak(wrong).words(["a"], "en-us")
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    with pytest.raises(MissingPackage, match=r"metis-bench\[text\]"):
        find_library()
    assert not module.available()
