"""The worker's part of stage 2: the scores of one output, each kept under its key before it is reported."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from metis_bench.corpora.base import Field
from metis_bench.engine.clips import Clips
from metis_bench.engine.features import MetricInit, Metrics, Sound, feature, feature_key
from metis_bench.engine.store import Store
from metis_bench.errors import ItemError, MetisBenchError, MissingPrerequisite
from metis_bench.hashing import JSON, canonical_json
from metis_bench.metrics.base import Sample, Score, Undefined


@dataclass(frozen=True)
class ScoreJob:
    """One output and the metrics it still lacks: (index of the bound metric, score key) a step."""

    item: str
    task: str
    language: str
    text: str | None
    output: Sound
    inputs: Mapping[str, Sound]
    generation: Mapping[str, Any]
    steps: tuple[tuple[int, str], ...]


class ScoreHandler:
    """Lives in the worker."""

    def __init__(self, init: MetricInit) -> None:
        self.metrics, self.store = Metrics(init), Store(init.store)
        self.clips = Clips(self.store)

    def close(self) -> None:
        """Nothing to free."""

    def run(self, job: ScoreJob, start: int) -> Iterator[dict[str, Any]]:
        """One step a metric."""
        sample = self._sample(job)
        for index, key in job.steps[start:]:
            try:
                scores, keep = self._score(index, sample)
            except MissingPrerequisite as error:  # damaged weights: no row can be scored
                yield {"missing": str(error)}
                return
            if keep and self.metrics[index].keyed:
                try:
                    self.store.put("score", key, {"scores": scores})
                except OSError as error:
                    yield {"abort": f"the store cannot be written: {error.strerror or error}"}
                    return
            yield {"scores": scores}

    def heard(self, job: ScoreJob) -> list[str] | None:
        """Keys of the features that the job's metrics ask of its clips; None where they need the audio itself."""
        clips = {"output": job.output, **job.inputs}
        wanted = [self.metrics[index].extracts for index, _ in job.steps]
        if not all(wanted) or any(role not in clips for extracts in wanted for _, role in extracts):
            return None
        return [feature_key(extractor, clips[role].sha256) for extracts in wanted for extractor, role in extracts]

    def _score(self, index: int, sample: Sample) -> tuple[dict[str, Any], bool]:
        """Scores by column, and whether they may be kept: what failed is tried again at the next run."""
        metric = self.metrics[index]
        columns = [c.id for c in metric.columns]
        try:
            scores = metric.score(_restricted(sample, metric.needs))
            checked = {c: check_score(scores.get(c)) for c in columns}
            return checked, all(s["status"] != "failed" for s in checked.values())
        except Undefined as undefined:
            return {c: asdict(Score("undefined", reason=undefined.message)) for c in columns}, True
        except ItemError as error:
            return {c: asdict(Score("failed", reason=error.message)) for c in columns}, False
        except MissingPrerequisite:
            raise
        except MetisBenchError as error:
            return {c: asdict(Score("failed", reason=str(error))) for c in columns}, False
        except Exception as error:  # noqa: BLE001 - boundary 2 of 2: whatever a metric raises is a failed row
            traceback.print_exc(file=sys.stderr)
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            return {c: asdict(Score("failed", reason=reason)) for c in columns}, False

    def _sample(self, job: ScoreJob) -> Sample:
        clips = {name: self.clips.clip(sound.path, sound.sha256) for name, sound in job.inputs.items()}
        return Sample(
            item_id=job.item,
            task=job.task,  # type: ignore[arg-type]  # a Task, checked by the suite
            language=job.language,
            output=self.clips.clip(job.output.path, job.output.sha256),
            text=job.text,
            reference=clips.get("reference"),
            prompt=clips.get("prompt"),
            source=clips.get("source"),
            generation=job.generation,
            feature=partial(feature, self.store),
        )


def _restricted(sample: Sample, needs: frozenset[Field]) -> Sample:
    """The sample with only the fields a metric declares: what is not in its key must not decide its score."""
    return replace(
        sample,
        text=sample.text if "text" in needs else None,
        reference=sample.reference if "reference" in needs else None,
        prompt=sample.prompt if "prompt" in needs else None,
        source=sample.source if "source" in needs else None,
    )


def check_score(score: Score | None) -> dict[str, JSON]:
    """A score as JSON; a missing one or NaN is a failure of the metric, never a number."""
    if score is None:
        return asdict(Score("failed", reason="the metric returned no value for this column"))
    if score.status == "ok" and (score.value is None or not math.isfinite(score.value)):
        return asdict(Score("failed", reason=f"the metric returned {score.value}"))
    out = asdict(replace(score, value=None if score.value is None else float(score.value)))
    canonical_json(out)  # a detail that is no JSON is found here, in its own row
    return out
