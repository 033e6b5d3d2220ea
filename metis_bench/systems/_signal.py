"""What several systems share: their required audio, a perfect-reconstruction STFT, and exact lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import F32, Audio
from metis_bench.errors import ItemError

Spectrum = NDArray[np.complex128]  # (frames, bins)


def required(audio: Audio | None, field: str, item_id: str) -> Audio:
    """`audio`, or ItemError when the item does not provide it or it holds no samples."""
    if audio is None:
        raise ItemError(f"item '{item_id}' has no {field} audio, which this system needs")
    if len(audio.samples) == 0:
        raise ItemError(f"the {field} audio of item '{item_id}' holds no samples")
    return audio


def fit(samples: NDArray[np.floating], length: int) -> F32:
    """(T,) cut or zero-padded at its end to (length,) float32."""
    out = np.zeros(length, dtype=np.float32)
    kept = min(length, len(samples))
    out[:kept] = samples[:kept]
    return out


def sqrt_hann(size: int) -> NDArray[np.float64]:
    """(size,) square root of the periodic Hann window: its square sums to one at 50 % overlap."""
    return np.asarray(np.sin(np.pi * np.arange(size) / size))


def stft(samples: NDArray[np.floating], hop: int) -> Spectrum:
    """(T,) to (frames, hop + 1): windows of 2 * hop samples, 50 % overlap, sqrt-Hann; the first starts at -hop."""
    frames = -(-len(samples) // hop) + 1
    padded = np.zeros((frames + 1) * hop)
    padded[hop : hop + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    return np.asarray(np.fft.rfft(windows * sqrt_hann(2 * hop), axis=1))


def istft(spectrum: Spectrum, hop: int, length: int) -> F32:
    """Inverse of `stft` (exact for an unchanged spectrum): (frames, hop + 1) to (length,) float32."""
    windows = np.fft.irfft(spectrum, 2 * hop, axis=1) * sqrt_hann(2 * hop)
    out = np.zeros((len(windows) + 1, hop))
    out[:-1] += windows[:, :hop]
    out[1:] += windows[:, hop:]
    return fit(out.reshape(-1)[hop:], length)
