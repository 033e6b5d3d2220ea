"""DNSMOS: predicted quality of speech without a reference (Reddy et al. 2021/2022, arXiv 2010.15258, 2110.01763)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

import numpy as np

from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.hashing import JSON
from metis_bench.metrics import _dnsmos
from metis_bench.metrics.alignment import is_silent
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics

LABELS = {
    "avg3": ("DNSMOS", "Mean of SIG, BAK and OVRL; what TTS and VC tables print as 'DNSMOS'."),
    "sig": ("SIG", "P.835 quality of the speech itself."),
    "bak": ("BAK", "P.835 intrusiveness of the background; 5 is unnoticeable."),
    "ovrl": ("OVRL", "P.835 overall quality."),
    "p808": ("P.808", "P.808 overall quality, by the separate model."),
}


class DnsmosParams(Params):
    """The one parameter changes no score, so it is not in the signature."""

    scalar: Literal["avg3", "ovrl", "p808"] = "avg3"  # which column is the headline; all are always reported


def threads() -> int:
    """Cores a worker may use: its share, as the executor set it; 0 (all) outside of one."""
    return int(os.environ.get("OMP_NUM_THREADS", "0"))


@metrics.register("dnsmos")
class Dnsmos(Metric):
    """The official scores (`speechmos`), at 16 kHz, never level-normalised: P.835 is not gain-invariant.

    Samples outside [-1, 1], at which speechmos raises, are clipped and counted in `detail`. Digital silence is
    undefined: the models rate it SIG 2.51, BAK 3.47, OVRL 1.84, above noisy speech, and nothing may win by saying
    nothing. Under 20 ms it is undefined too.
    """

    tasks = ALL_TASKS
    packages = ("speechmos", "onnxruntime")
    params_type = DnsmosParams
    params: DnsmosParams

    @property
    def needs(self) -> frozenset[Field]:
        """Nothing: it only listens to the output."""
        return frozenset()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The headline first, then the other ones."""
        names = sorted(LABELS, key=lambda name: name != self.params.scalar)
        return tuple(
            Column(
                f"dnsmos.{name}",
                LABELS[name][0],
                "higher",
                1.0,
                headline=name == self.params.scalar,
                help=LABELS[name][1],
            )
            for name in names
        )

    def check(self) -> None:
        """Raise MissingPrerequisite when speechmos, its models or onnxruntime are missing."""
        super().check()
        _dnsmos.model_paths()

    def signature(self) -> Mapping[str, JSON]:
        """Model bytes, rate and the version of the algorithm around them."""
        return {
            "metric": "dnsmos",
            "version": 1,
            "weights": _dnsmos.model_hashes(),
            "rate": _dnsmos.RATE,
            "windows": "9.01s/1s/doubled",
            "level": "as-is, clipped to [-1, 1]",
            "silence": "undefined",
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """All five columns. Raises Undefined for silence and for audio shorter than a frame."""
        audio = sample.output.audio(_dnsmos.RATE).samples
        if len(audio) < _dnsmos.FRAME:
            raise Undefined(f"too_short: {len(audio)} samples at 16 kHz, DNSMOS needs {_dnsmos.FRAME} (20 ms)")
        if is_silent(audio):
            raise Undefined("silence: the output is constant")
        windows = _dnsmos.dnsmos(np.clip(audio, -1.0, 1.0), threads())
        values = {name: float(np.mean(scores)) for name, scores in windows.items()}
        values["avg3"] = (values["sig"] + values["bak"] + values["ovrl"]) / 3
        if not np.isfinite(list(values.values())).all():
            raise Undefined("not_finite: a DNSMOS model returned NaN")
        clipped = int(np.count_nonzero(np.abs(audio) > 1.0))
        detail: dict[str, JSON] = {"windows": len(windows["sig"]), "clipped_samples": clipped}
        return {f"dnsmos.{name}": Score("ok", values[name], detail=detail) for name in LABELS}
