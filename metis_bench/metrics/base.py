"""The Metric protocol: columns with a direction and a worst value, a signature, and one score a column a sample."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from metis_bench.audio import Audio
from metis_bench.corpora.base import Field, Params, Task
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON, sha256_json
from metis_bench.metrics.weights import Weights
from metis_bench.registry import Registry

MIXED = "mul"  # ISO 639-2 for several languages: no recogniser may pretend to know them all

Status: TypeAlias = Literal["ok", "undefined", "failed"]


@dataclass(frozen=True)
class Column:
    """One number a metric reports.

    worst:     what a failed or undefined item counts as in the penalised mean; None for costs (no penalty is defined)
    family:    what an oracle order may call it, with all others of its kind: `wer`, `sim.ref` (whatever the model)
    aggregate: mean over items; ratio = sum of detail[num] over sum of detail[den] (corpus WER); max (peak memory)
    """

    id: str
    label: str
    direction: Literal["higher", "lower"]
    worst: float | None
    decimals: int = 2
    unit: str = ""
    aggregate: Literal["mean", "ratio", "max"] = "mean"
    ratio: tuple[str, str] = ("", "")
    headline: bool = False
    ranked: bool = True
    family: str = ""
    help: str = ""


@dataclass(frozen=True)
class Score:
    """A value, or the reason there is none. `detail` is JSON kept with the score (edit counts, alignment, delay)."""

    status: Status
    value: float | None = None
    reason: str | None = None
    detail: Mapping[str, JSON] = field(default_factory=dict)


class Undefined(ItemError):
    """The metric has no value for this audio (PESQ of silence). Message = the reason; never turned into 0.0."""


@dataclass(frozen=True)
class Clip:
    """An audio file a metric may look at: `sha256` of its bytes, decoded on demand (cached by the worker)."""

    sha256: str
    load: Callable[[int | None], Audio]

    def audio(self, rate: int | None = None) -> Audio:
        """Mono at `rate` Hz (or its own). Raises AudioError."""
        return self.load(rate)


class Extractor(ABC):
    """Turns a clip into a JSON feature (transcript, embedding) that the store keeps by (signature, audio).

    packages, extra, weights: what it needs
    network: worth a GPU, so its features are extracted before anything is scored, `batch` clips at a time
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "embedded"
    weights: ClassVar[tuple[Weights, ...]] = ()
    network: ClassVar[bool] = False
    batch: ClassVar[int] = 1

    def check(self) -> None:
        """Raise MissingPrerequisite when a package or weights are missing. Cheap."""
        require_all(f"{self.kind} '{self.name}'", self.packages, self.extra, self.weights)

    @functools.cached_property
    def identity(self) -> str:
        """sha256 of the signature, which looks at files: once an object, not once a clip."""
        return sha256_json(self.signature())

    def located(self) -> Path:
        """Where its (first) weights lie. Raises MissingPrerequisite."""
        return self.weights[0].require(f"{self.kind} '{self.name}'")

    @abstractmethod
    def signature(self) -> Mapping[str, JSON]:
        """Everything that decides the feature: model, weights' sha256, rate, vocabulary."""

    @abstractmethod
    def extract(self, clip: Clip) -> JSON:
        """The feature. Raises Undefined when there is none for this audio."""

    def extract_all(self, clips: Sequence[Clip]) -> list[JSON | ItemError]:
        """What `extract` gives or raises for each clip, whatever stands beside it. Override it where `batch` > 1."""
        return [self._extracted(clip) for clip in clips]

    def _extracted(self, clip: Clip) -> JSON | ItemError:
        try:
            return self.extract(clip)
        except ItemError as error:
            return error


@dataclass(frozen=True)
class Sample:
    """One generated output with what it is compared with. Absent fields are None."""

    item_id: str
    task: Task
    language: str
    output: Clip
    text: str | None
    reference: Clip | None
    prompt: Clip | None
    source: Clip | None
    generation: Mapping[str, JSON]  # wall_s, audio_s, peak_mb of the generation
    feature: Callable[[Extractor, Clip], JSON]  # store lookup, else extract and keep


@dataclass(frozen=True)
class MetricContext:
    """What a metric is built for: one corpus. `texts`: all its texts (closed vocabularies), whatever --limit says."""

    task: Task
    language: str
    texts: tuple[str, ...]


class Metric(ABC):
    """Register with `@metrics.register("name")`. One object a (corpus, worker process); load models lazily.

    needs: item fields it compares with; an item set that does not provide them makes the metric not applicable
    keyed: False for costs, which are read off the generation record and never cached as scores
    """

    tasks: ClassVar[frozenset[Task]]
    keyed: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "embedded"
    weights: ClassVar[tuple[Weights, ...]] = ()
    params_type: ClassVar[type[Params]] = Params

    def __init__(self, params: Params, context: MetricContext) -> None:
        self.params = params
        self.context = context

    @property
    @abstractmethod
    def needs(self) -> frozenset[Field]:
        """Item fields (besides the output) this metric reads; they enter the score key."""

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What it reports, in display order. Ids start with the metric's name: `dnsmos.ovrl`, `wer.pocketsphinx`."""

    @property
    def extracts(self) -> tuple[tuple[Extractor, Literal["output"] | Field], ...]:
        """The features that `score` asks for, and of what."""
        return ()

    def check(self) -> None:
        """Raise MissingPrerequisite when a package or weights are missing. Cheap."""
        require_all(f"metric '{type(self).__name__.lower()}'", self.packages, self.extra, self.weights)

    @abstractmethod
    def signature(self) -> Mapping[str, JSON]:
        """Name, version, weights' sha256, rate, normaliser: two numbers compare only if these are equal."""

    def size(self, text: str | None, language: str) -> float | None:
        """Denominator of a ratio column for an item that was never scored (its words); None where it has none."""
        del text, language
        return None

    @abstractmethod
    def score(self, sample: Sample) -> dict[str, Score]:
        """A Score for every column id. Raise Undefined when no column has a value for this audio."""


def require_all(what: str, packages: Sequence[str], extra: str, weights: Sequence[Weights]) -> None:
    """Raise MissingPrerequisite for the first of them that is not on this machine."""
    from metis_bench.systems.base import require_package

    for package in packages:
        require_package(package, what, extra)
    for each in weights:
        each.require(what)


metrics: Registry[Metric] = Registry("metric", "metis_bench.metrics")
