"""Power spectrogram and Slaney mel filters in numpy, equal to librosa 0.11's, which costs seconds and numba to import.

Sources: librosa/librosa@0.11.0 librosa/core/spectrum.py:stft, librosa/filters.py:mel,
librosa/core/convert.py:hz_to_mel (htk=False, norm="slaney").
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

_HZ_PER_MEL = 200.0 / 3  # linear part of Slaney's scale, below 1 kHz
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP = math.log(6.4) / 27.0  # logarithmic part: 27 mels a factor of 6.4


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: F64) -> F64:
    return np.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))


def slaney_mel(rate: int, n_fft: int, n_mels: int, fmin: float = 0.0, fmax: float | None = None) -> F64:
    """Area-normalised triangular filters, (n_mels, 1 + n_fft // 2), from `fmin` to `fmax` Hz (default rate / 2).

    `slaney_mel(...) @ power_spectrogram(...)` is `librosa.feature.melspectrogram`.
    """
    mels = np.linspace(_hz_to_mel(fmin), _hz_to_mel(rate / 2 if fmax is None else fmax), n_mels + 2)
    edges = _mel_to_hz(mels)  # (n_mels + 2,)
    ramps = edges[:, None] - np.fft.rfftfreq(n_fft, 1.0 / rate)[None, :]
    width = np.diff(edges)[:, None]
    rising, falling = -ramps[:-2] / width[:-1], ramps[2:] / width[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float64)


def power_spectrogram(
    x: NDArray[np.floating],
    n_fft: int,
    hop: int,
    center: bool = True,
    pad_mode: Literal["constant", "reflect"] = "constant",
    win: int | None = None,
) -> F64:
    """|STFT|**2 of (T,) samples with a periodic Hann window of `win` (default `n_fft`): (1 + n_fft // 2, frames).

    A shorter window lies in the middle of its frame. `center` pads n_fft // 2 samples on both sides: frames =
    1 + T // hop for an even n_fft. Raises ValueError when there is not one whole frame.
    """
    signal = np.asarray(x, dtype=np.float64)
    if center:
        signal = np.pad(signal, n_fft // 2, mode=pad_mode)
    if len(signal) < n_fft:
        raise ValueError(f"{len(signal)} samples are shorter than one frame of {n_fft}")
    win = n_fft if win is None else win
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(win) / win)
    left = (n_fft - win) // 2
    window = np.pad(window, (left, n_fft - win - left))
    frames = np.lib.stride_tricks.sliding_window_view(signal, n_fft)[::hop]  # (frames, n_fft)
    return np.asarray(np.abs(np.fft.rfft(frames * window, axis=1)).T ** 2)
