"""CMU PocketSphinx with a vocabulary closed over the corpus' own texts: the offline recogniser of the mini profile.

Its numbers rank systems on this corpus; they are no substitute for an open-vocabulary recogniser, because the language
model has seen every sentence. The acoustic model and dictionary are the ones inside the `pocketsphinx` wheel (BSD).
"""

from __future__ import annotations

import functools
import io
import re
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import AUDIO_VERSION
from metis_bench.errors import CorpusError, MissingPrerequisite, missing_extra
from metis_bench.hashing import JSON, sha256_bytes, sha256_json, sha256_path
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip
from metis_bench.systems.base import require_package
from metis_bench.text import espeak_phones
from metis_bench.text.seed_tts_eval import SeedTTSEval

RATE = 16_000  # Hz, of the acoustic model
MIN_SAMPLES = 410  # one analysis window (25.625 ms): there is nothing to recognise in less
_CURLY_APOSTROPHE = re.compile("(?<=\\w)\N{RIGHT SINGLE QUOTATION MARK}(?=\\w)")
_PIECE = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """(word, spoken pieces) of a text, e.g. ("superimposition", ("super", "imposition")) for "super-imposition".

    Words are those of the default profile `seed_tts_eval`, so a perfect transcript scores 0; only curly apostrophes
    are made straight first, as an open-vocabulary recogniser would write them.
    """
    out = []
    for surface in _CURLY_APOSTROPHE.sub("'", text).split():
        word = SeedTTSEval().hypothesis(surface, "en")
        if word:
            out.append((word, tuple(_PIECE.findall(surface.lower()))))
    return out


@dataclass(frozen=True)
class Vocabulary:
    """What the decoder is built from. `unknown` words have no pronunciation, so they can never be recognised."""

    language_model: str  # ARPA trigrams
    dictionary: str  # `word PH ON ES` lines
    unknown: tuple[str, ...]
    pronounced: tuple[str, ...]  # by eSpeak NG, for want of a dictionary entry


def _model_folder() -> Path:
    spec = find_spec("pocketsphinx")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("recogniser 'pocketsphinx'", "pocketsphinx", "embedded")
    return Path(spec.submodule_search_locations[0]) / "model" / "en-us"


def _bundled(wanted: Set[str]) -> dict[str, list[str]]:
    """word to its pronunciations (`tomato`, `tomato(2)`, ... in the file) of those wanted that the dictionary has."""
    entries: dict[str, list[str]] = {}
    for line in (_model_folder() / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        word, _, phones = line.partition(" ")
        if word not in wanted and word.endswith(")"):
            word = re.sub(r"(?<=.)\(\d+\)$", "", word)
        if word in wanted:
            entries.setdefault(word, []).append(phones.strip())
    return entries


def _pronunciations(vocabulary: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, list[str]], list[str]]:
    """Pronunciations of each word that has one, and the words that eSpeak NG had to help with."""
    known = _bundled(vocabulary.keys() | {p for pieces in vocabulary.values() for p in pieces})
    missing = {w: pieces for w, pieces in vocabulary.items() if w not in known}
    foreign = {p for pieces in missing.values() for p in pieces if p not in known}
    spoken = espeak_phones.pronounce(foreign) if espeak_phones.available() else {}
    found = {w: known[w] for w in vocabulary if w in known}
    for word, pieces in missing.items():
        phones = [known[p][0] if p in known else spoken.get(p) for p in pieces]
        if phones and None not in phones:
            found[word] = [" ".join(p for p in phones if p)]
    return found, [w for w, pieces in missing.items() if w in found and any(p in foreign for p in pieces)]


@functools.lru_cache(maxsize=8)
def vocabulary_of(texts: tuple[str, ...]) -> Vocabulary:
    """Trigram model and dictionary of `texts`, in any order and repetition. Raises CorpusError without any word."""
    from pocketsphinx.lm import ArpaBoLM

    sentences = sorted({tuple(words(t)) for t in texts} - {()})
    vocabulary = {word: pieces for sentence in reversed(sentences) for word, pieces in sentence}
    found, pronounced = _pronunciations(vocabulary)
    if not found:
        raise CorpusError("a closed vocabulary needs texts, and none of this corpus has a word that can be pronounced")
    model = ArpaBoLM(text="\n".join(" ".join(w for w, _ in s) for s in sentences), add_start=True)
    model.compute()
    arpa = io.StringIO()
    model.write(arpa)
    lines = [
        f"{word} {phones}" if i == 0 else f"{word}({i + 1}) {phones}"
        for word in sorted(found)
        for i, phones in enumerate(found[word])
    ]
    unknown = tuple(sorted(vocabulary.keys() - found.keys()))
    return Vocabulary(arpa.getvalue(), "\n".join(lines) + "\n", unknown, tuple(sorted(pronounced)))


@functools.lru_cache(maxsize=4)
def _decoder(vocabulary: Vocabulary) -> Any:
    """A pocketsphinx.Decoder; made once a process and vocabulary. The files it reads are gone afterwards."""
    from pocketsphinx import Decoder

    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        lm, dictionary = Path(folder, "corpus.lm"), Path(folder, "corpus.dict")
        lm.write_text(vocabulary.language_model, encoding="utf-8")
        dictionary.write_text(vocabulary.dictionary, encoding="utf-8")
        hmm = str(_model_folder() / "en-us")
        return Decoder(hmm=hmm, lm=str(lm), dict=str(dictionary), loglevel="FATAL")


@functools.lru_cache(maxsize=1)
def _acoustic_model_sha256() -> str:
    return sha256_path(_model_folder() / "en-us")


def dithered(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) plus triangular noise of one 16-bit step, always the same: as Kaldi does by default.

    Between the words of a synthesiser there is digital silence, on whose constant features the decoder loses whole
    words: eSpeak NG's own clear speech had three times the errors without it.
    """
    rng = np.random.default_rng(0)
    noise = rng.random(len(samples), dtype=np.float32) - rng.random(len(samples), dtype=np.float32)
    return np.asarray(samples + noise / np.float32(32768), dtype=np.float32)


def to_pcm16(samples: NDArray[np.float32]) -> bytes:
    """(T,) in [-1, 1] to little-endian 16-bit samples; what lies outside is clipped."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()


@recognisers.register("pocketsphinx")
class PocketSphinx(Recogniser):
    """English, 16 kHz, whole clip, no trimming; the same audio always gives the same transcript."""

    name = "pocketsphinx"
    languages = frozenset({"en"})
    packages = ("pocketsphinx",)
    extra = "embedded"

    def check(self) -> None:
        """Raise MissingPrerequisite also for a corpus without texts: they are its vocabulary."""
        super().check()
        if not self.texts:
            raise MissingPrerequisite(
                "recogniser 'pocketsphinx' takes its words from the corpus' texts, and this one has none",
                fix="take an open-vocabulary recogniser, such as whisper-large-v3",
            )

    @functools.cached_property
    def _signature(self) -> Mapping[str, JSON]:
        vocabulary = vocabulary_of(self.texts)
        return {
            "name": self.name,
            "version": "1",
            "package": require_package("pocketsphinx", "recogniser 'pocketsphinx'", self.extra),
            "acoustic_model_sha256": _acoustic_model_sha256(),
            "language_model_sha256": sha256_bytes(vocabulary.language_model.encode()),
            "dictionary_sha256": sha256_bytes(vocabulary.dictionary.encode()),
            "pronounced_by_espeak": len(vocabulary.pronounced),
            "out_of_vocabulary": {"count": len(vocabulary.unknown), "sha256": sha256_json(vocabulary.unknown)},
            "rate": RATE,
            "dither": "1 LSB triangular, seed 0",
            "audio": AUDIO_VERSION,
        }

    def signature(self) -> Mapping[str, JSON]:
        """Versions and hashes of acoustic model, language model and dictionary; words it can never recognise."""
        return self._signature

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript in lower case}. Raises AudioError.

        Digital silence is an empty transcript: on constant features the decoder would make up a word.
        """
        samples = clip.audio(RATE).samples
        if len(samples) < MIN_SAMPLES or not any(to_pcm16(samples)):
            return {"text": ""}
        pcm = to_pcm16(dithered(samples))
        decoder = _decoder(vocabulary_of(self.texts))
        decoder.reinit_feat()  # forgets the cepstral mean and noise floor of the clips before this one
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return {"text": "" if hypothesis is None else str(hypothesis.hypstr)}
