"""Log-MMSE speech enhancement (Ephraim & Malah 1985), in numpy and scipy."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from metis_bench.audio import Audio
from metis_bench.corpora.base import Params
from metis_bench.systems._signal import istft, required, sqrt_hann, stft
from metis_bench.systems.base import Request, System, systems

F64 = NDArray[np.float64]

SILENCE = 1e-12  # noise power a sample below which nothing is estimated (-120 dBFS)
INITIAL_FRAMES = 12  # 120 ms at the default frame, as in Loizou's logmmse.m
MINIMUM_FRAMES = 150  # 1.5 s at the default frame: longer than a phrase without a pause (Martin 2001)
MINIMUM_SMOOTHING = 0.8  # falls by 24 dB in a pause of 0.25 s; 0.9 would take clean speech's own decay for noise
MINIMUM_BIAS = 2.45  # mean over minimum of a smoothed periodogram of white noise with the two settings above
MINIMUM_MARGIN = 4.0  # the tracked noise stays within +-6 dB of the minimum statistics


class LogMMSEParams(Params):
    """Defaults: Loizou, "Speech Enhancement" (2013), logmmse.m, but for xi_min_db.

    frame_ms:      window length, 50 % overlap
    alpha:         weight of the last frame's estimate in the a priori SNR (decision-directed, Ephraim & Malah 1984)
    xi_min_db:     floor of the a priori SNR; -15 dB hides musical noise (Cappe 1994), logmmse.m has -25
    vad_threshold: mean log likelihood ratio of speech below which a frame is noise; logmmse.m's 0.15, which divides
                   the sum over both halves of a spectrum by the length of one
    noise_memory:  weight of the old noise estimate when a noise frame updates it
    """

    frame_ms: PositiveFloat = 20.0
    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.98
    xi_min_db: float = -15.0
    vad_threshold: float = 0.075
    noise_memory: Annotated[float, Field(ge=0, lt=1)] = 0.98


def minimum_statistics(power: F64) -> F64:
    """(frames, bins) noise power: unbiased minima of the smoothed periodogram over 1.5 s around each frame.

    After Martin 2001, with a fixed smoothing; the window looks both ways, because whole files are enhanced.
    """
    from scipy.ndimage import minimum_filter1d
    from scipy.signal import lfilter

    start = MINIMUM_SMOOTHING * power[:1]
    smooth = lfilter([1 - MINIMUM_SMOOTHING], [1, -MINIMUM_SMOOTHING], power, axis=0, zi=start)[0]
    return np.asarray(MINIMUM_BIAS * minimum_filter1d(smooth, MINIMUM_FRAMES, axis=0, mode="nearest"))


def log_mmse_gain(power: F64, minima: F64, floor: float, params: LogMMSEParams) -> F64:
    """(frames, bins) gain in [0, inf) for the noisy `power`; `minima` bound the noise that the VAD tracks.

    Gain: Ephraim & Malah 1985 eq. 20, xi / (1 + xi) * exp(E1(v) / 2). VAD and noise update: Loizou's logmmse.m.
    The bounds let the noise follow clips that start in speech or in digital silence, where the VAD alone would stick.
    """
    from scipy.special import exp1

    xi_min = 10 ** (params.xi_min_db / 10)
    noise = np.maximum(power[:INITIAL_FRAMES].mean(axis=0), floor)
    speech = noise  # |A|^2 of the frame before the first: a priori SNR of one, as in logmmse.m
    gain = np.empty_like(power)
    for frame, (noisy, minimum) in enumerate(zip(power, np.maximum(minima, floor), strict=True)):
        noise = np.clip(noise, minimum / MINIMUM_MARGIN, minimum * MINIMUM_MARGIN)
        gamma = noisy / noise
        xi = params.alpha * speech / noise + (1 - params.alpha) * np.maximum(gamma - 1, 0)
        xi = np.maximum(xi, xi_min)
        wiener = xi / (1 + xi)
        if float(np.mean(gamma * wiener - np.log1p(xi))) < params.vad_threshold:
            noise = np.maximum(params.noise_memory * noise + (1 - params.noise_memory) * noisy, floor)
        gain[frame] = wiener * np.exp(exp1(np.maximum(wiener * gamma, 1e-10)) / 2)
        speech = gain[frame] ** 2 * noisy
    return gain


@systems.register("logmmse")
class LogMMSE(System):
    """Statistical enhancement without any training: the classical row of an enhancement table."""

    kind = "classical"
    tasks = frozenset({"se"})
    needs = frozenset({"source"})
    params_type = LogMMSEParams
    params: LogMMSEParams

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate, as long as the source."""
        source = required(request.source, "source", request.id)
        hop = max(2, round(source.rate * self.params.frame_ms / 2000))
        spectrum = stft(source.samples, hop)
        power = np.abs(spectrum) ** 2
        inside = power[1:-1] if len(power) > 2 else power  # the outer frames are half padding
        edges = [(1, 1) if len(power) > 2 else (0, 0), (0, 0)]
        minima = np.pad(minimum_statistics(inside), edges, mode="edge")
        gain = log_mmse_gain(power, minima, SILENCE * float(np.sum(sqrt_hann(2 * hop) ** 2)), self.params)
        return Audio(istft(spectrum * gain, hop, len(source.samples)), source.rate)
