"""Extended short-time objective intelligibility (Jensen and Taal 2016), by `pystoi` (github.com/mpariente/pystoi)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from metis_bench.corpora.base import Field
from metis_bench.hashing import JSON
from metis_bench.metrics.alignment import VERSION, AlignParams, Wave, aligned_pair
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics
from metis_bench.systems.base import require_package

RATE = 16_000
MIN_SECONDS = 0.39  # 30 frames of 25.6 ms, 12.8 ms apart, are one segment


def estoi(reference: Wave, output: Wave) -> float:
    """ESTOI of two (T,) signals of one length at 16 kHz (pystoi resamples to 10 kHz), about 0..1.

    Raises Undefined when less than 0.39 s of the reference is speech. pystoi breaks ties of silent bands with tiny
    numbers from numpy's global generator: it is seeded here and put back, so the same audio is always the same score.
    """
    from pystoi import stoi

    if len(reference) < MIN_SECONDS * RATE:
        raise Undefined(f"too_short: {len(reference) / RATE:.2f} s, ESTOI needs {MIN_SECONDS} s of speech")
    state = np.random.get_state()
    try:
        np.random.seed(0)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
            value = float(stoi(reference, output, RATE, extended=True))
    except RuntimeWarning:  # pystoi would return 1e-5
        raise Undefined(f"too_short: the reference holds less than {MIN_SECONDS} s of speech") from None
    finally:
        np.random.set_state(state)
    if not np.isfinite(value):
        raise Undefined("not_finite: pystoi returned NaN")
    return value


@metrics.register("estoi")
class Estoi(Metric):
    """ESTOI at 16 kHz against the reference; by default after undoing one global delay within +-50 ms."""

    tasks = frozenset({"tse", "se"})
    packages = ("pystoi",)
    params_type = AlignParams
    params: AlignParams

    @property
    def needs(self) -> frozenset[Field]:
        """The clean signal."""
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column, named after the delay policy: `estoi.xcorr50ms` or `estoi.none`."""
        help_ = f"Predicted intelligibility against the reference; delay policy: {self.params.align}."
        return (Column(f"estoi.{self.params.align}", "ESTOI", "higher", 0.0, decimals=3, headline=True, help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Rate, delay policy and its version."""
        return {
            "package": f"pystoi {require_package('pystoi', 'metric estoi', self.extra)}",
            "metric": "estoi",
            "version": 1,
            "rate": RATE,
            "align": self.params.align,
            "alignment": VERSION,
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """The score; `detail` holds the delay. Raises Undefined for silence and for too little speech."""
        reference, output, detail = aligned_pair(sample, RATE, self.params.align)
        return {f"estoi.{self.params.align}": Score("ok", estoi(reference, output), detail=detail)}
