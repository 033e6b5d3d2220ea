"""NISQA v2 of one clip: torchmetrics' port of the network, fed by our own spectrogram.

Sources: torchmetrics@1.9.0 functional/audio/nisqa.py (the port, MIT); gabrielmittag/NISQA@fe84f0f nisqa/NISQA_lib.py
(the original). torchmetrics' public function needs librosa and requests, and knows one place for the weights, which it
would download: we take its network and do the rest here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import F32
from metis_bench.metrics import _torch_file
from metis_bench.metrics.base import Undefined
from metis_bench.metrics.mel import F64, power_spectrogram, slaney_mel

if TYPE_CHECKING:
    from torch import nn

DIMENSIONS = (
    "mos",
    "noisiness",
    "discontinuity",
    "coloration",
    "loudness",
)  # the network's order; papers print another
MIN_AMPLITUDE, RANGE_DB = 1e-4, 80.0
_FIX = "get weights/nisqa.tar of github.com/gabrielmittag/NISQA (neither nisqa_tts.tar nor nisqa_mos_only.tar)"


@dataclass(frozen=True)
class Model:
    """The network and the settings it was trained with (`ms_*`: of its spectrogram)."""

    network: nn.Module
    settings: Mapping[str, Any]


@lru_cache(maxsize=1)
def nisqa_model(path: Path) -> Model:
    """The model in a `nisqa.tar`, which is read without running what is pickled in it. Raises MissingPrerequisite."""
    from torchmetrics.functional.audio import nisqa as port

    with _torch_file.expected("the weights of NISQA v2", path, _FIX):
        checkpoint = _torch_file.read(path)
        settings = checkpoint["args"]
        network = port._NISQADIM(settings)
        _torch_file.load_strictly(network, checkpoint["model_state_dict"])
    return Model(network.eval(), settings)


@lru_cache(maxsize=8)
def _filters(rate: int, n_fft: int, n_mels: int, fmax: float) -> F64:
    return slaney_mel(rate, n_fft, n_mels, fmax=fmax)


def log_mel(audio: F32, rate: int, settings: Mapping[str, Any]) -> F32:
    """(mels, frames) in dB, floored at 80 dB below the loudest bin, of (T,) samples at `rate` Hz.

    20 ms windows, 10 ms apart, of amplitudes (not powers). The level counts: nothing is normalised.
    """
    n_fft, hop, win = settings["ms_n_fft"], int(rate * settings["ms_hop_length"]), int(rate * settings["ms_win_length"])
    amplitude: NDArray[np.floating] = np.sqrt(power_spectrogram(audio, n_fft, hop, pad_mode="reflect", win=win))
    mel = _filters(rate, n_fft, settings["ms_n_mels"], settings["ms_fmax"]) @ amplitude
    decibel = 20.0 * np.log10(np.maximum(mel, MIN_AMPLITUDE))
    return np.asarray(np.maximum(decibel, decibel.max() - RANGE_DB), dtype=np.float32)


def nisqa(model: Model, audio: F32, rate: int) -> dict[str, float]:
    """The five dimensions, about 1..5, of (T,) samples at `rate` Hz.

    Raises Undefined for less than one segment (15 frames: 0.14 s) and for more than 1300 (52 s).
    """
    import torch

    settings = model.settings
    frames = 1 + len(audio) // int(rate * settings["ms_hop_length"])
    segments = -(-(frames - settings["ms_seg_length"] + 1) // settings["ms_seg_hop_length"])
    if segments < 1:
        raise Undefined(f"too_short: {len(audio) / rate:.3f} s, NISQA needs a segment of 0.14 s")
    if segments > settings["ms_max_segments"]:
        raise Undefined(f"too_long: {len(audio) / rate:.2f} s, NISQA takes at most 52 s")
    spectrogram = torch.from_numpy(log_mel(audio, rate, settings))  # (mels, frames)
    # the port pads to 1300 segments that its attention then masks: without them the result is the same, bit by bit
    windows = spectrogram.unfold(1, settings["ms_seg_length"], settings["ms_seg_hop_length"])  # (mels, segments, 15)
    with torch.inference_mode():
        values = model.network(windows.transpose(0, 1)[None].contiguous(), torch.tensor([segments]))[0]
    if not torch.isfinite(values).all():
        raise Undefined("not_finite: NISQA returned NaN")
    return {name: float(value) for name, value in zip(DIMENSIONS, values, strict=True)}
