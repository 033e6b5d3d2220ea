"""Make an output comparable with its reference sample by sample: one length policy, one delay policy.

Generative models resynthesise: their output may be a few milliseconds late. ESTOI falls from 0.90 to 0.20 for 50 ms,
so intrusive metrics that do not align by themselves use one global delay, found by cross-correlation.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metis_bench.corpora.base import Params
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Sample, Undefined

Wave = NDArray[np.floating]
AlignMode: TypeAlias = Literal["xcorr50ms", "none"]

MAX_SHIFT_S: dict[AlignMode, float] = {"xcorr50ms": 0.050, "none": 0.0}
VERSION = 2  # raise it when a policy changes a score


class AlignParams(Params):
    """Parameters of metrics that align: xcorr50ms = one global delay within +-50 ms; none = literal."""

    align: AlignMode = "xcorr50ms"


def is_silent(samples: Wave) -> bool:
    """Whether (T,) samples hold no sound at all: none, zeros, or one constant."""
    return len(samples) == 0 or float(np.ptp(samples)) == 0.0


def match_length(output: Wave, length: int) -> Wave:
    """(T,) to (length,): zeros are appended (missing speech is silence: truncation never helps), or the end is cut."""
    return output[:length] if len(output) >= length else np.pad(output, (0, length - len(output)))


def find_delay(reference: Wave, output: Wave, max_shift: int) -> int:
    """Samples by which `output` lags `reference` (negative: leads), within +-`max_shift`.

    The maximum of the cross-correlation; on ties the smallest shift. 0 when there is no correlation to speak of
    (one signal is silent or empty). Shifts at which the signals do not overlap are not searched.
    """
    first, last = max(-max_shift, 1 - len(reference)), min(max_shift, len(output) - 1)
    if max_shift <= 0 or len(reference) == 0 or len(output) == 0:
        return 0
    # FFT length: at least both lengths and the largest lag, so that no lag wraps round onto another
    size = 1 << (len(reference) + len(output) + max(-first, last) - 1).bit_length()
    x, y = (np.fft.rfft(np.asarray(s, dtype=np.float64), size) for s in (reference, output))
    correlation = np.fft.irfft(y * np.conj(x), size)  # [k] = sum_t output[t + k] reference[t], negative k from the end
    shifts = np.array(sorted(range(first, last + 1), key=abs))
    best = int(shifts[np.argmax(correlation[shifts])])
    return best if correlation[best] > 0 else 0


def align(reference: Wave, output: Wave, rate: int, max_shift_s: float) -> tuple[Wave, Wave, int]:
    """(reference, output, delay in samples): both (T,) as long as the reference, the output's delay undone.

    `max_shift_s` is in seconds, 0 = only match the length. Samples shifted in from outside the output are zeros.
    """
    delay = find_delay(reference, output, round(max_shift_s * rate))
    shifted = output[delay:] if delay > 0 else np.pad(output, (-delay, 0))
    return reference, match_length(shifted, len(reference)), delay


def aligned_pair(sample: Sample, rate: int, mode: AlignMode) -> tuple[Wave, Wave, dict[str, JSON]]:
    """Reference and output of a sample at `rate`, aligned by `mode`, float64 (T,), and what was done to them.

    The detail holds `delay_ms` (output lags when positive) and `length_difference_s` (output minus reference).
    Raises Undefined when either is silent (constant, or empty).
    """
    if sample.reference is None:
        raise Undefined("no_reference: this item has no reference")
    reference: Wave = sample.reference.audio(rate).samples.astype(np.float64)
    output: Wave = sample.output.audio(rate).samples.astype(np.float64)
    _, aligned, delay = align(reference, output, rate, MAX_SHIFT_S[mode])
    # a constant beside the zeros that are appended to it would pass for sound; a single sample is a click
    constant = len(output) > 1 and is_silent(output)
    for name, silent in (("reference", is_silent(reference)), ("output", constant or is_silent(aligned))):
        if silent:
            raise Undefined(f"silence: the {name} is constant")
    detail: dict[str, JSON] = {
        "delay_ms": 1000 * delay / rate,
        "length_difference_s": (len(output) - len(reference)) / rate,
    }
    return reference, aligned, detail
