"""How fast one worker scores here, metric by metric: the handlers of a run, on a suite of its own in a fresh store."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from metis_bench.bench import clips
from metis_bench.config import LOCAL, Config
from metis_bench.engine.bound import BoundMetric, absent
from metis_bench.engine.executor import Crash, Task, Work
from metis_bench.engine.features import FeatureHandler, MetricInit, Sound, batches
from metis_bench.engine.generate import generate
from metis_bench.engine.local import LocalExecutor
from metis_bench.engine.measure import metric_init, score_jobs
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.prepare import Prepared, prepare
from metis_bench.engine.progress import Progress, quiet
from metis_bench.engine.scoring import ScoreHandler, ScoreJob
from metis_bench.engine.store import Store, chunks
from metis_bench.errors import UsageError, nearest
from metis_bench.metrics.asr.base import recognisers
from metis_bench.metrics.base import metrics
from metis_bench.metrics.speakers.base import encoders
from metis_bench.registry import Registry
from metis_bench.suite.load import load_suite

SYSTEM = "noisy"
MODELS: dict[str, tuple[str, Registry[Any], dict[str, Any]]] = {  # one entry a model
    "wer": ("asr", recognisers, {}),
    "sim": ("model", encoders, {"pair": "reference"}),
}


@dataclass(frozen=True)
class Scoring:
    """What is scored. metrics: names (`wer`, `wer.pocketsphinx`), all if empty; clips: a folder, else synthetic speech.

    count: clips, of which the first only loads the models; seconds: of a clip; budget_s: of timed scoring a metric
    """

    metrics: tuple[str, ...] = ()
    clips: Path | None = None
    count: int = 6
    seconds: float | None = None
    budget_s: float = 10.0

    def check(self) -> None:
        """Raises UsageError for a metric or a folder that there is not."""
        chosen(self.metrics)
        if self.clips is not None and not self.clips.is_dir():
            raise UsageError(f"--clips: no such folder: {self.clips}")


@dataclass(frozen=True)
class RateJob:
    """All clips for one metric."""

    clips: tuple[ScoreJob, ...]


class RateHandler:
    """Lives in the worker: what a run's workers do, with a clock."""

    def __init__(self, init: tuple[MetricInit, float]) -> None:
        self.init, self.budget_s = init
        self.features, self.scores = FeatureHandler(self.init), ScoreHandler(self.init)

    def close(self) -> None:
        """Nothing to free."""

    def run(self, jobs: tuple[RateJob, ...], start: int) -> Iterator[dict[str, Any]]:
        """One step a metric."""
        for job in jobs[start:]:
            yield self._rate(job)

    def _rate(self, job: RateJob) -> dict[str, Any]:
        """The first clip loads models, and does not count. Then as many as the budget allows, one batch at least."""
        first, *rest = job.clips
        ((index, _),) = first.steps
        size = max((e.batch for e, _ in self.scores.metrics[index].extracts if e.network), default=1)
        outcomes = list(self._score([first]))
        seconds, audio_s, timed = 0.0, 0.0, 0
        for some in chunks(rest, size):
            began = time.perf_counter()
            outcomes += self._score(some)
            seconds += time.perf_counter() - began
            audio_s, timed = audio_s + sum(clip.output.seconds for clip in some), timed + len(some)
            if seconds > self.budget_s:
                break
        reasons = [reason for reason in outcomes if reason is not None]
        counts = {"clips": timed, "audio_s": audio_s, "seconds": seconds, "batch": size}
        return {**counts, "failed": reasons[0] if reasons else None}

    def _score(self, some: Sequence[ScoreJob]) -> Iterator[str | None]:
        """Features in batches, then scores. Yields why a clip has none, or None."""
        ((index, _),) = some[0].steps
        roles: dict[str, list[Sound]] = {
            role: [clip.output if role == "output" else clip.inputs[role] for clip in some]
            for _, role in self.scores.metrics[index].extracts
        }
        for features in batches(index, self.scores.metrics[index], roles, self.scores.store):
            for told in self.features.run(features, 0):
                if told is not None:
                    yield told
                    return
        for clip in some:
            for result in self.scores.run(clip, 0):
                yield _failure(result)


def _failure(result: Mapping[str, Any]) -> str | None:
    """Why a step of a worker has no score."""
    if "scores" not in result:
        return str(result.get("missing") or result.get("abort"))
    return next((s["reason"] for s in result["scores"].values() if s["status"] != "ok"), None)


def candidates() -> dict[str, dict[str, Any]]:
    """Entries of a suite by name: every metric that is a score, with its own settings; one for each model."""
    found: dict[str, dict[str, Any]] = {}
    for name, cls in metrics.items():
        if not cls.keyed or "se" not in cls.tasks:
            continue
        if name in MODELS:
            param, registry, how = MODELS[name]
            found |= {f"{name}.{model}": {name: {**how, param: model}} for model in registry.names()}
            continue
        try:
            cls.params_type()
        except ValidationError:  # a plug-in's that must be told something
            continue
        found[name] = {name: {}}
    return found


def chosen(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Those that are named, or all. Raises UsageError."""
    every = candidates()
    known = {*every, *(name.partition(".")[0] for name in every)}
    for name in names:
        if name not in known:
            raise UsageError(f"unknown metric '{name}'{nearest(name, known)}")
    return {n: e for n, e in every.items() if not names or n in names or n.partition(".")[0] in names}


def measure(how: Scoring, config: Config, progress: Progress) -> dict[str, Any]:
    """Rows by metric, as JSON, and the metrics that this machine lacks something for. Raises UsageError, SuiteError."""
    entries = chosen(how.metrics)
    if how.clips is None:
        made, what = clips.synthetic(how.count, how.seconds, config)
    else:
        made, what = clips.own(how.clips, how.count, how.seconds)
    lengths = [one.audio.seconds for one in made]
    found: dict[str, Any] = {"clips": {"what": what, "count": len(made), "seconds": lengths}, "threads": 1}
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        place = Path(folder)
        clips.write(place, made)
        corpus = {"speech": {"corpus": "folder", "task": "se", "path": folder}}
        suite = {"name": "bench", "task": "se", "corpora": corpus, "systems": [SYSTEM]}
        (place / "suite.yaml").write_text(json.dumps({**suite, "metrics": [*entries.values()]}), encoding="utf-8")
        here = replace(config, store=place / "store", runs=place / "runs", executor=LOCAL)
        prepared = prepare(load_suite(place / "suite.yaml"), here)
        named = dict(zip(entries, prepared.bound, strict=True))
        found |= {"rows": _rates(prepared, named, how, here, progress), "lacking": _lacking(prepared, named)}
    nothing = {"reason": "none of these metrics can be computed", "fix": "below; or: metis-bench doctor"}
    return {**found, "unavailable": None if found["rows"] else nothing}


def _able(prepared: Prepared, one: BoundMetric) -> str | None:
    """Why a metric has no scores of these clips, or None."""
    return absent(prepared.plan, SYSTEM, prepared.plan.sets[0], one)


def _lacking(prepared: Prepared, named: Mapping[str, BoundMetric]) -> list[dict[str, Any]]:
    """What cannot be computed here, why, and the fix where there is one."""
    fixes = {(b.name, b.reason): b.fix for b in prepared.blocked}
    return [
        {"metric": name, "reason": reason, "fix": fixes.get((one.metric.columns[0].id, reason))}
        for name, one in named.items()
        if (reason := _able(prepared, one)) is not None
    ]


def _rates(
    prepared: Prepared, named: Mapping[str, BoundMetric], how: Scoring, config: Config, progress: Progress
) -> list[dict[str, Any]]:
    """Have the clips scored by one worker of one thread (or one GPU), a metric at a time."""
    outputs = Outputs(prepared.plan, Store(config.store))
    executor = LocalExecutor(config)
    generate(prepared.suite, outputs, executor, config, quiet)
    able = {name: one for name, one in named.items() if _able(prepared, one) is None}
    if not able:
        return []
    jobs = score_jobs(outputs, prepared.bound)
    steps = tuple(RateJob(tuple(jobs[one.index])) for one in able.values())
    work = Work(
        what="scoring",
        factory=f"{__name__}:RateHandler",
        init=(metric_init(prepared.bound, outputs.store, config), how.budget_s),
        tasks=1,
        timeout_s=config.timeout_s,
        gpu="shared",
        threads=1,
    )
    rows = []
    progress(work.what, 0, len(steps))
    with executor.pool(work) as pool:
        for _, step, result in pool.run([Task(steps, len(steps))]):
            progress(work.what, step + 1, len(steps))
            rows.append(_row([*able][step], [*able.values()][step], result))
    return rows


def _row(name: str, one: BoundMetric, result: dict[str, Any] | Crash) -> dict[str, Any]:
    """A worker's answer as a row: rtf is seconds of work a second of audio, audio_s_per_s its inverse."""
    row: dict[str, Any] = {"metric": name, "columns": [c.id for c in one.metric.columns]}
    if isinstance(result, Crash) or not result["audio_s"]:
        reason = result.reason if isinstance(result, Crash) else result["failed"] or "no clip was timed"
        return {**row, "failed": reason, "rtf": None, "audio_s_per_s": None}
    rtf = result["seconds"] / result["audio_s"]
    return {**row, **result, "rtf": rtf, "audio_s_per_s": 1 / rtf}
