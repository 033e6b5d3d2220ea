"""HuBERT-large with a letter head (CTC, greedy): how LibriSpeech continuations have been scored since VALL-E.

Source: k2-fsa/ZipVoice@2f7326f zipvoice/eval/wer/hubert.py (transformers' pipeline); Plachtaa/seed-vc@d334fb7 eval.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import AUDIO_VERSION
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import full_precision
from metis_bench.metrics.pretrained import open_pretrained, open_processor
from metis_bench.metrics.weights import Weights, content

RATE = 16_000  # Hz
SHORTEST = 400  # samples: the receptive field of its convolutions
FILES = (
    "config.json",
    "preprocessor_config.json",
    "vocab.json",
    "tokenizer_config.json",
    "model.safetensors|pytorch_model.bin",
)


@functools.lru_cache(maxsize=1)
def _loaded(place: str) -> tuple[Any, Any]:
    """Processor and model."""
    from transformers import HubertForCTC, Wav2Vec2Processor

    processor = open_processor(Wav2Vec2Processor, Path(place))
    return processor, open_pretrained(HubertForCTC, Path(place))


@recognisers.register("hubert-large-ls960-ft")
class Hubert(Recogniser):
    """English, 16 kHz, whole clip, one at a time: padding would move its group norms."""

    name = "hubert-large-ls960-ft"
    languages = frozenset({"en"})
    extra = ""
    network = True
    weights = (Weights(name, "Apache-2.0", 1.3, FILES, f"facebook/{name}"),)

    def signature(self) -> Mapping[str, JSON]:
        """Content of all files and the version of transformers."""
        return {
            "name": self.name,
            "version": "1",
            "files": content(self.located(), FILES),
            "transformers": metadata.version("transformers"),
            "decoding": "greedy CTC, float32",
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript in capitals}; nothing of digital silence and of less than 25 ms. Raises AudioError."""
        samples = clip.audio(RATE).samples
        if len(samples) < SHORTEST or not np.any(samples):
            return {"text": ""}
        processor, model = _loaded(str(self.located()))
        given = processor(samples, sampling_rate=RATE, return_tensors="pt").to(model.device)
        with full_precision():
            ids = model(**given).logits.argmax(-1)  # (1, T)
        return {"text": processor.batch_decode(ids)[0]}
