"""Features of clips (transcripts, embeddings), kept by (extractor, audio): scores that change need none anew.

What networks extract is extracted before anything is scored: in batches of clips of about one length, on the GPUs where
there are some. What is missing afterwards (a crash) is tried once more by the score that wants it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from metis_bench.audio import AUDIO_VERSION
from metis_bench.config import Config, load_plugins
from metis_bench.engine.clips import Clips
from metis_bench.engine.executor import Check, Crash, Executor, Task, Work
from metis_bench.engine.outputs import ABORT_FIX
from metis_bench.engine.progress import Counted, Progress
from metis_bench.engine.store import Store, chunks
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.hashing import JSON, sha256_json
from metis_bench.metrics.base import Clip, Extractor, Metric, MetricContext, Undefined, metrics
from metis_bench.places import Place


@dataclass(frozen=True)
class MetricInit:
    """Plain data a worker builds metrics from: (metric type, params, context) by index."""

    plugins: tuple[str, ...]
    store: Place
    bound: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...]


class Metrics:
    """Lives in the worker: metrics are built on first use and kept."""

    def __init__(self, init: MetricInit) -> None:
        load_plugins(init.plugins)
        self.init = init
        self.built: dict[int, Metric] = {}

    def __getitem__(self, index: int) -> Metric:
        if index not in self.built:
            name, params, context = self.init.bound[index]
            cls = metrics.get(name)
            self.built[index] = cls(cls.params_type.model_validate(params), MetricContext(**context))
        return self.built[index]


class Sound(NamedTuple):
    """An audio file, by content. path: None for an output in the store."""

    path: str | None
    sha256: str
    seconds: float


@dataclass(frozen=True)
class FeatureJob:
    """Clips for extractor number `extractor` of the metric `metric`."""

    metric: int
    extractor: int
    clips: tuple[Sound, ...]


class FeatureHandler:
    """Lives in the worker."""

    def __init__(self, init: MetricInit) -> None:
        self.metrics, self.store = Metrics(init), Store(init.store)
        self.clips = Clips(self.store)

    def close(self) -> None:
        """Nothing to free."""

    def run(self, job: FeatureJob, start: int) -> Iterator[str | None]:
        """One step a clip: None, or why the run must end (damaged weights, a full disk).

        What a clip itself is to blame for is left to its scores.
        """
        extractor, _ = self.metrics[job.metric].extracts[job.extractor]
        clips = [self.clips.clip(sound.path, sound.sha256) for sound in job.clips[start:]]
        for clip, found in zip(clips, _guarded(extractor, clips), strict=True):
            if isinstance(found, MissingPrerequisite):
                yield str(found)
                return
            try:
                if isinstance(found, Undefined) or not isinstance(found, ItemError):
                    keep(self.store, extractor, clip, found)
            except OSError as error:
                yield f"the store {self.store.root} cannot be written: {error.strerror or error}\n  fix: {ABORT_FIX}"
                return
            yield None


LEFT = ItemError("left to the score that wants it")


def _guarded(extractor: Extractor, clips: Sequence[Clip]) -> Sequence[JSON | ItemError | MissingPrerequisite]:
    """All features; where a batch fails, one by one, so that only what is to blame is left out."""
    try:
        return extractor.extract_all(clips)
    except MissingPrerequisite as error:  # damaged weights: no clip can be heard
        return [error] * len(clips)
    except Exception:  # noqa: BLE001 - as a metric's call: the scores that want them will say why
        traceback.print_exc(file=sys.stderr)
        return [LEFT] if len(clips) == 1 else [found for clip in clips for found in _guarded(extractor, [clip])]


def feature_key(extractor: Extractor, sha256: str) -> str:
    """Under which the store keeps what an extractor hears in the audio of this hash."""
    return _key_of(extractor.identity, AUDIO_VERSION, sha256)


def _key_of(extractor: str, decoding: JSON, audio: str) -> str:
    return sha256_json({"extractor": extractor, "decoding": decoding, "audio": audio})


def transcript(store: Store, signature: Mapping[str, Any], audio: str) -> str | None:
    """What a recogniser heard in a clip, by the signature of a WER column: needs no model. None if that is not kept."""
    record = store.get("feature", _key_of(sha256_json(signature["recogniser"]), signature.get("decoding"), audio))
    value = (record or {}).get("value")
    return value["text"] if isinstance(value, dict) and isinstance(value.get("text"), str) else None


def keep(store: Store, extractor: Extractor, clip: Clip, found: JSON | Undefined) -> dict[str, JSON]:
    """Keep a feature; 'undefined' is kept too (the same audio stays undefined)."""
    record: dict[str, JSON] = {"undefined": found.message} if isinstance(found, Undefined) else {"value": found}
    store.put("feature", feature_key(extractor, clip.sha256), record)
    return record


def kept(store: Store, extractor: Extractor, clip: Clip) -> dict[str, JSON] | None:
    """What is in the store for it."""
    return usable(store.get("feature", feature_key(extractor, clip.sha256)))


def usable(record: dict[str, JSON] | None) -> dict[str, JSON] | None:
    """A feature's record, if it is whole."""
    return record if record is not None and {"value", "undefined"} & set(record) else None


def feature(store: Store, extractor: Extractor, clip: Clip) -> JSON:
    """From the store, else extracted and kept. Raises Undefined, ItemError."""
    record = kept(store, extractor, clip)
    if record is None:
        try:
            found: JSON | Undefined = extractor.extract(clip)
        except Undefined as reason:
            found = reason
        record = keep(store, extractor, clip, found)
    if "undefined" in record:
        raise Undefined(str(record["undefined"]))
    return record["value"]


def extract(
    wanted: Sequence[FeatureJob], init: MetricInit, check: Check, executor: Executor, config: Config, progress: Progress
) -> None:
    """Run jobs; those that crash are left to the scores. Raises MissingPrerequisite where the store is full."""
    if not wanted:
        return
    tasks = [Task(job, len(job.clips)) for job in wanted]
    seconds = sum(clip.seconds for job in wanted for clip in job.clips)
    work = Work(
        what="features",
        factory="metis_bench.engine.features:FeatureHandler",
        init=init,
        tasks=len(tasks),
        timeout_s=config.timeout_s * max(task.steps for task in tasks),  # the first clip of a batch waits for all
        gpu="own",
        checks=(check,),
    )
    counted = Counted(progress, work.what, sum(task.steps for task in tasks), seconds)
    with executor.pool(work) as pool:
        for task, step, failure in pool.run(tasks):
            counted.one(task.payload.clips[step].seconds)
            if isinstance(failure, str) and not isinstance(failure, Crash):
                raise MissingPrerequisite(failure)


def batches(
    metric_index: int, metric: Metric, clips: Mapping[str, Iterable[Sound]], store: Store
) -> Iterator[FeatureJob]:
    """Jobs for what a metric's networks have not extracted yet. clips: by what they are to a row.

    Clips of about one length lie together, the longest first.
    """
    for number, (extractor, role) in enumerate(metric.extracts):
        if not extractor.network:
            continue
        each = {sound.sha256: sound for sound in clips.get(role, ())}
        found = store.get_all("feature", (feature_key(extractor, sha256) for sha256 in each))
        lacking = [sound for sound, record in zip(each.values(), found, strict=True) if usable(record) is None]
        lacking.sort(key=lambda sound: (-sound.seconds, sound.sha256))
        for some in chunks(lacking, extractor.batch):
            yield FeatureJob(metric_index, number, tuple(some))
