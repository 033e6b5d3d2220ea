"""SIM-r: a speaker's embedding after the audio went through EnCodec at 24 kHz and 6 kbit/s, as VALL-E's codec did.

A system that speaks through a codec cannot come closer to a voice than the codec does; SIM-r takes the codec's part
out. The codec is VALL-E's, whatever the scored system uses.
Source: Voicebox (arXiv 2306.15687) section 4.1 for the name; microsoft VALL-E (arXiv 2301.02111) for the codec.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import AUDIO_VERSION, Audio, encode_wav
from metis_bench.hashing import JSON, sha256_bytes
from metis_bench.metrics.base import Clip, Extractor
from metis_bench.metrics.device import full_precision
from metis_bench.metrics.pretrained import open_pretrained
from metis_bench.metrics.speakers.base import MIN_SECONDS, SpeakerEncoder, require_long, rms_of
from metis_bench.metrics.weights import Weights, content

RATE = 24_000  # Hz
KBPS = 6.0  # 8 codebooks

WEIGHTS = Weights(
    name="encodec_24khz",
    licence="the card names none; facebookresearch/encodec is MIT",
    gigabytes=0.09,
    files=("config.json", "model.safetensors|pytorch_model.bin"),
    repo="facebook/encodec_24khz",
)


class Reconstructed(Extractor):
    """A speaker encoder that hears its clips through the codec."""

    kind = "codec"
    name = "encodec_24khz"
    network = True
    weights = (WEIGHTS,)

    def __init__(self, encoder: SpeakerEncoder) -> None:
        self.encoder = encoder

    def check(self) -> None:
        """Raise MissingPrerequisite when the codec or the encoder lacks something."""
        super().check()
        self.encoder.check()

    def signature(self) -> Mapping[str, JSON]:
        """The codec's weights and rates, and the encoder's signature."""
        codec: Mapping[str, JSON] = {
            "name": self.name,
            "version": "1",
            "weights_sha256": content(WEIGHTS.require(self.name), WEIGHTS.files),
            "rate": RATE,
            "kbps": KBPS,
            "audio": AUDIO_VERSION,
        }
        return {"codec": codec, "encoder": self.encoder.signature()}

    def extract(self, clip: Clip) -> JSON:
        """As the encoder's. What is undefined without the codec stays so: it would make noise of silence."""
        given = clip.audio(RATE)
        require_long(given, MIN_SECONDS)
        rms_of(given.samples)
        audio = reconstruct(given)
        heard = Clip(sha256_bytes(encode_wav(audio)), lambda rate: audio if rate is None else audio.resampled(rate))
        return self.encoder.extract(heard)


def reconstruct(audio: Audio) -> Audio:
    """24 kHz audio through the codec, as long as before."""
    import torch

    codec = _codec(WEIGHTS.require(Reconstructed.name))
    wave = torch.from_numpy(audio.samples)[None, None].to(codec.device)
    with full_precision():
        decoded = codec(wave, bandwidth=KBPS).audio_values[0, 0, : wave.shape[-1]]
    return Audio(np.ascontiguousarray(decoded.cpu().numpy()), RATE)


@functools.lru_cache(maxsize=1)
def _codec(folder: Path) -> Any:
    from transformers import EncodecModel

    return open_pretrained(EncodecModel, folder)
