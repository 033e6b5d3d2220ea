"""Speaker similarity: cosine of the speaker embeddings of the output and of the prompt (SIM-o), reference or source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, cast

import numpy as np

from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Column, Metric, MetricContext, Sample, Score, Undefined, metrics
from metis_bench.metrics.names import registered
from metis_bench.metrics.speakers.base import SpeakerEncoder, encoders


class SimParams(Params):
    """model: the speaker encoder; pair: what the output is compared with (source: the voice to get rid of)."""

    model: Annotated[str, registered(encoders)] = "ge2e"
    pair: Literal["prompt", "reference", "source"] = "prompt"


SUFFIX = {"prompt": "", "reference": "ref", "source": "source"}  # of the column, by pair


def cosine(a: list[float], b: list[float]) -> float:
    """Cosine of two vectors of the same length, kept within [-1, 1] against rounding."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0))


@metrics.register("sim")
class Sim(Metric):
    """Only comparable within one encoder: the scale of every model is its own."""

    tasks = ALL_TASKS
    params_type = SimParams
    params: SimParams

    def __init__(self, params: Params, context: MetricContext) -> None:
        super().__init__(params, context)
        self.encoder: SpeakerEncoder = encoders.get(self.params.model)()

    @property
    def needs(self) -> frozenset[Field]:
        """The prompt, the reference or the source."""
        return frozenset({self.params.pair})

    @property
    def extracts(self) -> tuple[tuple[SpeakerEncoder, Literal["output"] | Field], ...]:
        """The embeddings of both."""
        return ((self.encoder, "output"), (self.encoder, self.params.pair))

    @property
    def columns(self) -> tuple[Column, ...]:
        """`sim.<model>` against the prompt, `.ref` against the reference, `.source` (lower is better) the source."""
        model, pair = self.params.model, self.params.pair
        column, label = ".".join(("sim", model, SUFFIX[pair])).rstrip("."), f"SIM {SUFFIX[pair]}".strip()
        help_ = f"cosine of the speaker embeddings of output and {pair}"
        if pair == "source":
            help_ += ": what is left of the voice that was to be replaced"
            return (Column(column, f"{label} ({model})", "lower", 1.0, decimals=3, help=help_),)
        return (Column(column, f"{label} ({model})", "higher", -1.0, decimals=3, headline=True, help=help_),)

    def check(self) -> None:
        """Raise MissingPrerequisite when the encoder lacks a package."""
        super().check()
        self.encoder.check()

    def signature(self) -> Mapping[str, JSON]:
        """The encoder's signature and the pair."""
        return {"name": "sim", "version": "1", "encoder": self.encoder.signature(), "pair": self.params.pair}

    def score(self, sample: Sample) -> dict[str, Score]:
        """One cosine. Raises Undefined, naming the clip, when either has no embedding."""
        other = {"prompt": sample.prompt, "reference": sample.reference, "source": sample.source}[self.params.pair]
        if other is None:
            raise ItemError(f"the item has no {self.params.pair}")
        value = cosine(
            self._embedding(sample, sample.output, "output"), self._embedding(sample, other, self.params.pair)
        )
        return {self.columns[0].id: Score("ok", value)}

    def _embedding(self, sample: Sample, clip: Clip, role: str) -> list[float]:
        try:
            return cast("list[float]", sample.feature(self.encoder, clip))
        except Undefined as error:
            raise Undefined(f"{role}: {error.message}") from None
