"""Stage 2: score every generated output with every applicable metric; features and scores come from the store first."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from metis_bench.audio import AUDIO_VERSION
from metis_bench.config import Config
from metis_bench.corpora.base import Field
from metis_bench.engine.clips import Clips
from metis_bench.engine.features import FeatureJob, MetricInit, Metrics, batches, extract, feature, kept
from metis_bench.engine.generate import ABORT_FIX, Progress
from metis_bench.engine.local import Crash, LocalExecutor, Task
from metis_bench.engine.store import Store
from metis_bench.errors import ItemError, MetisBenchError, MissingPrerequisite
from metis_bench.hashing import JSON, canonical_json, sha256_json
from metis_bench.metrics.base import Metric, MetricContext, Sample, Score, Undefined, metrics
from metis_bench.sources import source_hash
from metis_bench.suite.plan import Plan, Row, TestSet
from metis_bench.suite.schema import MetricSpec


@dataclass(frozen=True)
class BoundMetric:
    """A metric built for one corpus, with its signature.

    blocked: why it cannot be computed on this machine; its cells say so
    """

    index: int
    corpus: str
    spec: MetricSpec
    context: MetricContext
    metric: Metric
    signature: Mapping[str, JSON]
    signature_id: str | None  # None: not applicable to any set of the corpus, or blocked
    blocked: str | None = None


def bind(
    specs: Sequence[MetricSpec],
    contexts: Mapping[str, MetricContext],
    provides: Mapping[str, frozenset[Field]],
    blocked: Mapping[tuple[int, str], str] = MappingProxyType({}),
) -> list[BoundMetric]:
    """Every metric for every corpus. Signatures hash weights but load no model.

    blocked: by number of the spec and corpus, why it cannot be computed here
    provides: fields that at least one set of the corpus has. A metric that no set can satisfy is bound without a
    signature: it will only ever be 'not applicable' (a closed-vocabulary recogniser cannot be built without texts).
    """
    out: list[BoundMetric] = []
    for corpus, context in contexts.items():
        for number, spec in enumerate(specs):
            metric = metrics.get(spec.type)(spec.params, context)
            signature: dict[str, JSON] = {}
            reason = blocked.get((number, corpus))
            if reason is None and context.task in metric.tasks and metric.needs <= provides[corpus]:
                signature = {**metric.signature(), **({"decoding": AUDIO_VERSION} if metric.keyed else {})}
                if not type(metric).__module__.startswith("metis_bench."):  # a plug-in's author raises no version
                    signature["source"] = source_hash(type(metric), Metric)
            name = sha256_json(signature)[:12] if signature else None
            out.append(BoundMetric(len(out), corpus, spec, context, metric, signature, name, reason))
    return out


@dataclass(frozen=True)
class ScoreJob:
    """One output and the metrics it still lacks: (index of the bound metric, score key) a step."""

    item: str
    task: str
    language: str
    text: str | None
    output: tuple[str, str]  # (path, sha256)
    inputs: Mapping[str, tuple[str, str]]
    generation: Mapping[str, Any]
    steps: tuple[tuple[int, str], ...]


class ScoreHandler:
    """Lives in the worker."""

    def __init__(self, init: MetricInit) -> None:
        self.metrics, self.store = Metrics(init), Store(Path(init.store))
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
                    yield {"abort": f"the store cannot be written: {error.strerror}"}
                    return
            yield {"scores": scores}

    def all_heard(self, job: ScoreJob) -> bool:
        """Whether all that the job's metrics ask of its clips is in the store."""
        clips = {"output": job.output, **job.inputs}
        wanted = [self.metrics[index].extracts for index, _ in job.steps]
        return all(wanted) and all(
            role in clips and kept(self.store, extractor, self.clips.clip(*clips[role])) is not None
            for extracts in wanted
            for extractor, role in extracts
        )

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
        clips = {name: self.clips.clip(path, sha) for name, (path, sha) in job.inputs.items()}
        return Sample(
            item_id=job.item,
            task=job.task,  # type: ignore[arg-type]  # a Task, checked by the suite
            language=job.language,
            output=self.clips.clip(*job.output),
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


def measure(
    plan: Plan,
    generations: Sequence[Mapping[str, Any]],
    bound: Sequence[BoundMetric],
    store: Store,
    config: Config,
    progress: Progress,
) -> tuple[dict[tuple[int, int], dict[str, Any]], int]:
    """Scores of every (row, applicable metric), {(row index, metric index): {column: score}}; and how many outputs
    had to be looked at for them."""
    out: dict[tuple[int, int], dict[str, Any]] = {}
    waiting: dict[str, list[tuple[int, int]]] = {}  # score key -> who waits for it
    jobs: dict[int, list[tuple[int, str]]] = {}
    here = ScoreHandler(_init(bound, store, config))  # for what is read off records and features: not worth a worker
    for row_index, metric_index in _wanted(plan, bound):
        one = bound[metric_index]
        scores, key = _known(plan.rows[row_index], one, plan, generations[row_index], store)
        if scores is None:
            job = _job(plan, row_index, generations[row_index], [(metric_index, key)], store)
            if not one.metric.keyed or here.all_heard(job):
                (result,) = here.run(job, 0)
                _require_kept(result, store)
                scores = result["scores"]
        if scores is not None:
            out[row_index, metric_index] = scores
        elif key in waiting:
            waiting[key].append((row_index, metric_index))
        else:
            waiting[key] = [(row_index, metric_index)]
            jobs.setdefault(row_index, []).append((metric_index, key))
    longest_first = sorted(jobs.items(), key=lambda job: -generations[job[0]]["audio"]["seconds"])  # evens out the end
    tasks = [Task(_job(plan, i, generations[i], steps, store), len(steps)) for i, steps in longest_first]
    extract(_features([task.payload for task in tasks], bound, store), _init(bound, store, config), config, progress)
    for key, scores in _execute(tasks, bound, store, config, progress):
        for who in waiting[key]:
            out[who] = scores
    return out, len(tasks)


def _features(jobs: Sequence[ScoreJob], bound: Sequence[BoundMetric], store: Store) -> list[FeatureJob]:
    """What the networks of these scores' metrics have to extract first."""
    clips: dict[int, dict[str, list[tuple[str, str]]]] = {}
    for job in jobs:
        for index, _ in job.steps:
            roles = clips.setdefault(index, {})
            for role, clip in {"output": job.output, **job.inputs}.items():
                roles.setdefault(role, []).append(clip)
    out: dict[tuple[str, tuple[tuple[str, str], ...]], FeatureJob] = {}
    for index, roles in clips.items():
        for one in batches(index, bound[index].metric, roles, store):
            extractor, _ = bound[index].metric.extracts[one.extractor]
            out.setdefault((extractor.identity, one.clips), one)  # shared by several metrics
    return list(out.values())


def _init(bound: Sequence[BoundMetric], store: Store, config: Config) -> MetricInit:
    specs = tuple((b.spec.type, b.spec.params.model_dump(), asdict(b.context)) for b in bound)
    return MetricInit(config.plugins, str(store.root), specs)


def _wanted(plan: Plan, bound: Sequence[BoundMetric]) -> Iterator[tuple[int, int]]:
    sets = {s.id: s for s in plan.sets}
    for row_index, row in enumerate(plan.rows):
        test_set = sets[row.set_id]
        for one in bound:
            if one.corpus == test_set.corpus and absent(plan, row.system, test_set, one) is None:
                yield row_index, one.index


def absent(plan: Plan, system: str, test_set: TestSet, one: BoundMetric) -> str | None:
    """Why a (system, set, metric) is not applicable, decided before anything runs; None where it has a cell."""
    metric = one.metric
    reason = plan.not_applicable.get((system, test_set.id))
    if reason is not None:
        return reason
    if test_set.task not in metric.tasks:
        return f"the metric is not defined for the task '{test_set.task}'"
    missing = sorted(metric.needs - test_set.spec.provides)
    if missing:
        return f"the set has no {', no '.join(missing)}"
    if one.blocked is not None:
        return one.blocked
    return None if metric.keyed or plan.facts[system].timed else "it only copies a file"


def _failed(one: BoundMetric, reason: str) -> dict[str, Any]:
    return {c.id: asdict(Score("failed", reason=reason)) for c in one.metric.columns}


def _known(
    row: Row, one: BoundMetric, plan: Plan, generation: Mapping[str, Any], store: Store
) -> tuple[dict[str, Any] | None, str]:
    """(scores, key) where they need no computing: a failed generation, unusable references, or a stored score."""
    if generation["status"] != "ok":
        return _failed(one, f"no output: {generation['reason']}"), ""
    planned = plan.items[row.set_id, row.item_id]
    problem = planned.problem(one.metric.needs)
    if problem is not None:
        return _failed(one, problem), ""
    cause = {
        "metric": one.signature,
        "language": planned.item.language,
        "audio": generation["audio"]["sha256"],
        "content": planned.content(one.metric.needs),
    }
    key = sha256_json(cause)
    if not one.metric.keyed:
        return None, key
    kept = (store.get("score", key) or {}).get("scores")
    ids = [c.id for c in one.metric.columns]
    if not isinstance(kept, dict) or set(kept) != set(ids):
        return None, key
    return {i: kept[i] for i in ids}, key  # in today's order, whatever it was when it was kept


def _job(plan: Plan, index: int, generation: Mapping[str, Any], steps: list[tuple[int, str]], store: Store) -> ScoreJob:
    row = plan.rows[index]
    planned = plan.items[row.set_id, row.item_id]
    sha256 = generation["audio"]["sha256"]
    usable = {n: ref for n, ref in planned.audio.items() if ref.error is None}
    return ScoreJob(
        item=row.item_id,
        task=planned.item.task,
        language=planned.item.language,
        text=planned.item.text,
        output=(str(store.audio_path(sha256)), sha256),
        inputs={n: (str(r.path), str(r.sha256)) for n, r in usable.items()},
        generation={
            "wall_s": generation["wall_s"],
            "audio_s": generation["audio"]["seconds"],
            "peak_mb": generation["peak_mb"],
        },
        steps=tuple(steps),
    )


def spread(gpus: Sequence[str], workers: int) -> tuple[str, ...]:
    """The GPU of each worker, in turn: what a network was not asked for before scoring is asked for here."""
    return tuple(gpus[i % len(gpus)] for i in range(workers)) if gpus else ()


def _require_kept(result: Mapping[str, Any], store: Store) -> None:
    if "missing" in result:
        raise MissingPrerequisite(result["missing"])
    if "abort" in result:
        raise MissingPrerequisite(result["abort"], where=store.root, fix=ABORT_FIX)


def _execute(
    tasks: list[Task], bound: Sequence[BoundMetric], store: Store, config: Config, progress: Progress
) -> Iterator[tuple[str, dict[str, Any]]]:
    if not tasks:
        return
    init = _init(bound, store, config)
    total = sum(t.steps for t in tasks)
    progress("scores", 0, total)
    with LocalExecutor(
        "metis_bench.engine.measure:ScoreHandler",
        init,
        min(config.workers, len(tasks)),
        timeout_s=config.timeout_s,
        gpus=spread(config.gpus(), min(config.workers, len(tasks))),
    ) as pool:
        for done, (task, step, result) in enumerate(pool.run(tasks), start=1):
            progress("scores", done, total)
            index, key = task.payload.steps[step]
            if not isinstance(result, Crash):
                _require_kept(result, store)
            scores = _failed(bound[index], result.reason) if isinstance(result, Crash) else result["scores"]
            yield key, scores
