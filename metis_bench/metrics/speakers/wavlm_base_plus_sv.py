"""microsoft/wavlm-base-plus-sv: the speaker similarity of speech enhancement papers, an x-vector over WavLM base+.

The whole clip, mono, 16 kHz (soxr, as `librosa.load(sr=16000)`), one at a time, float32. Its scale is its own: two
voices that are not alike are far above 0.
Source: open-mmlab/Amphion evaluation/metrics/similarity/speaker_similarity.py; the model card.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metis_bench.audio import AUDIO_VERSION
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import full_precision
from metis_bench.metrics.pretrained import open_pretrained
from metis_bench.metrics.speakers.base import SpeakerEncoder, as_feature, encoders, require_long, rms_of
from metis_bench.metrics.weights import Weights, content

RATE = 16_000  # Hz
MIN_SECONDS = 0.4  # its time-delay layers use up 14 frames of 20 ms, and a deviation needs two

WEIGHTS = Weights(
    name="wavlm-base-plus-sv",
    licence="CC BY-SA 3.0, the LICENSE of microsoft/UniSpeech that its card names",
    gigabytes=0.4,
    files=("config.json", "preprocessor_config.json", "model.safetensors|pytorch_model.bin"),
    repo="microsoft/wavlm-base-plus-sv",
)
TRAINING_ONLY = ("objective.", "wavlm.masked_spec_embed")  # the loss, and what masked frames become


@encoders.register("wavlm_base_plus_sv")
class WavLMBasePlusSV(SpeakerEncoder):
    """512-dimensional; cosines of unrelated voices are often above 0.5."""

    name = "wavlm_base_plus_sv"
    network = True
    weights = (WEIGHTS,)

    def signature(self) -> Mapping[str, JSON]:
        """Weights, configuration, rate."""
        return {
            "name": self.name,
            "version": "1",
            "weights_sha256": content(WEIGHTS.require(self.name), WEIGHTS.files),
            "rate": RATE,
            "min_seconds": MIN_SECONDS,
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """512 floats, of no particular norm. Raises Undefined for silence or less than 0.4 s, AudioError."""

        audio = clip.audio(RATE)
        require_long(audio, MIN_SECONDS)
        rms_of(audio.samples)
        prepare, model = _model(WEIGHTS.require(self.name))
        inputs = prepare(audio.samples, sampling_rate=RATE, return_tensors="pt").to(model.device)
        with full_precision():
            return as_feature(model(**inputs).embeddings[0].cpu().numpy())


@functools.lru_cache(maxsize=1)
def _model(folder: Path) -> tuple[Any, Any]:
    """What prepares samples, and the network."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

    model = open_pretrained(WavLMForXVector, folder, not_needed=TRAINING_ONLY)
    return Wav2Vec2FeatureExtractor.from_pretrained(folder, local_files_only=True), model
