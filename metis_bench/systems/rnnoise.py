"""RNNoise (Valin 2018): a small recurrent denoiser, weights inside the pyrnnoise package."""

from __future__ import annotations

import ctypes

import numpy as np

from metis_bench.audio import F32, Audio
from metis_bench.systems._signal import fit, required
from metis_bench.systems.base import Request, System, systems

RATE = 48_000  # the only rate RNNoise knows
DELAY = 960  # samples at 48 kHz: one 10 ms frame of overlap-add and one of pitch look-ahead


@systems.register("rnnoise")
class RNNoise(System):
    """RNNoise through pyrnnoise's C library, aligned with its input and as long.

    The package's `denoise_chunk` casts the library's floats to int16, which turns every overshoot of a loud clip into
    a full-scale click of the other sign; so frames go to the same library as floats (its int16 scale, no rounding).
    """

    kind = "classical"
    tasks = frozenset({"se"})
    needs = frozenset({"source"})
    packages = ("pyrnnoise",)

    def setup(self) -> None:
        """Load the library outside the timing (pyrnnoise imports PyAV)."""
        import pyrnnoise.rnnoise  # noqa: F401

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate: resampled to 48 kHz, denoised, cut by the delay, resampled back."""
        source = required(request.source, "source", request.id)
        clean = Audio(denoise(source.resampled(RATE).samples), RATE)
        return Audio(fit(clean.resampled(source.rate).samples, len(source.samples)), source.rate)


def denoise(samples: F32) -> F32:
    """(T,) at 48 kHz in [-1, 1] to (T,), without delay. A fresh state a call: nothing leaks between items."""
    from pyrnnoise.rnnoise import FRAME_SIZE, create, destroy, lib

    frames = -(-(len(samples) + DELAY) // FRAME_SIZE)
    buffer = fit(samples, frames * FRAME_SIZE) * np.float32(32768)
    state = create()
    try:
        for start in range(0, len(buffer), FRAME_SIZE):
            frame = buffer[start : start + FRAME_SIZE].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            lib.rnnoise_process_frame(state, frame, frame)
    finally:
        destroy(state)
    return fit(buffer[DELAY:] / np.float32(32768), len(samples))
