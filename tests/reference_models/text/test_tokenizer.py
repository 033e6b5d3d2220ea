"""Cutting at punctuation, and putting it back."""

from __future__ import annotations

import re

import pytest

from reference_models.text.espeak import Espeak
from reference_models.text.tokenizer import speak


class Letters(Espeak):
    """Says each word as its letters, so that the cutting alone is seen. `heard`: what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def words(self, texts: object, voice: str) -> list[list[list[str]]]:  # type: ignore[override]
        self.heard = list(texts)  # type: ignore[call-overload]
        return [[list(word) for word in re.sub(r"[^\w' ]", "", text).split()] for text in self.heard]


def spell(text: str, mode: str = "official") -> str:
    return "|".join(speak(text, "en-us", Letters(), mode))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("ab cd", "a|b|_|c|d"),
        (" ab ,  cd ! ", "a|b|,|c|d|!"),
        ("ab?! cd", "a|b|?|!|c|d"),
        ("ab... cd···ef", "a|b|…|c|d|…|e|f"),
        ("ab，cd。“ef”", "a|b|,|c|d|.|e|f"),
        ("(ab) [cd]-ef @ g", "a|b|_|c|d|e|f|_|g"),
        (".ab", ".|a|b"),
        ("...", "…"),
        ("", ""),
    ],
)
def test_punctuation_returns_without_gaps(text: str, phones: str) -> None:
    assert spell(text) == spell(text, "fixed") == phones


def test_an_apostrophe_cuts_in_the_official_mode_only() -> None:
    assert spell("it's") == "i|t|'|s"
    assert spell("it's", "fixed") == "i|t|'|s"
    official, fixed = Letters(), Letters()
    speak("it’s", "en-us", official, "official")
    speak("it’s", "en-us", fixed, "fixed")
    assert official.heard == ["it", "s"]
    assert fixed.heard == ["it's"]


def test_a_decimal_separator_does_not_cut() -> None:
    letters = Letters()
    speak("9,99 a,b 1.5 c9,d", "de", letters, "fixed")
    assert letters.heard == ["9,99 a", "b 1.5 c9", "d"]


def test_the_official_mode_takes_a_separator_for_the_mark_of_its_kind() -> None:
    """As `phonemizer` 3.4.0 does: 'Version 2.5 ist da.' is cut in the number, and the line is broken there."""
    letters = Letters()
    assert "".join(speak("v 2.5 b.", "de", letters, "official")) == "v_2.\n5_b"
    assert letters.heard == ["v 2", "5 b."]
    assert "".join(speak("v 2.5 b. c", "de", letters, "official")) == "v_2.5_bc"  # "5 b.c" is one piece
    assert "".join(speak("v 2.5 b.", "de", letters, "fixed")) == "v_25_b."
    assert letters.heard == ["v 2.5 b"]


def test_lines_are_joined_by_a_phone_of_no_table_in_the_official_mode() -> None:
    assert spell("ab\ncd") == "a|b\nc|d"
    assert spell("ab.\n#\ncd") == "a|b|.|\nc|d"
    assert spell("ab\ncd", "fixed") == "a|b|_|c|d"
