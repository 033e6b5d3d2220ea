"""UTMOS: predicted naturalness of speech without a reference (Saeki et al. 2022, arXiv 2204.02152), strong learner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from metis_bench.corpora.base import ALL_TASKS, Field
from metis_bench.hashing import JSON
from metis_bench.metrics.alignment import is_silent
from metis_bench.metrics.base import Clip, Column, Extractor, Metric, Sample, Score, Undefined, metrics
from metis_bench.metrics.device import device, full_precision
from metis_bench.metrics.sinc import SINC_VERSION, resample_sinc
from metis_bench.metrics.weights import Weights, content

if TYPE_CHECKING:
    from metis_bench.metrics._utmos import UtmosConfig

RATE = 16_000
WEIGHTS = Weights(
    "utmos22_strong_step7459_v1.pt",
    licence="MIT",
    gigabytes=0.4,
    others=("~/.cache/torch/hub/checkpoints/utmos22_strong_step7459_v1.pt",),
    get="download it from the releases (v1.0.0) of github.com/tarepan/SpeechMOS",
)


class UtmosNetwork(Extractor):
    """The score as a feature: one clip at a time, because padding in a batch changes it."""

    kind, name = "network", "utmos"
    weights = (WEIGHTS,)
    network = True

    def __init__(self, config: UtmosConfig | None = None) -> None:
        """`config`: sizes other than the checkpoint's."""
        self.config = config

    def signature(self) -> Mapping[str, JSON]:
        """Model bytes, rate and resampler."""
        return {
            "metric": "utmos",
            "version": 1,
            "model": "utmos22_strong",
            "weights": content(WEIGHTS.require("metric 'utmos'")),
            "rate": RATE,
            "resample": SINC_VERSION,
            "batch": 1,
            "level": "as-is",
            "silence": "undefined",
        }

    def extract(self, clip: Clip) -> JSON:
        """The score. Raises Undefined for silence and for less than one frame."""
        import torch

        from metis_bench.metrics._utmos import UtmosConfig, utmos_model

        config = self.config or UtmosConfig()
        heard = clip.audio()
        if is_silent(heard.samples):
            raise Undefined("silence: the output is constant")
        audio = resample_sinc(heard.samples, heard.rate, RATE)
        if len(audio) < config.receptive_field:
            raise Undefined(f"too_short: {len(audio)} samples at 16 kHz, UTMOS needs {config.receptive_field}")
        model = utmos_model(WEIGHTS.require("metric 'utmos'"), config)
        with full_precision():
            value = float(model(torch.from_numpy(audio.copy())[None].to(device()))[0])
        if value != value:
            raise Undefined("not_finite: UTMOS returned NaN")
        return value


@metrics.register("utmos")
class Utmos(Metric):
    """UTMOS22 strong as tarepan/SpeechMOS v1.2.0 scores one clip: 16 kHz, batch 1, the judge and domain of its file.

    Trained mostly on English synthesis: the headline for English only. Silence and less than 25 ms are
    undefined; the level is never touched.
    """

    tasks = ALL_TASKS
    weights = (WEIGHTS,)
    config: UtmosConfig | None = None  # sizes other than the checkpoint's, for tests

    @property
    def needs(self) -> frozenset[Field]:
        """Nothing: it only listens to the output."""
        return frozenset()

    @property
    def extracts(self) -> tuple[tuple[Extractor, Literal["output"]], ...]:
        """The network's score of the output."""
        return ((UtmosNetwork(self.config), "output"),)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column, `utmos`."""
        english = self.context.language == "en"
        help_ = "Predicted naturalness (UTMOS22 strong); trained mostly on English."
        return (Column("utmos", "UTMOS", "higher", 1.0, headline=english, help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """The network's."""
        return UtmosNetwork(self.config).signature()

    def score(self, sample: Sample) -> dict[str, Score]:
        """The score. Raises Undefined for silence and for less than one frame."""
        value = sample.feature(UtmosNetwork(self.config), sample.output)
        return {"utmos": Score("ok", cast(float, value))}
