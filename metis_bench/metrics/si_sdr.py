"""Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, arXiv 1811.02508, eq. 5)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metis_bench.corpora.base import Field
from metis_bench.hashing import JSON
from metis_bench.metrics.alignment import VERSION, AlignParams, Wave, aligned_pair, is_silent
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics

RATE = 16_000
CEILING_DB = 100.0


def si_sdr(reference: Wave, output: Wave) -> float:
    """SI-SDR in dB of two (T,) signals after their means are removed; at most 100 dB, which identical signals get.

    An output orthogonal to the reference (-inf) gets -100 dB. Raises Undefined when either is constant.
    """
    if is_silent(reference) or is_silent(output):
        raise Undefined("silence: SI-SDR needs a reference and an output that are not constant")
    s, x = (np.asarray(v, dtype=np.float64) - np.mean(v, dtype=np.float64) for v in (reference, output))
    target = s * (np.dot(x, s) / np.dot(s, s))
    with np.errstate(divide="ignore"):  # log10(0) is -inf, and clipped
        decibel = 10 * (np.log10(np.dot(target, target)) - np.log10(np.sum((x - target) ** 2)))
    return float(np.clip(decibel, -CEILING_DB, CEILING_DB))


@metrics.register("si_sdr")
class SiSdr(Metric):
    """SI-SDR at 16 kHz. A failed item counts as -30 dB in the penalised mean: a convention, the scale has no end."""

    tasks = frozenset({"tse", "se"})
    params_type = AlignParams
    params: AlignParams

    @property
    def needs(self) -> frozenset[Field]:
        """The clean signal."""
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column in dB."""
        help_ = f"Scale-invariant SDR, at most 100 dB; delay policy: {self.params.align}."
        return (Column("si_sdr", "SI-SDR", "higher", -30.0, unit="dB", help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Rate, delay policy and its version."""
        return {"metric": "si_sdr", "version": 1, "rate": RATE, "align": self.params.align, "alignment": VERSION}

    def score(self, sample: Sample) -> dict[str, Score]:
        """The ratio; `detail` holds the delay. Raises Undefined for silence."""
        reference, output, detail = aligned_pair(sample, RATE, self.params.align)
        return {"si_sdr": Score("ok", si_sdr(reference, output), detail=detail)}
