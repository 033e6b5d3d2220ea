"""The GE2E speaker encoder (Wan et al. 2018) with the weights inside the `resemblyzer` wheel (Apache-2.0).

Equal to `VoiceEncoder.embed_utterance`, without importing resemblyzer (which needs webrtcvad and librosa). One
deliberate difference to `preprocess_wav`: long silences are not cut out (webrtcvad), the whole clip is embedded.
Source: resemble-ai/Resemblyzer 0.1.4 voice_encoder.py, audio.py, hparams.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import AUDIO_VERSION
from metis_bench.errors import missing_extra
from metis_bench.hashing import JSON, sha256_file
from metis_bench.metrics.base import Clip, Undefined
from metis_bench.metrics.mel import power_spectrogram, slaney_mel
from metis_bench.metrics.speakers.base import SpeakerEncoder, as_feature, encoders, require_long, rms_of

F32 = NDArray[np.float32]

RATE = 16_000  # Hz
N_FFT, HOP, N_MELS = 400, 160, 40  # 25 ms windows every 10 ms
HIDDEN, LAYERS, SIZE = 256, 3, 256
PARTIAL = 160  # frames of one partial utterance (1.6 s)
PARTIALS_PER_S, MIN_COVERAGE = 1.3, 0.75
TARGET_DBFS = -30.0  # quieter clips are raised to it, louder ones left alone
MIN_SECONDS = 0.25  # a shorter clip is more padding than speech in the one partial it fills
TRAINING_ONLY = frozenset({"similarity_weight", "similarity_bias"})  # of the GE2E loss


def _weights_file() -> Path:
    spec = find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("speaker encoder 'ge2e'", "resemblyzer", "embedded")
    return Path(spec.submodule_search_locations[0]) / "pretrained.pt"


@functools.lru_cache(maxsize=1)
def _weights_sha256() -> str:
    return sha256_file(_weights_file())


@functools.lru_cache(maxsize=1)
def _network() -> Any:
    """torch.nn.ModuleDict of the LSTM and the projection, with the shipped weights (every one of them, strictly)."""
    import torch
    from torch import nn

    network = nn.ModuleDict(
        {"lstm": nn.LSTM(N_MELS, HIDDEN, LAYERS, batch_first=True), "linear": nn.Linear(HIDDEN, SIZE)}
    )
    state = torch.load(_weights_file(), map_location="cpu", weights_only=True)["model_state"]
    network.load_state_dict({k: v for k, v in state.items() if k not in TRAINING_ONLY}, strict=True)
    return network.eval()


def partial_starts(n_samples: int) -> list[int]:
    """First mel frames of the partial utterances, about 1.3 a second, at least one (voice_encoder.py:57-114)."""
    n_frames = -(-(n_samples + 1) // HOP)
    step = round(RATE / PARTIALS_PER_S / HOP)
    starts = list(range(0, max(1, n_frames - PARTIAL + step + 1), step))
    coverage = (n_samples - starts[-1] * HOP) / (PARTIAL * HOP)
    return starts[:-1] if coverage < MIN_COVERAGE and len(starts) > 1 else starts


def raise_volume(samples: F32) -> F32:
    """Raise (T,) to -30 dBFS RMS if it is quieter (audio.py:normalize_volume, increase_only).

    Raises Undefined for digital silence.
    """
    gain_db = TARGET_DBFS - 20.0 * np.log10(rms_of(samples))
    return samples if gain_db < 0 else np.asarray(samples * 10.0 ** (gain_db / 20.0), dtype=np.float32)


def embed(samples: F32) -> F32:
    """(T,) at 16 kHz, volume already raised, to a (256,) embedding of norm 1: the mean over partial utterances.

    Raises Undefined when a partial has no direction (all units off).
    """
    import torch

    starts = partial_starts(len(samples))
    padded = np.pad(samples, (0, max(0, (starts[-1] + PARTIAL) * HOP - len(samples))))
    mel = (slaney_mel(RATE, N_FFT, N_MELS) @ power_spectrogram(padded, N_FFT, HOP)).T.astype(np.float32)
    partials = torch.from_numpy(np.stack([mel[s : s + PARTIAL] for s in starts]))  # (P, 160, 40)
    network = _network()
    with torch.inference_mode():
        _, (hidden, _) = network["lstm"](partials)
        units = torch.relu(network["linear"](hidden[-1]))  # (P, 256)
        norms = units.norm(dim=1, keepdim=True)
        if not bool((norms > 0).all()):
            raise Undefined("the encoder finds no voice in a part of the audio")
        mean = (units / norms).mean(dim=0)
        return np.asarray((mean / mean.norm()).numpy(), dtype=np.float32)


@encoders.register("ge2e")
class Ge2e(SpeakerEncoder):
    """256-dimensional, all components >= 0, so cosines lie in [0, 1] and unrelated voices are around 0.5."""

    name = "ge2e"
    packages = ("resemblyzer",)

    def signature(self) -> Mapping[str, JSON]:
        """Weights, rate, and what is not done (no voice activity detection)."""
        return {
            "name": self.name,
            "version": "1",
            "weights_sha256": _weights_sha256(),
            "rate": RATE,
            "vad": "none",
            "volume_dbfs": TARGET_DBFS,
            "min_seconds": MIN_SECONDS,
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """256 floats. Raises Undefined for silence or less than 0.25 s, AudioError."""
        audio = clip.audio(RATE)
        require_long(audio, MIN_SECONDS)
        return as_feature(embed(raise_volume(audio.samples)))
