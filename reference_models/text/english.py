"""English text to phones (Amphion: models/tts/maskgct/g2p/g2p/english.py).

The fixed mode differs from the release in `spoken` and in abbreviations: it drops the dot of a title before a name
("Dr. Smith" is one breath group), and leaves what is also a word (co, gen, st, hon ...) alone unless a dot follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reference_models.errors import InputError
from reference_models.text.espeak import Espeak
from reference_models.text.optional import optional
from reference_models.text.phones import GAP
from reference_models.text.spoken import spoken
from reference_models.text.tokenizer import Mode, speak

if TYPE_CHECKING:
    from inflect import engine as Inflect

_TITLES = {
    "mrs": "misess",
    "mr": "mister",
    "dr": "doctor",
    "st": "saint",
    "maj": "major",
    "gen": "general",
    "drs": "doctors",
    "rev": "reverend",
    "lt": "lieutenant",
    "hon": "honorable",
    "sgt": "sergeant",
    "capt": "captain",
    "col": "colonel",
    "ft": "fort",
}
_ABBREVIATIONS = _TITLES | {
    "co": "company",
    "jr": "junior",
    "esq": "esquire",
    "ltd": "limited",
    "etc": "et cetera",
    "btw": "by the way",
}
_ALSO_WORDS = {"st", "co", "maj", "gen", "rev", "hon", "col", "ft"}
_ABBREVIATION = re.compile(rf"\b({'|'.join(_ABBREVIATIONS)})\b(\.?)(?=(\s+\w)?)", re.IGNORECASE)

_MOST_DIGITS = 100  # of one number: inflect ends at 10^36, and the patterns below take cubic time

# eSpeak's phones to the release's, in this order
_MERGED = [("t", "ɹ"), ("d", "ɹ"), ("t", "s"), ("d", "z"), ("ɪ", "ɹ")]
_REPLACED = {"ɐ": "ɚ", "ᵻ": "ɪ", "əl": "l", "x": "k", "ɬ": "l", "ʔ": "t", "n̩": "n"}
_MERGED_LAST = [("oː", "ɹ")]

_GAP_AFTER = frozenset("p⁼ʰmftnlkxʃs`ɹaoəɛɪeɑʊŋiuɥwæjː")  # last letters that the release puts a word gap behind


def to_phones(text: str, espeak: Espeak, mode: Mode = "fixed") -> list[str]:
    """Phones of English `text`, with a word gap at the end where the release has one.

    Raises InputError (numbers beyond words), MissingPackage ('inflect', for texts with digits).
    """
    if mode == "fixed":
        text = _ABBREVIATION.sub(_expand, spoken(text, "en"))
    else:
        for short, long in _ABBREVIATIONS.items():
            text = re.sub(rf"\b{short}\b", long, text, flags=re.IGNORECASE)
    phones = speak(read_numbers(text), "en-us", espeak, mode)
    end = [GAP] if phones and phones[-1][-1] in _GAP_AFTER else []
    return _as_released(phones + end)


def _expand(found: re.Match[str]) -> str:
    short, dot, name_follows = found[1].lower(), found[2], found[3] is not None
    if short in _ALSO_WORDS and not dot:
        return found[0]
    return _ABBREVIATIONS[short] + ("" if short in _TITLES and name_follows else dot)


def _as_released(phones: list[str]) -> list[str]:
    for pair in _MERGED:
        phones = _merge(phones, pair)
    phones = [_REPLACED.get(phone, phone) for phone in phones]
    for pair in _MERGED_LAST:
        phones = _merge(phones, pair)
    return phones


def _merge(phones: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for phone in phones:
        if phone == pair[1] and merged and merged[-1] == pair[0]:
            merged[-1] += phone
        else:
            merged.append(phone)
    return merged


def read_numbers(text: str) -> str:
    """Numbers in words: 1,234; £5; $3.50; 3/4; 2.5; 7%; 21st; years such as 1999.

    Raises InputError (a number too large to be named), MissingPackage.
    """
    if not re.search("[0-9]", text):
        return text
    if any(sum(map(str.isdigit, run)) > _MOST_DIGITS for run in re.findall("[0-9.,]+", text)):
        raise _unreadable()
    inflect = optional("inflect", "reading numbers in English text")
    engine = inflect.engine()
    rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
        (r"[0-9][0-9,]+[0-9]", lambda m: m[0].replace(",", "")),
        (r"£([0-9,]*[0-9]+)", lambda m: f"{m[1]} pounds"),
        (r"\$([0-9.,]*[0-9]+)", lambda m: _dollars(m[1])),
        (r"([0-9]+)/([0-9]+)", lambda m: _fraction(int(m[1]), int(m[2]), engine)),
        (r"[0-9]+\.[0-9]+", lambda m: m[0].replace(".", " point ")),
        (r"[0-9.,]*[0-9]+%", lambda m: m[0].replace("%", " percent ")),
        (r"[0-9]+(?:st|nd|rd|th)", lambda m: f" {_words(engine, m[0])} "),
        (r"[0-9]+", lambda m: f" {_number(int(m[0]), engine)} "),
    ]
    try:
        for pattern, reading in rules:
            text = re.sub(pattern, reading, text)
    except (inflect.NumOutOfRangeError, ValueError) as error:
        raise _unreadable() from error
    return text


def _unreadable() -> InputError:
    return InputError("the text has a number that cannot be read out", fix="write it in words")


def _words(engine: Inflect, number: Any, **options: Any) -> str:
    return str(engine.number_to_words(number, **options))


def _dollars(amount: str) -> str:
    whole, *rest = amount.split(".")
    if len(rest) > 1:
        return f" {amount} dollars "
    dollars, cents = (int(part) if part else 0 for part in (whole, rest[0] if rest else ""))
    said = [f"{n} {unit}{'s' * (n != 1)}" for n, unit in ((dollars, "dollar"), (cents, "cent")) if n]
    return f" {', '.join(said) or 'zero dollars'} "


def _fraction(above: int, below: int, engine: Inflect) -> str:
    if (above, below) in ((1, 2), (1, 4)):
        return " one half " if below == 2 else " one quarter "
    parts = {2: "halves", 4: "quarters"}
    part = parts[below] if below in parts else str(engine.ordinal(_words(engine, below)))
    return f" {_words(engine, above)} {part} "


def _number(number: int, engine: Inflect) -> str:
    """In words; 1001 to 2999 as a year."""
    if not 1000 < number < 3000:
        return _words(engine, number, andword="")
    if number == 2000:
        return "two thousand"
    if 2000 < number < 2010:
        return f"two thousand {_words(engine, number % 100)}"
    if number % 100 == 0:
        return f"{_words(engine, number // 100)} hundred"
    return _words(engine, number, andword="", zero="oh", group=2).replace(", ", " ")
