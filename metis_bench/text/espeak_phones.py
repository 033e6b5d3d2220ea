"""Pronunciations of English words in ARPAbet, from eSpeak NG: for words that a pronouncing dictionary lacks.

eSpeak NG is GPL-3 and optional. It is loaded through ctypes in a process of its own: this file, run as a script with
only the standard library, so the library and its global state never enter the process that imports this module.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Iterable

VOICE = "en-us"
TIMEOUT_S = 60.0

# espeak-ng: src/include/espeak-ng/speak_lib.h
_SYNCHRONOUS, _CHARS_UTF8, _IPA, _SEPARATOR = 2, 1, 0x02, "_"

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
    symbols = [s.strip("ˈˌ") for s in ipa.replace(" ", _SEPARATOR).split(_SEPARATOR)]
    phones = [IPA_TO_ARPABET.get(s) for s in symbols if s]
    return None if not phones or None in phones else " ".join(p for p in phones if p)


def pronounce(words: Iterable[str]) -> dict[str, str | None]:
    """ARPAbet of each word (numbers are read out), None where eSpeak has none. Independent of the other words.

    Raises MissingPrerequisite when espeakng-loader is not installed or its library does not start.
    """
    from metis_bench.errors import MissingPrerequisite, missing_extra

    wanted = sorted(set(words))
    if not wanted:
        return {}
    try:
        import espeakng_loader
    except ImportError:
        raise missing_extra("pronouncing words outside the dictionary", "espeakng-loader", "embedded") from None
    library, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    command = [sys.executable, "-I", "-S", __file__, library, data]  # nothing but the standard library
    try:
        done = subprocess.run(
            [str(c) for c in command],
            input=json.dumps(wanted).encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise MissingPrerequisite(
            f"eSpeak NG did not start ({type(error).__name__})", fix='pip install --force-reinstall "espeakng-loader"'
        ) from error
    return {word: to_arpabet(ipa) for word, ipa in zip(wanted, json.loads(done.stdout), strict=True)}


def _phonemes(library: ctypes.CDLL, word: str) -> str:
    """IPA of `word` with `_` between phonemes and a space between spoken words."""
    text, clauses = ctypes.c_char_p(word.encode()), []
    while text.value:  # one clause a call; the library moves the pointer, and sets it to NULL at the end
        mode = _IPA | ord(_SEPARATOR) << 8
        clauses.append(library.espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, mode).decode())
    return " ".join(clauses)


def _serve(library_path: str, data_path: str) -> None:
    """JSON list of words on stdin, JSON list of IPA strings on stdout."""
    library = ctypes.CDLL(library_path)
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data_path.encode(), 0) < 0:
        sys.exit("espeak_Initialize failed")
    if library.espeak_SetVoiceByName(VOICE.encode()) != 0:
        sys.exit(f"no voice {VOICE}")
    json.dump([_phonemes(library, word) for word in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2])
