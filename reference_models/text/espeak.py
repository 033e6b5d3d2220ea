"""eSpeak NG as a function from text to phonemes.

The library (GPL-3, optional: the `espeakng-loader` wheel or one that the system has) runs in a process of its own.

Versions. The release's phones are those of eSpeak NG 1.51; the wheel carries 1.52. Between the two tags the phonemes
of the voices used here stayed the same, but four are written differently in IPA (espeak-ng: phsource/ph_english_us,
phsource/ph_german): 1.52 merges American `o@` (four) with `O@` (for), and writes German `y` (müssen), `UR` (durch) and
`iR` as ʏ, ʊɐ and iɐ instead of y, ?? and i?. eSpeak's own names of the phonemes still tell them apart, and so
`Espeak.words` writes them as 1.51 did, whatever the version. (The question marks too: the release takes them for
punctuation and gives "durch" two of them. Which version its training used is not published.)
What remains is the dictionary: 1.52 has new entries for some thirty English (Tacoma, banknote ...) and sixty German
words (Kuchen, Hypothese ...). Name a 1.51 library in METIS_ESPEAK_LIBRARY where these must be the release's, too.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from reference_models.errors import InputError, MissingPackage
from reference_models.espeak import LIBRARY_VARIABLE, EspeakProcess

Notation: TypeAlias = Literal["ipa", "mnemonics"]
Tables: TypeAlias = dict[str, dict[str, str]]

_STRESS = re.compile("[ˈˌ'-]")  # stress marks, and the `-` of phonemes such as `ə-`
_LANGUAGE_SWITCH = re.compile(r"\([^)]*\)")  # (en)...(fr) around a word read in another language
_SILENT = re.compile(r"[|:!;]*")  # what is left of pauses (`_:`, `_|`) and glides after splitting at `_`

# voice: {eSpeak's name of the phoneme: {what 1.52 writes: what 1.51 wrote}}
_RENAMED: dict[str, Tables] = {
    "en-us": {"o@": {"ɔː": "oː", "ɔːɹ": "oːɹ"}},
    "de": {"y": {"ʏ": "y"}, "UR": {"ʊɐ": "??"}, "iR": {"iɐ": "i?"}},
}


def find_library() -> tuple[str, str]:
    """(library, data folder): METIS_ESPEAK_LIBRARY, else of the espeakng-loader wheel, else the system's.

    An empty data folder is the library's own. Raises MissingPackage when there is none.
    """
    path = os.environ.get(LIBRARY_VARIABLE)
    if path:
        return path, ""
    try:
        import espeakng_loader
    except ImportError:
        from ctypes.util import find_library as of_the_system

        path = of_the_system("espeak-ng")
        if path is None:
            raise MissingPackage("turning text into phones", "espeakng-loader", "text") from None
        return path, ""
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


class Espeak(EspeakProcess):
    """Phonemes from one server process. Thread-safe.

    library:   path of an eSpeak NG library (1.50 or newer); default: see `find_library`
    data:      its espeak-ng-data folder, where the library does not know it
    timeout_s: what the texts of one call may take
    """

    def __init__(self, library: str | Path | None = None, data: str | Path = "", timeout_s: float = 30.0) -> None:
        super().__init__(timeout_s)
        self._given = None if library is None else (str(library), str(data))

    def library(self) -> tuple[str, str]:
        """The one given, else what `find_library` finds."""
        return self._given or find_library()

    def reinstall(self) -> str:
        """Check what was given, or install the wheel again."""
        if self._given or os.environ.get(LIBRARY_VARIABLE):
            return f"check the path given as library= or {LIBRARY_VARIABLE}, and that its espeak-ng-data is installed"
        return super().reinstall()

    @property
    def version(self) -> str:
        """Version of the library, such as '1.52.0'."""
        return str(self.hello()["version"])

    def words(self, texts: Sequence[str], voice: str) -> list[list[list[str]]]:
        """For each text, the phonemes of each spoken word (a number may be several), in the IPA of 1.51.

        Without stress marks and without the marks of a change of language. An empty phoneme at the edge of a word is a
        silent one, such as the pause before a German vowel. `voice`: 'en-us', 'fr', 'de', 'ko', ...
        Raises InputError (unknown voice, text that crashes or hangs eSpeak), MissingPackage, MetisError.
        """
        spoken = [[w for w in map(_symbols, _spoken(said)) if w] for said in self.clauses(texts, voice)]
        tables = _RENAMED.get(voice, {})
        changed = {symbol for table in tables.values() for symbol in table}
        if not any(changed.intersection(word) for words in spoken for word in words):
            return spoken
        named = [[n for n in map(_names, _spoken(said)) if n] for said in self.clauses(texts, voice, "mnemonics")]
        return [_as_in_1_51(words, names, tables) for words, names in zip(spoken, named, strict=True)]

    def clauses(self, texts: Sequence[str], voice: str, notation: Notation = "ipa") -> list[list[str]]:
        """eSpeak's own answer to each text, clause by clause: `_` between phonemes, a space between spoken words.

        notation: in IPA, or as eSpeak's own names of the phonemes. The texts of one call are said one after another by
        one process, those of another call by a fresh one. Raises as `words` does.
        """
        if any("\ud800" <= c <= "\udfff" for text in texts for c in text):
            raise InputError("the text holds lone surrogates, which are not Unicode text")
        if not texts:
            return []
        plain = [text.replace("\0", " ") for text in texts]  # eSpeak stops at NUL
        reply, _ = self.ask("phonemes", voice=voice, texts=plain, notation=notation)
        if "error" in reply:
            raise InputError(reply["error"])
        return list(reply["clauses"])


@functools.cache
def default_espeak() -> Espeak:
    """The one server that callers share when they bring none."""
    return Espeak()


def available() -> bool:
    """Is any eSpeak NG library to be found?"""
    try:
        find_library()
    except MissingPackage:
        return False
    return True


def _spoken(clauses: list[str]) -> list[str]:
    """The words of a text, without the marks of a change of language."""
    return [word for clause in clauses for word in _LANGUAGE_SWITCH.sub("", clause).split()]


def _symbols(word: str) -> list[str]:
    """'h_ə_l_ˈoʊ' to [h, ə, l, oʊ]; '_ˈaʊ_s' to ["", aʊ, s]."""
    symbols = [_STRESS.sub("", s) for s in word.split("_")]
    heard = [s for s in symbols if s]
    silent = [""]
    return silent * (not symbols[0]) + heard + silent * (not symbols[-1]) if heard else []


def _names(word: str) -> list[str]:
    """ "f_'o@_s__:" to [f, o@, s]: the phonemes that have a symbol in IPA."""
    return [name.strip("',%=") for name in word.split("_") if not _SILENT.fullmatch(name)]


def _as_in_1_51(words: list[list[str]], names: list[list[str]], tables: Tables) -> list[list[str]]:
    """`words` with the symbols of `tables`; words stay as they are where the two answers do not correspond."""
    if len(words) != len(names):
        return words
    told = []
    for word, named in zip(words, names, strict=True):
        name = iter(named)
        same = len(named) == sum(map(bool, word))
        told.append([tables.get(next(name), {}).get(s, s) if s else s for s in word] if same else word)
    return told
