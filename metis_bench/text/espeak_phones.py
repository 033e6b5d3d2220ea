"""Pronunciations of English words in ARPAbet, from eSpeak NG: for words that a pronouncing dictionary lacks.

eSpeak NG is GPL-3 and optional; `reference_models.text.espeak` keeps it in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from metis_bench.errors import MissingPrerequisite, missing_extra
from reference_models.errors import MetisError
from reference_models.text.espeak import Espeak

VOICE = "en-us"

# eSpeak's en-us phonemes as it writes them in IPA, to the ARPAbet of CMUdict (no stress)
_TABLE = """
p P, b B, t T, d D, k K, ɡ G, ɡʲ G, tʃ CH, dʒ JH, f F, v V, θ TH, ð DH, s S, z Z, ʃ SH, ʒ ZH, h HH, x K, ɾ T, ʔ T,
m M, n N, nʲ N Y, n̩ AH N, ŋ NG, l L, ɬ L, əl AH L, ɹ R, r R, j Y, w W,
iː IY, iːː IY, i IY, ɪ IH, ᵻ IH, ɛ EH, æ AE, ə AH, ɐ AH, ʌ AH, ɑː AA, ɔː AO, ɔ AO, ʊ UH, uː UW, o OW, ɜː ER, ɚ ER,
eɪ EY, aɪ AY, ɔɪ OY, oʊ OW, aʊ AW, iə IY AH, aɪə AY AH, aɪɚ AY ER, ɔ̃ AO N, ɑ̃ AA N,
ɑːɹ AA R, ɔːɹ AO R, oːɹ AO R, ʊɹ UH R, ɛɹ EH R, ɪɹ IH R
"""
IPA_TO_ARPABET = {ipa: phones for ipa, _, phones in (row.strip().partition(" ") for row in _TABLE.split(","))}


def available() -> bool:
    """Is the espeakng-loader wheel, which carries the library, installed?"""
    from importlib.util import find_spec

    return find_spec("espeakng_loader") is not None


def to_arpabet(ipa: str) -> str | None:
    """'w_ˈɜː_d' to 'W ER D'; None when a symbol has no ARPAbet phone or there is none at all."""
    symbols = [s.strip("ˈˌ") for s in ipa.replace(" ", "_").split("_")]
    phones = [IPA_TO_ARPABET.get(s) for s in symbols if s]
    return None if not phones or None in phones else " ".join(p for p in phones if p)


def pronounce(words: Iterable[str]) -> dict[str, str | None]:
    """ARPAbet of each word (numbers are read out), None where eSpeak has none. Independent of the other words.

    Raises MissingPrerequisite when espeakng-loader is not installed or its library does not start.
    """
    wanted = sorted(set(words))
    if not wanted:
        return {}
    try:
        import espeakng_loader
    except ImportError:
        raise missing_extra("pronouncing words outside the dictionary", "espeakng-loader", "embedded") from None
    with Espeak(espeakng_loader.get_library_path(), espeakng_loader.get_data_path()) as espeak:
        try:
            said = espeak.clauses(wanted, VOICE)
        except MetisError as error:
            raise MissingPrerequisite(
                f"eSpeak NG does not pronounce: {error.message}", fix='pip install --force-reinstall "espeakng-loader"'
            ) from error
    return {word: to_arpabet(" ".join(clauses)) for word, clauses in zip(wanted, said, strict=True)}
