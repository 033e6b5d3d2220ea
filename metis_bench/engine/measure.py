"""Stage 2: score every generated output with every applicable metric; features and scores come from the store first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metis_bench.config import Config
from metis_bench.engine.bound import BoundMetric, absent, failed
from metis_bench.engine.executor import Check, Crash, Executor, Task, Work
from metis_bench.engine.features import FeatureJob, MetricInit, Sound, batches, extract, usable
from metis_bench.engine.fitness import file_checks, metric_check
from metis_bench.engine.outputs import ABORT_FIX, Outputs
from metis_bench.engine.progress import Counted, Progress
from metis_bench.engine.scoring import ScoreHandler, ScoreJob
from metis_bench.engine.spool import Spool
from metis_bench.engine.store import AHEAD, Made, Store, chunks
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import sha256_json
from metis_bench.suite.plan import FileRef, Plan, Row

Columns = dict[str, Any]  # a score (as a dict) by column
Steps = tuple[tuple[int, str], ...]  # (number of a metric, key of its score)


class Scores:
    """Every score of a run: those that were there, and those that were made. On disk; `looked_at`: outputs scored."""

    def __init__(self, outputs: Outputs, bound: Sequence[BoundMetric], folder: Path) -> None:
        self.outputs, self.bound = outputs, bound
        self.looked_at = 0
        self._known, self._made = Spool(folder), Spool(folder)  # of each wanted: its columns, or its key
        self._places: dict[str, int] = {}

    def wanted(self) -> Iterator[tuple[int, int]]:
        """(number of a row, number of a metric), in plan order, wherever a metric applies."""
        return _wanted(self.outputs.plan, self.bound)

    def know(self, found: Columns | str) -> None:
        """Columns of the next of those wanted, or the key under which they will be made."""
        self._known.add(found)

    def make(self, key: str, columns: Columns) -> None:
        """Columns for all that wait for this key."""
        self._places[key] = self._made.add(columns)

    def __iter__(self) -> Iterator[tuple[int, int, Columns]]:
        """All of them, in plan order."""
        for (row, metric), found in zip(self.wanted(), self._known, strict=True):
            yield row, metric, self._made.at(self._places[found]) if isinstance(found, str) else found


def measure(
    outputs: Outputs,
    bound: Sequence[BoundMetric],
    executor: Executor,
    config: Config,
    progress: Progress,
    folder: Path,
) -> Scores:
    """Scores of every (row, applicable metric). folder: where they are while the run goes on."""
    scores = Scores(outputs, bound, folder)
    lacking = _look(scores, metric_init(bound, outputs.store, config))
    order = sorted(lacking, key=lambda row: -_made(outputs, row).seconds)  # longest first: evens out the end
    scores.looked_at = len(order)
    if not order:
        return scores
    steps = {row: tuple(lacking[row]) for row in order}
    used = sorted({index for some in steps.values() for index, _ in some})
    init, check = metric_init(bound, outputs.store, config), _check(bound, used, config)
    features = _features(scores, steps)
    extract(features, init, check, executor, config, progress)
    _execute(
        scores,
        steps,
        Work(
            what="scores",
            factory="metis_bench.engine.scoring:ScoreHandler",
            init=init,
            tasks=len(order),
            timeout_s=config.timeout_s,
            gpu="shared",  # what a network was not asked for before scoring is asked for now
            threads=1,
            checks=(check, *_file_checks(scores, order[0], used)),
        ),
        executor,
        progress,
    )
    return scores


def _look(scores: Scores, init: MetricInit) -> dict[int, list[tuple[int, str]]]:
    """Find what is known, and do what needs no worker. Returns what is lacking, by row; each key once."""
    outputs, bound = scores.outputs, scores.bound
    here = ScoreHandler(init)
    lacking: dict[int, list[tuple[int, str]]] = {}
    seen: set[str] = set()
    for some in chunks(scores.wanted(), AHEAD):
        found = list(_kept(some, outputs, bound))
        jobs = {
            i: _job(outputs, row, ((metric, one),))
            for i, ((row, metric), one) in enumerate(zip(some, found, strict=True))
            if isinstance(one, str)
        }
        heard = {i: here.heard(job) for i, job in jobs.items()}
        with here.store.ahead("feature", [key for keys in heard.values() for key in keys or ()]):
            for i, job in jobs.items():
                keyed, keys = bound[some[i][1]].metric.keyed, heard[i]
                if not keyed or (keys is not None and all(usable(here.store.get("feature", key)) for key in keys)):
                    (result,) = here.run(job, 0)  # read off records and features: not worth a worker
                    found[i] = _scored(result, outputs.store)
        for (row, metric), one in zip(some, found, strict=True):
            scores.know(one)
            if isinstance(one, str) and one not in seen:
                seen.add(one)
                lacking.setdefault(row, []).append((metric, one))
    return lacking


def _kept(some: Sequence[tuple[int, int]], outputs: Outputs, bound: Sequence[BoundMetric]) -> Iterator[Columns | str]:
    """For each (row, metric): columns that are known already, or their key."""
    rows = outputs.plan.rows
    causes = [_cause(rows[row], bound[metric], outputs) for row, metric in some]
    asked = [
        c for c, (_, metric) in zip(causes, some, strict=True) if isinstance(c, str) and bound[metric].metric.keyed
    ]
    records = iter(outputs.store.get_all("score", asked))
    for cause, (_, metric) in zip(causes, some, strict=True):
        if not isinstance(cause, str) or not bound[metric].metric.keyed:
            yield cause
            continue
        kept = (next(records) or {}).get("scores")
        ids = [c.id for c in bound[metric].metric.columns]
        whole = isinstance(kept, dict) and set(kept) == set(ids)
        yield {i: kept[i] for i in ids} if kept and whole else cause  # in today's order, whatever it was when kept


def _cause(row: Row, one: BoundMetric, outputs: Outputs) -> Columns | str:
    """The key of a score; columns where there is nothing to score: a failed generation, unusable references."""
    output = outputs.of(row)
    if isinstance(output, str):
        return failed(one, f"no output: {output}")
    planned = outputs.plan.item(row)
    problem = planned.problem(one.metric.needs)
    if problem is not None:
        return failed(one, problem)
    content = planned.content(one.metric.needs)
    language = planned.item.language
    return sha256_json({"metric": one.signature, "language": language, "audio": output.sha256, "content": content})


def _wanted(plan: Plan, bound: Sequence[BoundMetric]) -> Iterator[tuple[int, int]]:
    sets = {s.id: s for s in plan.sets}
    applicable: dict[tuple[str, str], list[int]] = {}
    for row_index, row in enumerate(plan.rows):
        pair = (row.system, row.set_id)
        if pair not in applicable:
            of_corpus = [one for one in bound if one.corpus == sets[row.set_id].corpus]
            able = [one.index for one in of_corpus if absent(plan, row.system, sets[row.set_id], one) is None]
            applicable[pair] = able
        for index in applicable[pair]:
            yield row_index, index


def _made(outputs: Outputs, row: int) -> Made:
    """The output of a row that has one."""
    made = outputs.of(outputs.plan.rows[row])
    assert isinstance(made, Made)
    return made


def _sounds(outputs: Outputs, row: int) -> dict[str, Sound]:
    """The output of a row and the usable inputs of its item."""
    made = _made(outputs, row)

    def sound(ref: FileRef) -> Sound:
        return Sound(str(ref.path), str(ref.sha256), 0.0 if ref.info is None else ref.info.seconds)

    planned = outputs.plan.item(outputs.plan.rows[row])
    inputs = {name: sound(ref) for name, ref in planned.audio.items() if ref.error is None}
    return {"output": Sound(None, made.sha256, made.seconds), **inputs}


def _job(outputs: Outputs, row: int, steps: Steps) -> ScoreJob:
    made, item = _made(outputs, row), outputs.plan.item(outputs.plan.rows[row]).item
    inputs = _sounds(outputs, row)
    return ScoreJob(
        item=item.id,
        task=item.task,
        language=item.language,
        text=item.text,
        output=inputs.pop("output"),
        inputs=inputs,
        generation={
            "wall_s": made.wall_s,
            "latency_s": made.latency_s,
            "audio_s": made.seconds,
            "peak_mb": made.peak_mb,
        },
        steps=steps,
    )


def score_jobs(outputs: Outputs, bound: Sequence[BoundMetric]) -> dict[int, list[ScoreJob]]:
    """By metric, a job for each of its scores, whatever is in the store: what `metis-bench bench` times."""
    jobs: dict[int, list[ScoreJob]] = {}
    for row, metric in _wanted(outputs.plan, bound):
        key = _cause(outputs.plan.rows[row], bound[metric], outputs)
        if isinstance(key, str):
            jobs.setdefault(metric, []).append(_job(outputs, row, ((metric, key),)))
    return jobs


def _features(scores: Scores, steps: Mapping[int, Steps]) -> list[FeatureJob]:
    """What the networks of these scores' metrics have to extract first."""
    clips: dict[int, dict[str, list[Sound]]] = {}
    networks = {one.index for one in scores.bound if any(extractor.network for extractor, _ in one.metric.extracts)}
    for row, some in steps.items():
        for index in networks & {index for index, _ in some}:
            roles = clips.setdefault(index, {})
            for role, sound in _sounds(scores.outputs, row).items():
                roles.setdefault(role, []).append(sound)
    out: dict[tuple[str, tuple[Sound, ...]], FeatureJob] = {}
    for index, roles in clips.items():
        for one in batches(index, scores.bound[index].metric, roles, scores.outputs.store):
            extractor, _ = scores.bound[index].metric.extracts[one.extractor]
            out.setdefault((extractor.identity, one.clips), one)  # shared by several metrics
    return list(out.values())


def metric_init(bound: Sequence[BoundMetric], store: Store, config: Config) -> MetricInit:
    """What a worker builds the metrics from."""
    specs = tuple((b.spec.type, b.spec.params.model_dump(), asdict(b.context)) for b in bound)
    return MetricInit(config.plugins, store.root, specs)


def _check(bound: Sequence[BoundMetric], used: Iterable[int], config: Config) -> Check:
    each = [bound[index] for index in used]
    specs = [(b.spec.type, b.spec.params.model_dump(), asdict(b.context)) for b in each]
    return metric_check(config.plugins, specs, [b.signature for b in each])


def _file_checks(scores: Scores, row: int, used: Iterable[int]) -> tuple[Check, ...]:
    """That the inputs which these metrics read can be read, by those of one row."""
    read = frozenset().union(*(scores.bound[index].metric.needs for index in used))
    sounds = _sounds(scores.outputs, row)
    return file_checks((str(sounds[name].path), sounds[name].sha256) for name in sorted(read & set(sounds)))


def _scored(result: Mapping[str, Any], store: Store) -> Columns:
    """A worker's scores. Raises MissingPrerequisite where it says that none can be made or kept."""
    if "missing" in result:
        raise MissingPrerequisite(result["missing"])
    if "abort" in result:
        raise MissingPrerequisite(result["abort"], where=str(store.root), fix=ABORT_FIX)
    columns: Columns = result["scores"]
    return columns


def _execute(scores: Scores, steps: Mapping[int, Steps], work: Work, executor: Executor, progress: Progress) -> None:
    """Have what is lacking scored."""
    outputs = scores.outputs
    seconds = sum(_made(outputs, row).seconds * len(some) for row, some in steps.items())
    counted = Counted(progress, work.what, sum(map(len, steps.values())), seconds)
    tasks = (Task(_job(outputs, row, some), len(some)) for row, some in steps.items())
    with executor.pool(work) as pool:
        for task, step, result in pool.run(tasks):
            counted.one(task.payload.output.seconds)
            index, key = task.payload.steps[step]
            crashed = isinstance(result, Crash)
            scores.make(key, failed(scores.bound[index], result.reason) if crashed else _scored(result, outputs.store))
