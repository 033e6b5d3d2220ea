"""NISQA v2: predicted quality of speech without a reference, in five dimensions (Mittag et al. 2021, arXiv 2104.09494).

Code MIT; the weights, which the user supplies, are under CC BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.hashing import JSON
from metis_bench.metrics import _nisqa
from metis_bench.metrics.alignment import is_silent
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics
from metis_bench.metrics.weights import Weights, content
from metis_bench.systems.base import require_package

WEIGHTS = Weights(
    "nisqa.tar",
    licence="CC BY-NC-SA 4.0: not for commercial use",
    gigabytes=0.001,
    others=("~/.torchmetrics/NISQA/nisqa.tar",),
    get="download weights/nisqa.tar of github.com/gabrielmittag/NISQA",
)
HELP = {
    "mos": "NISQA v2 overall quality; what tables print as 'NISQA'.",
    "noisiness": "NISQA v2: 5 is no noise.",
    "discontinuity": "NISQA v2: 5 is no interruption.",
    "coloration": "NISQA v2: 5 is an uncoloured voice.",
    "loudness": "NISQA v2: 5 is the right loudness.",
}


class NisqaParams(Params):
    """rate: what the network listens at, in Hz; native = each file's own, as the original does."""

    rate: Literal[16000, "native", 48000] = 16000


@metrics.register("nisqa")
class Nisqa(Metric):
    """At 16 kHz for every system unless told: the same clip scores up to 0.8 higher at 16 kHz than at 24 kHz.

    The level counts (peak-normalising moves a clip by 0.8 too) and is never touched. Silence, less than 0.14 s and more
    than 52 s are undefined.
    """

    tasks = ALL_TASKS
    packages = ("torchmetrics",)
    weights = (WEIGHTS,)
    params_type = NisqaParams
    params: NisqaParams

    @property
    def needs(self) -> frozenset[Field]:
        """Nothing: it only listens to the output."""
        return frozenset()

    @property
    def columns(self) -> tuple[Column, ...]:
        """MOS, then the four dimensions; the rate is in every id: `nisqa.16k.mos`, `nisqa.native.mos`."""
        rate = self.params.rate
        name = rate if rate == "native" else f"{rate // 1000}k"
        labels = {key: f"NISQA ({name})" if key == "mos" else f"NISQA {key} ({name})" for key in HELP}
        return tuple(
            Column(f"nisqa.{name}.{key}", labels[key], "higher", 1.0, headline=key == "mos", help=help_)
            for key, help_ in HELP.items()
        )

    def signature(self) -> Mapping[str, JSON]:
        """Model bytes, the package that holds the network, rate."""
        return {
            "metric": "nisqa",
            "version": 1,
            "package": f"torchmetrics {require_package('torchmetrics', 'metric nisqa', self.extra)}",
            "weights": content(WEIGHTS.require("metric 'nisqa'")),
            "rate": self.params.rate,
            "level": "as-is",
            "silence": "undefined",
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """All five columns. Raises Undefined for silence and for audio that is too short or too long."""
        audio = sample.output.audio(None if self.params.rate == "native" else self.params.rate)
        if is_silent(audio.samples):
            raise Undefined("silence: the output is constant")
        model = _nisqa.nisqa_model(WEIGHTS.require("metric 'nisqa'"))
        values = _nisqa.nisqa(model, audio.samples, audio.rate)
        detail: dict[str, JSON] = {"rate": audio.rate}
        return {column.id: Score("ok", values[column.id.split(".")[-1]], detail=detail) for column in self.columns}
