"""Every quirk of the SeedTTS-eval normaliser, against a literal re-telling of the original's loop."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest

from metis_bench.errors import SuiteError
from metis_bench.text.profiles import profiles
from metis_bench.text.seed_tts_eval import REMOVED, ZHON_PUNCTUATION, SeedTTSEval

PROFILE = SeedTTSEval()


def original(text: str, lang: str) -> str:
    """What run_wer.py:31-58 does to one text, one character after the other."""
    for mark in ZHON_PUNCTUATION + string.punctuation:
        if mark != "'":
            text = text.replace(mark, "")
    text = text.replace("  ", " ")
    return " ".join(list(text)) if lang == "zh" else text.lower()


def test_the_constant_is_zhon() -> None:
    hanzi = pytest.importorskip("zhon.hanzi")
    assert hanzi.punctuation == ZHON_PUNCTUATION


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t go.", "dont go"),  # the curly apostrophe is Chinese punctuation
        ("Don't go.", "don't go"),
        ('\'Tis "well-known"!', "'tis wellknown"),  # a hyphen leaves no space
        ("one\N{EM DASH}two", "onetwo"),
        ("a - b", "a b"),
        ("a -- - b", "a  b"),  # three spaces: replaced once, jiwer collapses the rest
        ("a    b", "a  b"),
        (" padded ", " padded "),
        ("Costs $5.50 & 30%", "costs 550 30"),
        ("Café Ünter £5", "café ünter £5"),  # only listed marks go
        ("no\N{IDEOGRAPHIC SPACE}gap", "nogap"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert PROFILE.reference(text, "en") == expected
    assert PROFILE.hypothesis(text, "en") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好，世界。", "你 好 世 界"),
        ("用GPU跑3次", "用 G P U 跑 3 次"),  # Latin letters and digits are split, and case is kept
        ("a b", "a   b"),
        ("「好」", "好"),
    ],
)
def test_chinese_is_scored_by_character(text: str, expected: str) -> None:
    assert PROFILE.reference(text, "zh") == expected


def test_random_texts_equal_the_original(rng: np.random.Generator) -> None:
    alphabet = list("aBz'-  \t" + "你好" + ZHON_PUNCTUATION + string.punctuation + "éÉ£")
    for _ in range(300):
        text = "".join(rng.choice(alphabet, size=rng.integers(0, 40)))
        for lang in ("en", "zh"):
            assert PROFILE.reference(text, lang) == original(text, lang)


@pytest.mark.parametrize("path", ["en/meta.lst", "zh/meta.lst", "zh/hardcase.lst"])
def test_real_texts_equal_the_original(real: Path, path: str) -> None:
    lang = path[:2]
    lines = (real / "seedtts" / path).read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        text = line.split("|")[3]
        assert PROFILE.reference(text, lang) == original(text, lang) != text


def test_other_languages_are_refused() -> None:
    for call in (PROFILE.check, lambda lang: PROFILE.reference("Guten Tag", lang)):
        with pytest.raises(SuiteError, match=r"no rules for language 'de' \(valid: en, zh\)"):
            call("de")


def test_signature_depends_on_the_removed_characters() -> None:
    signature = PROFILE.signature()
    assert signature["name"] == "seed_tts_eval"
    assert signature["version"] == "1"
    assert len(str(signature["removed_sha256"])) == 64
    assert "'" not in REMOVED
    assert len(set(REMOVED)) == len(set(ZHON_PUNCTUATION + string.punctuation)) - 1


def test_registry() -> None:
    assert profiles.get("seed_tts_eval") is SeedTTSEval
    with pytest.raises(SuiteError, match="did you mean 'seed_tts_eval'"):
        profiles.get("seed-tts-eval")
