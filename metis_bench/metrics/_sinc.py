"""Windowed-sinc resampling as `torchaudio.functional.resample` does it, which some metrics' originals use.

Source: pytorch/audio src/torchaudio/functional/functional.py (`sinc_interp_hann`, width 6, rolloff 0.99). torchaudio
itself is no dependency: its releases pin torch.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import F32

WIDTH, ROLLOFF = 6, 0.99  # zero crossings on either side; cutoff as a part of the lower Nyquist frequency


@lru_cache(maxsize=8)
def _kernels(up: int, down: int) -> tuple[NDArray[np.float32], int]:
    """(up, taps): one filter for each output sample of a period, and by how much they look back. Rates are coprime."""
    cutoff = min(up, down) * ROLLOFF
    reach = math.ceil(WIDTH * down / cutoff)
    taps = np.arange(-reach, reach + down, dtype=np.float64) / down
    time = np.clip((taps[None] - np.arange(up, dtype=np.float64)[:, None] / up) * cutoff, -WIDTH, WIDTH)
    window = np.cos(time * np.pi / WIDTH / 2) ** 2
    return (np.sinc(time) * window * cutoff / down).astype(np.float32), reach


def sinc_resample(samples: F32, from_rate: int, to_rate: int) -> F32:
    """(T,) at `from_rate` Hz to (ceil(T * to_rate / from_rate),) at `to_rate` Hz; itself when the rates are equal.

    Filters are made in double precision; torchaudio's function makes them in the input's, which moves a sample by
    1e-6 from 24 and 48 kHz to 16 kHz, and by up to 7e-5 from 22.05 kHz (of noise of unit variance).
    """
    if from_rate == to_rate:
        return samples
    import torch

    common = math.gcd(from_rate, to_rate)
    down, up = from_rate // common, to_rate // common
    kernels, reach = _kernels(up, down)
    padded = np.pad(np.asarray(samples, dtype=np.float32), (reach, reach + down))
    out = torch.nn.functional.conv1d(
        torch.from_numpy(padded)[None, None], torch.from_numpy(kernels)[:, None], stride=down
    )  # (1, up, periods)
    length = math.ceil(up * len(samples) / down)
    return np.ascontiguousarray(out[0].T.reshape(-1)[:length].numpy())
