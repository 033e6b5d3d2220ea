"""Joining of words and tone changes, in both modes."""

from __future__ import annotations

import pytest

from reference_models.text.bopomofo import read_pinyin
from reference_models.text.sandhi import change_tones, join_words
from reference_models.text.tokenizer import Mode

TONES = {"ˊ": "2", "ˇ": "3", "ˋ": "4", "˙": "5"}


def tones(word: str, pinyin: str, mode: Mode = "fixed", before: str = "", after: str = "") -> str:
    """The tones of `word` as spoken, one digit a syllable; two where a syllable has two marks."""
    syllables = [read_pinyin(syllable) or "" for syllable in pinyin.split()]
    spoken = change_tones(word, syllables, mode, before, after)
    return " ".join("".join(TONES[c] for c in syllable if c in TONES) or "1" for syllable in spoken)


@pytest.mark.parametrize("mode", ["official", "fixed"])
@pytest.mark.parametrize(
    ("word", "pinyin", "expected"),
    [
        ("不是", "bu4 shi4", "2 4"),
        ("不好", "bu4 hao3", "4 3"),
        ("不不", "bu4 bu4", "4 4"),
        ("不字", "bu4 zi4", "4 4"),
        ("好不好", "hao3 bu4 hao3", "3 5 3"),
        ("一个", "yi1 ge4", "2 4"),
        ("一天", "yi1 tian1", "4 1"),
        ("一,", "yi1 yi1", "1 1"),
        ("第一名", "di4 yi4 ming2", "4 1 2"),
        ("一月", "yi2 yue4", "1 4"),
        ("一号", "yi2 hao4", "1 4"),
        ("想一想", "xiang3 yi4 xiang3", "3 5 3"),
        ("一百", "yi1 bai3", "4 3"),
        ("一万", "yi1 wan4", "2 4"),
        ("一二三", "yi4 er4 san1", "1 4 1"),
        ("二十一", "er4 shi2 yi4", "4 2 1"),
        ("你好", "ni3 hao3", "2 3"),
        ("花儿", "hua1 er2", "1 5"),
        ("女儿", "nv3 er2", "3 2"),
        ("儿", "er2", "2"),
        ("世界", "shi4 jie4", "4 4"),
    ],
)
def test_tone_changes_of_both_modes(word: str, pinyin: str, expected: str, mode: Mode) -> None:
    assert tones(word, pinyin, mode) == expected


def test_three_third_tones() -> None:
    assert tones("总统府", "zong3 tong3 fu3", "official") == "32 32 3"
    assert tones("总统府", "zong3 tong3 fu3") == "2 2 3"


def test_yi_after_a_digit() -> None:
    assert tones("一年", "yi4 nian2", "official", before="二") == "4 2"
    assert tones("一年", "yi4 nian2", before="二") == "1 2"
    assert tones("一年", "yi1 nian2", before="这") == "4 2"
    assert tones("一年", "yi1 nian2") == "4 2"


def test_yi_before_a_decimal_point() -> None:
    assert tones("一点", "yi4 dian3", "official", after="五") == "4 3"
    assert tones("一点", "yi4 dian3", after="五") == "1 3"
    assert tones("一点", "yi4 dian3", after="水") == "4 3"


def test_too_few_syllables() -> None:
    with pytest.raises(IndexError):
        change_tones("第一", ["ㄉㄧˋ"])


@pytest.mark.parametrize("mode", ["official", "fixed"])
@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["我", "不", "去"], ["我", "不去"]),
        (["看", "一", "看"], ["看一看"]),
        (["一", "本书"], ["一本书"]),
        (["花", "儿"], ["花儿"]),
        (["儿", "花"], ["儿", "花"]),
        ([], []),
    ],
)
def test_joins_of_both_modes(words: list[str], joined: list[str], mode: Mode) -> None:
    assert join_words(words, mode) == joined


@pytest.mark.parametrize(
    ("words", "official", "fixed"),
    [
        (["你", "去", "不"], ["你", "去"], ["你", "去", "不"]),
        (["不", "不", "去"], ["不去"], ["不", "不去"]),
        (["看", "一", "看", "听", "一", "听"], ["看一看", "听", "一听"], ["看一看", "听一听"]),
    ],
)
def test_joins_that_differ(words: list[str], official: list[str], fixed: list[str]) -> None:
    assert join_words(words, "official") == official
    assert join_words(words) == fixed
