"""What the languages do to a text before and after eSpeak."""

from __future__ import annotations

import sys

import pytest

from reference_models.errors import InputError, MissingPackage
from reference_models.text import french, german, korean
from reference_models.text.english import _as_released, read_numbers, to_phones
from reference_models.text.espeak import Espeak
from reference_models.text.punctuation import plain_punctuation
from reference_models.text.tokenizer import Mode


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no digits at all", "no digits at all"),
        ("1,234,567", "one million, two hundred thirty-four thousand, five hundred sixty-seven"),
        ("£20", "twenty pounds"),
        ("$3.50", "three dollars, fifty cents"),
        ("$1.01", "one dollar, one cent"),
        ("$0.99", "ninety-nine cents"),
        ("$0", "zero dollars"),
        ("$1.2.3", "one point two . three dollars"),
        ("1/2 1/4 3/2 3/4 2/3", "one half one quarter three halves three quarters two third"),
        ("12.5", "twelve point five"),
        ("75%", "seventy-five percent"),
        ("1st 2nd 3rd 21st 12th", "first second third twenty-first twelfth"),
        ("1999", "nineteen ninety-nine"),
        ("1905", "nineteen oh five"),
        ("1800", "eighteen hundred"),
        ("2000 2005 2010", "two thousand two thousand five twenty ten"),
        ("1000 3000", "one thousand three thousand"),
        ("101", "one hundred one"),
        ("0", "zero"),
    ],
)
def test_numbers_in_english(text: str, words: str) -> None:
    pytest.importorskip("inflect")
    assert " ".join(read_numbers(text).split()) == words


@pytest.mark.parametrize("number", ["4" * 40, "9" * 100_000, "1," * 50_000 + "1%", "$,5"])
def test_a_number_beyond_words_is_an_input_error(number: str) -> None:
    pytest.importorskip("inflect")
    with pytest.raises(InputError, match="number that cannot be read"):
        read_numbers(f"about {number}")


def test_only_numbers_need_inflect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inflect", None)
    assert read_numbers("none here") == "none here"
    with pytest.raises(MissingPackage, match=r"metis-bench\[text\]"):
        read_numbers("7")


def test_phones_are_merged_and_replaced_as_released() -> None:
    spelled = "t ɹ uː _ d ɹ ɪ ɹ _ k æ t s _ d z t _ ɹ ɐ ᵻ əl x ɬ ʔ n̩ oː ɹ"
    assert " ".join(_as_released(spelled.split())) == "tɹ uː _ dɹ ɪɹ _ k æ ts _ dz t _ ɹ ɚ ɪ l k l t n oːɹ"


@pytest.mark.parametrize(("text", "gap"), [("cat", True), ("red", False), ("cat.", False), ("sees", False)])
def test_english_ends_with_a_gap_after_some_letters(espeak: Espeak, text: str, gap: bool) -> None:
    assert (to_phones(text, espeak)[-1] == "_") == gap


def test_french_abbreviations_and_punctuation() -> None:
    assert french.normalize("M. Dupont, Mme Roy : no. 5 & 6") == "monsieur Dupont, Madame Roy , numéro 5 et 6"
    assert french.normalize("« Oui » (non)…") == "Oui non."
    assert french.normalize("peut-être") == "peut être"


def test_german_and_french_punctuation_is_reduced() -> None:
    assert plain_punctuation("Ja; nein: doch – „gut“…") == "Ja, nein, doch – „gut."
    assert plain_punctuation("!Hallo,\nWelt...") == "Hallo,.Welt."
    assert plain_punctuation("a&b", {"&": " und "}) == "a und b"


def test_korean_spells_latin_letters_and_drops_hanja() -> None:
    assert korean.normalize(" 한국(韓國) AI와 A B Hello ") == "한국() 에이아이와 에이 비 hello"
    assert len(korean._LETTERS) == 26


@pytest.mark.parametrize(
    ("language", "official", "fixed"),
    [
        (french, "s e ' ɛ", "s ɛ"),  # c'est
        (german, "ɡ eː t ' ɛ s", "ɡ eː t s"),  # geht's
    ],
)
def test_an_apostrophe_inside_a_word(espeak: Espeak, language: object, official: str, fixed: str) -> None:
    text = {"french": "c'est", "german": "geht's"}[language.__name__.rpartition(".")[2]]  # type: ignore[attr-defined]
    said: dict[Mode, str] = {m: " ".join(language.to_phones(text, espeak, m)) for m in ("official", "fixed")}  # type: ignore[attr-defined]
    assert said == {"official": official, "fixed": fixed}
