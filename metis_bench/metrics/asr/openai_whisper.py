"""Whisper by its authors' package, `openai-whisper` (MIT): any length, windows of 30 s, sampling where greedy fails.

`openai-whisper-<size>` is told the language and decodes greedily first; `versa-whisper-<size>` detects the language and
takes 5 beams, as VERSA does (wavlab-speech/versa@c398480). Sampling is seeded by us.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import numpy as np

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
SEED = 0


@functools.lru_cache(maxsize=1)
def _model(file: str) -> Any:
    import whisper

    try:
        return whisper.load_model(file, device=device())
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = type(error).__name__
        raise MissingPrerequisite(f"{file} cannot be loaded: {reason}", fix="get it again") from None


class OpenAIWhisper(Recogniser):
    """One size of it. Half precision on a GPU and single on a CPU, as the package does: two different metrics."""

    languages = frozenset(LANGUAGES.split())
    packages = ("openai-whisper",)
    network = True
    told: ClassVar[bool] = True
    beams: ClassVar[int | None] = None

    def signature(self) -> Mapping[str, JSON]:
        """Content of the file, version of the package, and the decoding."""
        return {
            "name": self.name,
            "version": "1",
            "files": content(self.located()),
            "package": require_package("openai-whisper", f"recogniser '{self.name}'", self.extra),
            "decoding": {"beams": self.beams, "language": self.language if self.told else None, "seed": SEED},
            "half": device() == "cuda",
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript}; nothing of digital silence. Raises AudioError."""
        import torch

        samples = clip.audio(RATE).samples
        if not np.any(samples):
            return {"text": ""}
        model = _model(str(self.located()))
        options = {"language": self.language if self.told else None, "beam_size": self.beams}
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            found = model.transcribe(samples, fp16=device() == "cuda", **options)
        return {"text": found["text"]}


for _size, _gigabytes in SIZES.items():
    for _prefix, _told, _beams in (("openai-whisper", True, None), ("versa-whisper", False, 5)):
        _name, _file = f"{_prefix}-{_size}", f"{_size}.pt"
        _weights = Weights(
            _file,
            "MIT",
            _gigabytes,
            others=(f"~/.cache/whisper/{_file}",),
            usual=_size == USUAL,
            get=f"python -c \"import whisper; whisper.load_model('{_size}')\" (or put {_file} there yourself)",
        )
        _body = {"name": _name, "weights": (_weights,), "told": _told, "beams": _beams, "__module__": __name__}
        recognisers.register(_name)(cast("type[Recogniser]", type(_name, (OpenAIWhisper,), _body)))
