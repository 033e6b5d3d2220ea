"""What a speaker encoder is to SIM: an extractor of embeddings, registered by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import Audio
from metis_bench.metrics.base import Extractor, Undefined
from metis_bench.registry import Registry

MIN_SECONDS = 0.25  # what is shorter is hardly a syllable
SILENCE_RMS = 1.0 / 32768.0  # one 16-bit step: below it, digital silence


class SpeakerEncoder(Extractor):
    """Register with `@encoders.register("name")`. The feature is a list of floats, compared by their cosine."""

    kind = "speaker encoder"


encoders: Registry[SpeakerEncoder] = Registry("speaker encoder", "metis_bench.metrics.speakers")


def require_long(audio: Audio, min_seconds: float) -> None:
    """Raise Undefined for a clip that is shorter: a model would embed its padding, or not run at all."""
    if audio.seconds < min_seconds:
        raise Undefined(f"{audio.seconds:.3f} s of audio is too short for a speaker embedding ({min_seconds} s)")


def rms_of(samples: NDArray[np.float32]) -> float:
    """Root mean square of (T,). Raises Undefined for digital silence: a model would embed its own noise."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if rms < SILENCE_RMS:
        raise Undefined("the audio is silent")
    return rms


def as_feature(embedding: NDArray[np.float32]) -> list[float]:
    """(N,) as the shortest decimal texts that are the same float32."""
    return [float(str(x)) for x in embedding]
