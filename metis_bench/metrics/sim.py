"""Speaker similarity: cosine of the speaker embeddings of the output and of the prompt, reference or source.

Against the prompt it is the SIM-o of papers, against the prompt after a codec their SIM-r.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, cast

import numpy as np

from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Column, Extractor, Metric, MetricContext, Sample, Score, Undefined, metrics
from metis_bench.metrics.names import registered
from metis_bench.metrics.speakers.base import SpeakerEncoder, encoders
from metis_bench.metrics.speakers.encodec import Reconstructed


class SimParams(Params):
    """model: the speaker encoder; pair: what the output is compared with (source: the voice to get rid of).

    reconstructed: the prompt after EnCodec (SIM-r), where `prompt` is the recording itself (SIM-o)
    """

    model: Annotated[str, registered(encoders)] = "ge2e"
    pair: Literal["prompt", "reference", "source", "reconstructed"] = "prompt"


SUFFIX = {"prompt": "", "reference": "ref", "source": "source", "reconstructed": "rec"}  # of the column, by pair
FIELD: dict[str, Field] = {"reconstructed": "prompt"}  # the item's field, where it has another name than the pair


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
        # how the other clip is heard
        self.other: Extractor = Reconstructed(self.encoder) if self.params.pair == "reconstructed" else self.encoder

    @property
    def needs(self) -> frozenset[Field]:
        """The prompt, the reference or the source."""
        return frozenset({self._field})

    @property
    def _field(self) -> Field:
        return FIELD.get(self.params.pair, cast("Field", self.params.pair))

    @property
    def extracts(self) -> tuple[tuple[Extractor, Literal["output"] | Field], ...]:
        """The embeddings of both."""
        return ((self.encoder, "output"), (self.other, self._field))

    @property
    def columns(self) -> tuple[Column, ...]:
        """`sim.<model>`: prompt; `.ref`: reference; `.rec`: prompt after EnCodec; `.source` (lower is better)."""
        model, pair = self.params.model, self.params.pair
        column, label = ".".join(("sim", model, SUFFIX[pair])).rstrip("."), f"SIM {SUFFIX[pair]}".strip()
        family = f"sim.{SUFFIX[pair]}".rstrip(".")
        compared = "prompt after EnCodec at 6 kbit/s" if pair == "reconstructed" else pair
        help_ = f"cosine of the speaker embeddings of output and {compared}"
        if pair == "source":
            help_ += ": what is left of the voice that was to be replaced"
            return (Column(column, f"{label} ({model})", "lower", 1.0, decimals=3, family=family, help=help_),)
        headline = pair != "reconstructed"
        return (
            Column(
                column, f"{label} ({model})", "higher", -1.0, decimals=3, headline=headline, family=family, help=help_
            ),
        )

    def check(self) -> None:
        """Raise MissingPrerequisite when the encoder, or the codec, lacks a package or weights."""
        super().check()
        self.other.check()

    def signature(self) -> Mapping[str, JSON]:
        """The encoder's signature (of a reconstructed prompt: with the codec's) and the pair."""
        return {"name": "sim", "version": "1", "encoder": self.other.signature(), "pair": self.params.pair}

    def score(self, sample: Sample) -> dict[str, Score]:
        """One cosine. Raises Undefined, naming the clip, when either has no embedding."""
        other: Clip | None = getattr(sample, self._field)
        if other is None:
            raise ItemError(f"the item has no {self._field}")
        value = cosine(
            self._embedding(sample, self.encoder, sample.output, "output"),
            self._embedding(sample, self.other, other, self._field),
        )
        return {self.columns[0].id: Score("ok", value)}

    @staticmethod
    def _embedding(sample: Sample, encoder: Extractor, clip: Clip, role: str) -> list[float]:
        try:
            return cast("list[float]", sample.feature(encoder, clip))
        except Undefined as error:
            raise Undefined(f"{role}: {error.message}") from None
