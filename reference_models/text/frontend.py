"""Text in six languages to phones and ids (Amphion: models/tts/maskgct/g2p/g2p_generation.py).

Two modes. `official` gives the release's phones, quirks included. `fixed` (default) also says what the release refuses
or garbles; the phones of all other texts are the same. What differs, besides `spoken` and the languages' own modules:

| text                         | official                         | fixed                             |
|------------------------------|----------------------------------|-----------------------------------|
| en, zh without letters (123) | InputError, as the release raises | read in the language asked for    |
| nothing to say (!?, empty)   | the same; no phones in fr, de, ko | InputError                        |
| zh: é, Ａ                    | dropped, or said in Chinese      | said in English                   |
| language unknown             | English                          | InputError, nearest language      |
| language not given           | langid, where installed          | InputError                        |
"""

from __future__ import annotations

import difflib
import functools
import importlib
import itertools
import unicodedata
from typing import Literal, Protocol, TypeAlias, get_args

from reference_models.errors import InputError
from reference_models.text import english, french, german, korean
from reference_models.text.espeak import Espeak, default_espeak
from reference_models.text.phones import GAP, Phones, encode
from reference_models.text.tokenizer import Mode

Language: TypeAlias = Literal["en", "zh", "fr", "de", "ko", "ja"]
Script: TypeAlias = Literal["zh", "en", "other"]
LANGUAGES: tuple[str, ...] = get_args(Language)

_ALIASES = {
    **dict.fromkeys(("eng", "english"), "en"),
    **dict.fromkeys(("cmn", "cn", "chi", "zho", "chinese", "mandarin"), "zh"),
    **dict.fromkeys(("fra", "fre", "french", "français"), "fr"),
    **dict.fromkeys(("ger", "deu", "german", "deutsch"), "de"),
    **dict.fromkeys(("kr", "kor", "korean"), "ko"),
    **dict.fromkeys(("jp", "jpn", "japanese"), "ja"),
}
_THROUGH_ESPEAK = {"en": english, "fr": french, "de": german, "ko": korean}


class Pronouncer(Protocol):
    """One language's text to phones, such as `Mandarin` with a lexicon of its own."""

    def to_phones(self, text: str) -> list[str]:
        """Phones of `text`, with `_` between words. Raises InputError, MissingPackage."""
        ...


def phonemize(
    text: str,
    language: str | None = None,
    mode: Mode = "fixed",
    *,
    espeak: Espeak | None = None,
    mandarin: Pronouncer | None = None,
    japanese: Pronouncer | None = None,
) -> Phones:
    """Phones and ids of `text` in `language` (en, zh, fr, de, ko, ja).

    espeak: default one server that all callers share; mandarin, japanese: default those without local resources.
    Raises InputError (nothing to say, unknown language, text the mode refuses), MissingPackage.
    """
    language = _language(text, language, mode)
    espeak = espeak or default_espeak()
    if language in ("en", "zh"):
        phones = _mixed(text, language, mode, espeak, mandarin)
    elif language == "ja":
        phones = (japanese or _japanese(mode)).to_phones(text)
    else:
        phones = _THROUGH_ESPEAK[language].to_phones(text, espeak, mode)
    encoded = encode(phones)
    if mode == "fixed" and not encoded.speech:
        raise InputError(f"there is nothing to say in {text[:40]!r}", fix="give a text with letters or numbers")
    return encoded


def runs(text: str, mode: Mode = "official") -> list[tuple[Script, str]]:
    """`text` cut where Chinese characters (U+4E00 to U+9FA5) and ASCII letters meet; all else joins its run.

    mode: in 'fixed', every Latin letter counts, so that é and Ａ are said in English.
    """
    found: list[tuple[Script, str]] = []
    for script, characters in itertools.groupby(text, lambda character: _script(character, mode)):
        part = "".join(characters)
        if found and (script == found[-1][0] or "other" in (script, found[-1][0])):
            before = found.pop()
            script, part = before[0] if script == "other" else script, before[1] + part
        found.append((script, part))
    return found


def _script(character: str, mode: Mode) -> Script:
    if "\u4e00" <= character <= "\u9fa5":
        return "zh"
    if character.isalpha() and (
        character.isascii() or (mode == "fixed" and "LATIN" in unicodedata.name(character, ""))
    ):
        return "en"
    return "other"


def _mixed(text: str, language: str, mode: Mode, espeak: Espeak, mandarin: Pronouncer | None) -> list[str]:
    """Chinese and English, each run on its own."""
    phones: list[str] = []
    said_in = ""
    for script, part in runs(text, mode):
        said_in = language if script == "other" and mode == "fixed" else script
        if said_in == "en":
            phones += _english(part, espeak, mode)
        elif said_in == "zh":
            phones += (mandarin or _mandarin(mode)).to_phones(part)
        else:
            raise InputError(f"Unknown language: {said_in}", fix="the official mode needs a letter; use mode='fixed'")
    if not said_in and mode == "official":
        raise InputError("Unknown language: (the text is empty)", fix="give a text with letters or numbers")
    return phones[:-1] if said_in == "en" and phones and phones[-1] == GAP else phones


def _english(part: str, espeak: Espeak, mode: Mode) -> list[str]:
    phones = english.to_phones(part, espeak, mode)
    if not phones and mode == "official":
        raise InputError(f"eSpeak finds nothing to say in {part[:40]!r}")
    return phones


def _language(text: str, language: str | None, mode: Mode) -> str:
    if language in LANGUAGES:
        return language
    if mode == "official":
        found = _detect(text) if language is None else language
        return found if found in LANGUAGES else "en"
    choice = ", ".join(LANGUAGES)
    if language is None:
        raise InputError("the text has no language", fix=f"give language= one of {choice}")
    nearest = _nearest(language)
    hint = f"did you mean '{nearest}'? " if nearest else ""
    raise InputError(f"there is no language '{language}'", fix=f"{hint}choose one of {choice}")


def _nearest(language: str) -> str | None:
    name = language.strip().lower().replace("_", "-").split("-")[0]
    names = {**_ALIASES, **{code: code for code in LANGUAGES}}
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return names[close[0]] if close else None


def _detect(text: str) -> str:
    try:
        langid = importlib.import_module("langid")
    except ImportError:
        raise InputError(
            "the text has no language, and the package 'langid' that the release asks is not installed",
            fix=f"give language= one of {', '.join(LANGUAGES)}",
        ) from None
    return str(langid.classify(text)[0])


@functools.cache
def _mandarin(mode: Mode) -> Pronouncer:
    from reference_models.text.mandarin import Mandarin

    return Mandarin(mode=mode)


@functools.cache
def _japanese(mode: Mode) -> Pronouncer:
    from reference_models.text.japanese import Japanese

    return Japanese(mode)
