"""Log-spectral distance in dB: how far the output's spectrum is from the reference's, frame by frame.

Source: haoheliu/ssr_eval@7129ee8 ssr_eval/metrics.py (AudioMetrics.lsd), the evaluation of VoiceFixer and NVSR; after
Gray and Markel 1976. Those tables print a tenth of our number: log10 of powers, not decibel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from metis_bench.corpora.base import Field
from metis_bench.hashing import JSON
from metis_bench.metrics.alignment import VERSION, AlignParams, Wave, aligned_pair
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics
from metis_bench.metrics.mel import power_spectrogram

EPSILON = 1e-12


class LsdParams(AlignParams):
    """rate: where the spectra are compared, in Hz; native = the reference's own. align: as in ESTOI and SI-SDR."""

    rate: Literal[16000, "native"] = 16000


def lsd(reference: Wave, output: Wave, rate: int) -> float:
    """LSD in dB of two (T,) signals of one length: RMS over frequency of the log power ratio, mean over frames.

    Windows of 46.4 ms (2048 samples at 44.1 kHz), 10 ms apart. A digital zero against sound is about 200 dB.
    """
    n_fft, hop = int(2048 / (44_100 / rate)), rate // 100
    target, estimate = (power_spectrogram(x, n_fft, hop) for x in (reference, output))  # (bins, frames) each
    ratio = target / (np.sqrt(estimate) + EPSILON) ** 2
    return float(10.0 * np.mean(np.sqrt(np.mean(np.log10(ratio + EPSILON) ** 2, axis=0))))


@metrics.register("lsd")
class Lsd(Metric):
    """Lower is better. A failed item counts as 100 dB in the penalised mean: a convention, the scale has no end."""

    tasks = frozenset({"tse", "se"})
    params_type = LsdParams
    params: LsdParams

    @property
    def needs(self) -> frozenset[Field]:
        """The clean signal."""
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column in dB, named after the rate: `lsd.16k` or `lsd.native`."""
        name = "native" if self.params.rate == "native" else f"{self.params.rate // 1000}k"
        help_ = f"Log-spectral distance to the reference; delay policy: {self.params.align}."
        return (Column(f"lsd.{name}", f"LSD ({name})", "lower", 100.0, unit="dB", help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Rate, windows, delay policy and its version."""
        return {
            "metric": "lsd",
            "version": 1,
            "rate": self.params.rate,
            "windows": "46.4ms/10ms",
            "epsilon": EPSILON,
            "align": self.params.align,
            "alignment": VERSION,
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """The distance; `detail` holds rate and delay. Raises Undefined for silence."""
        if sample.reference is None:
            raise Undefined("no_reference: this item has no reference")
        rate = sample.reference.audio().rate if self.params.rate == "native" else self.params.rate
        reference, output, detail = aligned_pair(sample, rate, self.params.align)
        return {self.columns[0].id: Score("ok", lsd(reference, output, rate), detail={"rate": rate, **detail})}
