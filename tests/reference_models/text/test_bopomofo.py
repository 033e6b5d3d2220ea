"""Pinyin to bopomofo to phones, against pypinyin's own bopomofo and the phone table."""

from __future__ import annotations

import pytest

from reference_models.text.bopomofo import UNKNOWN_TO_RELEASE, read_pinyin, to_bopomofo, to_phones
from reference_models.text.phones import PHONE_IDS


def known_syllables() -> set[str]:
    """Every reading of every character that pypinyin knows, as `hao3`."""
    pypinyin = pytest.importorskip("pypinyin")
    constants = pytest.importorskip("pypinyin.constants")
    convert = pytest.importorskip("pypinyin.contrib.tone_convert")
    assert pypinyin
    return {
        convert.to_tone3(reading, neutral_tone_with_five=True, v_to_u=False)
        for readings in constants.PINYIN_DICT.values()
        for reading in readings.split(",")
    }


def test_every_syllable_of_pypinyin_has_phones_of_the_table() -> None:
    syllables = known_syllables()
    assert len(syllables) > 1000
    for syllable in syllables:
        read = read_pinyin(syllable)
        assert read is not None, syllable
        phones = to_phones(read)
        assert phones, syllable
        assert all(phone in PHONE_IDS for phone in phones), (syllable, phones)


def test_bopomofo_is_that_of_pypinyin() -> None:
    pypinyin = pytest.importorskip("pypinyin")
    convert = pytest.importorskip("pypinyin.style.bopomofo")
    spoken_otherwise = {"m", "n", "ng", "hm", "hng", "ê"}  # interjections: pypinyin writes them ㄇ, ㄋ, ...
    assert pypinyin
    compared = 0
    for syllable in known_syllables():
        letters = syllable[:-1]
        if letters in spoken_otherwise:
            continue
        expected = convert.converter.to_bopomofo(pypinyin.contrib.tone_convert.tone3_to_tone(syllable))
        assert to_bopomofo(letters) == expected.strip("ˉˊˇˋ˙"), syllable
        compared += 1
    assert compared > 1000


@pytest.mark.parametrize(
    ("pinyin", "phones"),
    [
        ("hao3", ["x", "ɑʊ↓↑"]),
        ("tian1", ["tʰ", "jɛn→"]),
        ("bo1", ["p⁼wo→"]),
        ("fo2", ["fwo↑"]),
        ("zi5", ["ts⁼"]),
        ("zi3", ["ts⁼ɹ↓↑"]),
        ("shi4", ["s`ɹ↓"]),
        ("ri4", ["ɹ`ɹ↓"]),
        ("si1", ["sɹ→"]),
        ("yuan2", ["ɥæn↑"]),
        ("jue2", ["tʃ⁼", "ɥɛ↑"]),
        ("lve4", ["l", "ɥɛ↓"]),
        ("nue4", ["n", "ɥɛ↓"]),
        ("lv4", ["l", "ɥ↓"]),
        ("lu4", ["l", "u↓"]),
        ("weng1", ["ʊŋ→"]),
        ("xiong2", ["ʃ", "jʊŋ↑"]),
        ("er2", ["əɹ↑"]),
        ("me5", ["m", "ə"]),
        ("yo1", ["i", "o→"]),
    ],
)
def test_phones_of_a_syllable(pinyin: str, phones: list[str]) -> None:
    read = read_pinyin(pinyin)
    assert read is not None
    assert to_phones(read) == phones


@pytest.mark.parametrize("pinyin", ["", "hao", "5", "xyz3", "r5", "hao7", "你"])
def test_what_is_no_syllable(pinyin: str) -> None:
    assert read_pinyin(pinyin) is None


def test_official_knows_the_table_of_the_release_only() -> None:
    for letters in UNKNOWN_TO_RELEASE:
        assert read_pinyin(letters + "2", official=True) is None
        assert read_pinyin(letters + "2") is not None
    assert read_pinyin("hm5", official=True) == "ㄏㄇ˙"
    assert read_pinyin("hm5") == "ㄏㄣ˙"


def test_a_second_tone_mark_is_a_phone_of_its_own() -> None:
    assert to_phones("ㄗㄨㄥˇˊ") == ["ts⁼", "ʊŋ↓↑", "↑"]


def test_what_is_not_bopomofo_passes() -> None:
    assert to_phones("龘") == ["龘"]
    assert to_phones("一ˋ") == ["一↓"]
