"""Katakana to consonants and vowels to phones."""

from __future__ import annotations

import pytest

from reference_models.errors import InputError
from reference_models.text.japanese_kana import _FIXED, _OFFICIAL, ipa, lengthen, spell
from reference_models.text.phones import PHONE_IDS


@pytest.mark.parametrize("mode", ["official", "fixed"])
@pytest.mark.parametrize(
    ("kana", "sounds"),
    [
        ("ソー", "s o o"),
        ("キョー", "ky o o"),
        ("ガッコー", "g a q k o o"),
        ("ンー", "N N"),
        ("ヴァイオリン", "v a i o r i N"),
        ("ティー", "t i i"),
        ("ツ", "ts u"),
        ("チャ", "ch a"),
        ("デュオ", "dy u o"),
        ("ーー", "ー ー"),
        ("ーラ", "ー r a"),
    ],
)
def test_sounds_of_both_modes(kana: str, sounds: str, mode: str) -> None:
    assert spell(kana, mode) == sounds.split()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kana", "official", "fixed"),
    [
        ("フュー", "f u y u u", "f y u u"),
        ("クォ", "k u o", "kw o"),
        ("グァ", "g u a", "gw a"),
        ("ヂャ", "j i y a", "j a"),
    ],
)
def test_sounds_that_differ(kana: str, official: str, fixed: str) -> None:
    assert spell(kana, "official") == official.split()
    assert spell(kana) == fixed.split()


@pytest.mark.parametrize("kana", ["ヵ", "ヷ"])
def test_kana_that_the_release_lacks(kana: str) -> None:
    with pytest.raises(InputError, match="no reading"):
        spell(kana, "official")
    assert spell(kana)[1] == "a"


@pytest.mark.parametrize("word", ["漢", "A", "ヽ"])
def test_what_is_no_kana(word: str) -> None:
    with pytest.raises(InputError, match="no reading"):
        spell(word)


def test_every_mora_has_phones_of_the_table() -> None:
    for morae in (_OFFICIAL, _FIXED):
        for kana, sounds in morae.items():
            assert all(ipa(sound) in PHONE_IDS for sound in sounds), kana


def test_phones() -> None:
    assert [ipa(s) for s in ["k", "ch", "ts", "j", "N", "q", "u", "h", ",", "…"]] == [
        "k",
        "tɕ",
        "tsɯ",
        "dʑ",
        "ɴ",
        "q",
        "ɯ",
        "c\u0327",
        ",",
        "…",
    ]


def test_lengthening() -> None:
    def joined(words: list[str], mode: str) -> str:
        out = lengthen([word.split() for word in words], mode)  # type: ignore[arg-type]
        return "|".join(" ".join(word) for word in out)

    for mode in ("official", "fixed"):
        assert joined(["a", "ー r a"], mode) == "a|a r a"
        assert joined(["k a N", "ー ー"], mode) == "k a N|N N"
    assert joined(["a", ",", "ー"], "official") == "a|,|,"
    assert joined(["a", ",", "ー"], "fixed") == "a|,|"
    assert joined(["ー", "k a"], "official") == "a|k a"
    assert joined(["ー", "k a"], "fixed") == "|k a"
    assert joined(["a q", "ー"], "fixed") == "a q|"
