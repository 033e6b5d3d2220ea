"""What a generation cost: real-time factor, latency, peak memory; read off its record, never cached as scores."""

from __future__ import annotations

from collections.abc import Mapping

from metis_bench.corpora.base import ALL_TASKS, Field
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics


def _number(sample: Sample, key: str) -> float:
    value = sample.generation.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Undefined(f"not_recorded: the generation of this item has no '{key}'")
    return float(value)


class _Cost(Metric):
    """A metric of the generation record: of every task, without a key, without a worst value."""

    tasks = ALL_TASKS
    keyed = False

    @property
    def needs(self) -> frozenset[Field]:
        """Nothing: it does not even look at the audio."""
        return frozenset()


@metrics.register("rtf")
class RealTimeFactor(_Cost):
    """Seconds of computing a second of generated audio, on the machine it ran on; set-up is not timed."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column; lower is faster."""
        help_ = "Wall-clock seconds of generation a second of audio; depends on the machine."
        return (Column("rtf", "RTF", "lower", None, decimals=4, headline=True, help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Name and version only."""
        return {"metric": "rtf", "version": 1}

    def score(self, sample: Sample) -> dict[str, Score]:
        """wall_s / audio_s. Raises Undefined when either was not recorded or there is no audio."""
        wall, audio = _number(sample, "wall_s"), _number(sample, "audio_s")
        if audio <= 0:
            raise Undefined("no_audio: the output has no duration")
        return {"rtf": Score("ok", wall / audio, detail={"wall_s": wall, "audio_s": audio})}


@metrics.register("latency")
class Latency(_Cost):
    """Seconds from an item to its whole output, on the machine it ran on: what someone waits who streams nothing."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column; the median and the 95th percentile over items stand beside the mean."""
        help_ = "Wall-clock seconds until an output is there, with all of its batch; depends on the machine."
        return (Column("latency", "Latency", "lower", None, decimals=3, unit="s", help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Name and version only."""
        return {"metric": "latency", "version": 2}

    def score(self, sample: Sample) -> dict[str, Score]:
        """latency_s as recorded: of a batch, all of it. Raises Undefined when it was not."""
        return {"latency": Score("ok", _number(sample, "latency_s"))}


@metrics.register("peak_mb")
class PeakMemory(_Cost):
    """Peak memory (RAM) of a generation in MB; a corpus reports its largest. Undefined where it cannot be told."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column; the maximum over items."""
        help_ = "Largest peak of any generation in main memory, weights included; a GPU's memory is not."
        return (Column("peak_mb", "Peak memory", "lower", None, decimals=0, unit="MB", aggregate="max", help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Name and version only."""
        return {"metric": "peak_mb", "version": 1}

    def score(self, sample: Sample) -> dict[str, Score]:
        """peak_mb as recorded. Raises Undefined when it was not."""
        return {"peak_mb": Score("ok", _number(sample, "peak_mb"))}
