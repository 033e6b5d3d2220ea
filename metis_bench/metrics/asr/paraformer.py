"""Paraformer-zh through FunASR: how SeedTTS-eval reads Mandarin.

Source: BytedanceSpeech/seed-tts-eval@752f429 run_wer.py:97-101.
Transcripts are then written in simplified characters by `zhconv` (GPL-2.0-or-later: part of no extra but `asr`).
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import AUDIO_VERSION
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import device
from metis_bench.metrics.weights import Weights, content
from metis_bench.systems.base import require_package

RATE = 16_000  # Hz
SHORTEST = 400  # samples: one analysis window
BATCH_S = 300  # of the original; one clip at a time here, so it decides nothing
FILES = ("model.pt", "config.yaml", "tokens.json", "am.mvn")


@functools.lru_cache(maxsize=1)
def _model(place: str) -> Any:
    """A funasr.AutoModel all of whose tensors come from the file: it would leave others at random, with a warning."""
    import torch
    from funasr import AutoModel

    file = Path(place) / "model.pt"
    try:
        given = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise MissingPrerequisite(f"{file} cannot be loaded: {type(error).__name__}", fix="get it again") from None
    quiet = {"disable_update": True, "disable_pbar": True, "disable_log": True}
    model = AutoModel(model=place, device=device(), ncpu=torch.get_num_threads(), **quiet)
    for key in ("state_dict", "model_state_dict", "model"):
        given = given.get(key, given)
    lacking = sorted(set(model.model.state_dict()) - {key.removeprefix("module.") for key in given})
    if lacking:
        raise MissingPrerequisite(f"{file} lacks {lacking[0]} and {len(lacking) - 1} more", fix="get it again")
    return model


@recognisers.register("paraformer-zh")
class Paraformer(Recogniser):
    """Mandarin, 16 kHz, whole clip, one at a time (the original's numbers depend on how clips are batched)."""

    name = "paraformer-zh"
    languages = frozenset({"zh"})
    packages = ("funasr", "zhconv", "kaldi-native-fbank")
    network = True
    weights = (
        Weights(
            name,
            "FunASR model licence (Alibaba), code MIT",
            0.9,
            FILES,
            "funasr/paraformer-zh",
            others=(
                "~/.cache/modelscope/hub/models/iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
            ),
        ),
    )

    def signature(self) -> Mapping[str, JSON]:
        """Content of the files and versions of the packages."""
        return {
            "name": self.name,
            "version": "1",
            "files": content(self.located(), FILES),
            "packages": {p: require_package(p, f"recogniser '{self.name}'", self.extra) for p in self.packages},
            "characters": "zh-cn",
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript in simplified characters}; nothing of digital silence. Raises AudioError."""
        samples = clip.audio(RATE).samples
        if len(samples) < SHORTEST or not np.any(samples):
            return {"text": ""}
        import zhconv

        found = _model(str(self.located())).generate(input=samples, batch_size_s=BATCH_S, disable_pbar=True)
        return {"text": zhconv.convert("".join(one["text"] for one in found), "zh-cn")}  # none where it hears nothing
