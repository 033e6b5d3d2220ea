"""Whisper through CTranslate2 (`faster-whisper`, MIT), 5 beams: how F5-TTS measures WER.

Source: SWivid/F5-TTS@2ae2c9b src/f5_tts/eval/utils_eval.py:284-330 (large-v3, float16, segments joined by spaces).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import AUDIO_VERSION
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.asr.whisper import LANGUAGES, SIZES, USUAL
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import device
from metis_bench.metrics.weights import Weights, content
from metis_bench.systems.base import require_package

RATE = 16_000  # Hz
BEAMS = 5
SEED = 0  # of the sampling it falls back to
FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json|vocabulary.txt")


def _precision() -> str:
    """float16 as in the original; a CPU has none."""
    return "float16" if device() == "cuda" else "float32"


@functools.lru_cache(maxsize=1)
def _model(place: str) -> Any:
    import ctranslate2
    from faster_whisper import WhisperModel

    ctranslate2.set_random_seed(SEED)
    try:
        return WhisperModel(place, device=device(), compute_type=_precision(), local_files_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingPrerequisite(f"{place} cannot be loaded: {error}", fix="get it again") from None


class FasterWhisper(Recogniser):
    """One size of it, told the language."""

    languages = frozenset(LANGUAGES.split())
    packages = ("faster-whisper",)
    network = True

    def signature(self) -> Mapping[str, JSON]:
        """Content of the files, versions, and the decoding."""
        what = f"recogniser '{self.name}'"
        return {
            "name": self.name,
            "version": "1",
            "files": content(self.located(), (*FILES, "preprocessor_config.json")),
            "packages": {p: require_package(p, what, self.extra) for p in ("faster-whisper", "ctranslate2")},
            "decoding": {"beams": BEAMS, "language": self.language, "precision": _precision(), "seed": SEED},
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript}; nothing of digital silence. Raises AudioError."""
        samples = clip.audio(RATE).samples
        if not np.any(samples):
            return {"text": ""}
        segments = self._transcribe(samples)
        if any(segment.temperature > 0 for segment in segments):  # sampled: by chance, and by what was sampled before
            _model.cache_clear()  # only new threads have new generators
            segments = self._transcribe(samples)
        return {"text": "".join(f" {segment.text}" for segment in segments)}

    def _transcribe(self, samples: NDArray[np.float32]) -> list[Any]:
        segments, _ = _model(str(self.located())).transcribe(samples, beam_size=BEAMS, language=self.language)
        return list(segments)


for _size, _gigabytes in SIZES.items():
    _name = f"faster-whisper-{_size}"
    _owner = "mobiuslabsgmbh" if _size == "large-v3-turbo" else "Systran"  # as in faster_whisper.utils
    _weights = Weights(_name, "MIT", _gigabytes, FILES, f"{_owner}/{_name}", usual=_size == USUAL)
    _made = type(_name, (FasterWhisper,), {"name": _name, "weights": (_weights,), "__module__": __name__})
    recognisers.register(_name)(cast("type[Recogniser]", _made))
