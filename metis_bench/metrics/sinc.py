"""Windowed sinc resampling equal (1e-5) to torchaudio's default `Resample`, which the official SIM uses.

The rest of the harness resamples with soxr, whose pass band is flatter and ends more steeply.
Source: pytorch/audio src/torchaudio/functional/functional.py:_get_sinc_resample_kernel, _apply_sinc_resample_kernel.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

ZEROS = 6  # zero crossings of the sinc on each side ("lowpass_filter_width")
ROLLOFF = 0.99  # of the lower Nyquist frequency
SINC_VERSION = f"sinc-hann:{ZEROS}:{ROLLOFF}"


@functools.lru_cache(maxsize=16)
def _filters(old: int, new: int) -> tuple[F32, int]:
    """One filter an output phase, (new, 2 * width + old), and `width`: the input samples before the current one."""
    cutoff = min(old, new) * ROLLOFF
    width = math.ceil(ZEROS * old / cutoff)
    at = np.arange(-width, width + old) / old - np.arange(new)[:, None] / new  # seconds * gcd of the rates
    t = np.clip(at * cutoff, -ZEROS, ZEROS)
    window = np.cos(t * math.pi / ZEROS / 2) ** 2
    return (np.sinc(t) * window * cutoff / old).astype(np.float32), width


def resample_sinc(samples: F32, from_rate: int, to_rate: int) -> F32:
    """(T,) at `from_rate` to (ceil(T * to / from),) at `to_rate` Hz; itself when the rates are equal."""
    if from_rate == to_rate:
        return samples
    gcd = math.gcd(from_rate, to_rate)
    old, new = from_rate // gcd, to_rate // gcd
    filters, width = _filters(old, new)
    padded = np.pad(samples, (width, width + old))
    frames = np.lib.stride_tricks.sliding_window_view(padded, filters.shape[1])[::old]
    out = (frames @ filters.T).reshape(-1)  # phase by phase within a frame
    return np.asarray(out[: math.ceil(len(samples) * new / old)], dtype=np.float32)
