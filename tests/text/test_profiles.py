"""The other normalisation profiles, against their sources written out literally."""

from __future__ import annotations

import re
import string

import pytest

from metis_bench.errors import SuiteError
from metis_bench.text.profiles import profiles
from metis_bench.text.seed_tts_eval import ZHON_PUNCTUATION

ENGLISH = [
    "Don\N{RIGHT SINGLE QUOTATION MARK}t you  know, it's HERE?",
    "A well-known fox - twenty-five of them; 3.5 %!",
    "\N{LEFT DOUBLE QUOTATION MARK}Mr. O'Brien,\N{RIGHT DOUBLE QUOTATION MARK} she said: 'yes' \N{EM DASH} no...",
    "",
    "   ",
    "\N{FULLWIDTH LATIN SMALL LETTER A} caf\N{LATIN SMALL LETTER E WITH ACUTE}",
]


def f5(text: str, lang: str) -> str:
    """utils_eval.py of F5-TTS, to the letter."""
    for x in ZHON_PUNCTUATION + string.punctuation:
        text = text.replace(x, "")
    text = text.replace("  ", " ")
    return " ".join(list(text)) if lang == "zh" else text.lower()


def zipvoice(text: str) -> str:
    """hubert.py of ZipVoice, to the letter."""
    text = text.replace("\N{LEFT SINGLE QUOTATION MARK}", "'").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    text = re.sub(r"[^a-zA-Z0-9']", " ", text.lower())
    return re.sub(r"\s+", " ", text).strip()


@pytest.mark.parametrize("text", ENGLISH)
def test_english_profiles_equal_their_sources(text: str) -> None:
    for name, literal in (("hubert", zipvoice), ("f5", lambda t: f5(t, "en")), ("seed_vc", str.lower)):
        profile = profiles.get(name)()
        assert profile.hypothesis(text, "en") == profile.reference(text, "en") == literal(text)


@pytest.mark.parametrize("text", ["你好，世界。", "用GPT-4写 2个字！", "", "“真的”吗？"])
def test_mandarin_as_f5(text: str) -> None:
    assert profiles.get("f5")().reference(text, "zh") == f5(text, "zh")


def test_mandarin_by_character_keeps_latin_words() -> None:
    profile = profiles.get("zh_char")()
    assert profile.reference("用GPT-4写\N{FULLWIDTH DIGIT TWO}0个字！", "zh") == "用 gpt 4 写 20 个 字"
    assert profile.hypothesis("，。！", "zh") == ""


def test_librispeech_pc_is_librispeech_again() -> None:
    profile = profiles.get("librispeech_pc")()
    said = "'It's the Rev. Smith's,' he said - \"o'clock\"; 'TIS well-known."
    assert profile.reference(said, "en") == "it's the rev smith's he said o'clock tis well known"


def test_whisper_normalisers_are_the_package_s() -> None:
    normalizers = pytest.importorskip("whisper.normalizers")
    said = "Mr. O'Malley's colour costs twenty-five dollars, um, [noise] isn't it?"
    assert profiles.get("whisper_en")().reference(said, "en") == normalizers.EnglishTextNormalizer()(said)
    assert profiles.get("whisper_en")().reference(said, "en") != said
    basic = profiles.get("whisper_basic")()
    assert basic.reference("Schöne  Grüße!", "de") == "schöne grüße"
    assert "openai-whisper" in basic.signature()


@pytest.mark.parametrize("name", ["f5", "hubert", "librispeech_pc", "seed_vc", "whisper_en", "zh_char"])
def test_only_their_languages(name: str) -> None:
    with pytest.raises(SuiteError, match="no rules for language 'de'"):
        profiles.get(name)().reference("eins", "de")


def test_signatures_tell_profiles_apart() -> None:
    pytest.importorskip("whisper.normalizers")
    signatures = [str(profile().signature()) for _, profile in profiles.items()]
    assert len(set(signatures)) == len(signatures)
