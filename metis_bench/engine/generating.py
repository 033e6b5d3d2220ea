"""The worker's part of stage 1: one system, loaded once; what it makes is checked and stored before it is reported."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench import audio
from metis_bench.audio import Audio
from metis_bench.config import load_plugins
from metis_bench.engine.process import CROWD, SHARERS, THREADS
from metis_bench.engine.store import Store
from metis_bench.errors import ItemError, MetisBenchError, MissingPrerequisite
from metis_bench.hashing import JSON, sha256_bytes, sha256_file
from metis_bench.places import Place
from metis_bench.provenance import hardware
from metis_bench.suite.plan import AUDIO_FIELDS
from metis_bench.systems.base import Request, System, systems
from reference_models.memory import peak_mb, reset_peak

MAX_OUTPUT_S = 1800.0
CHANGED = "the input file changed while the run was going on: {}"


@dataclass(frozen=True)
class Job:
    """One generation as a worker receives it: input files with the content hashes the key was made of."""

    key: str
    item: str
    subset: str
    task: str
    language: str
    seed: int
    texts: Mapping[str, str | None]
    files: Mapping[str, tuple[str, str]]  # field -> (path, sha256)
    duration: float | None  # seconds of the reference, for systems that need it
    seconds: float  # about how long the output will be


@dataclass(frozen=True)
class WorkerInit:
    """What a generation worker is built from: plain data only, so that plug-ins load before anything unpickles."""

    plugins: tuple[str, ...]
    system: str
    params: Mapping[str, Any]
    store: Place


def conditions() -> dict[str, JSON]:
    """Of measured times: the machine, how many workers the run may crowd it and a GPU with, the threads of this one."""
    crowd, threads, sharers = (int(os.environ.get(name, "0")) for name in (CROWD, THREADS[0], SHARERS))
    shared: dict[str, JSON] = {"workers_a_gpu": sharers} if sharers > 1 else {}
    return {**hardware(), "workers": crowd, "threads": threads, **shared}


class GenerateHandler:
    """Lives in the worker: one system, loaded once; every output is stored before it is reported."""

    def __init__(self, init: WorkerInit) -> None:
        load_plugins(init.plugins)
        cls = systems.get(init.system)
        self.system: System = cls(cls.params_type.model_validate(init.params))
        self.store = Store(init.store)
        self.hardware = conditions()
        self.broken: str | None = None
        self.loaded = False
        self.warm: set[tuple[str, str]] = set()  # (task, language) of which it has made one

    def run(self, jobs: tuple[Job, ...], start: int) -> Iterator[dict[str, Any]]:
        """One step a job: generate, validate, store. A failure is a result with its reason.

        What another run, or a worker that was lost, has made since the plan is not made again.
        """
        try:
            made = list(self.store.generations(job.key for job in jobs[start:]))
        except MissingPrerequisite as error:
            yield {"abort": error.message}
            return
        todo = [job for job, found in zip(jobs[start:], made, strict=True) if found is None]
        fresh = self._fresh(todo) if todo else iter(())
        for found in made:
            yield next(fresh) if found is None else {"record": found.to_json()}

    def _fresh(self, todo: Sequence[Job]) -> Iterator[dict[str, Any]]:
        try:
            self._load()
        except Exception as error:  # noqa: BLE001 - as below: loading it once more for every item would fail as often
            self.broken = str(error) if isinstance(error, MetisBenchError) else self._told(error, "cannot be loaded")
        if self.broken is not None:
            yield from ({"reason": self.broken} for _ in todo)
            return
        outcomes = self._outcomes(todo)
        for job, outcome in zip(todo, outcomes, strict=True):
            yield {"reason": outcome} if isinstance(outcome, str) else self._keep(job, *outcome)

    def _outcomes(self, jobs: Sequence[Job]) -> list[tuple[bytes, dict[str, Any]] | str]:
        """A finished wav and its record, or the reason why there is none, for each job."""
        out: dict[int, tuple[bytes, dict[str, Any]] | str] = {}
        requests = {}
        for i, job in enumerate(jobs):
            try:
                requests[i] = self._request(job)
            except ItemError as error:
                out[i] = error.message
        made = self._timed(list(requests.values()))
        for i, outcome in zip(requests, made, strict=True):
            out[i] = outcome
        return [out[i] for i in range(len(jobs))]

    def _timed(self, requests: Sequence[Request]) -> list[tuple[bytes, dict[str, Any]] | str]:
        """All of a batch at once. Its time is shared out by the length of the outputs."""
        lost = self._warm_up(requests)
        asked = [request for i, request in enumerate(requests) if i not in lost]
        reset_peak()
        started = time.perf_counter()
        made = iter(self._generate(asked) if asked else [])
        returned = [lost[i] if i in lost else next(made) for i in range(len(requests))]
        wall, peak = time.perf_counter() - started, peak_mb()
        elsewhere = self.system.measured()
        if elsewhere is not None:
            wall, peak = elsewhere[0], elsewhere[1] or peak
        checked: list[tuple[Audio, int] | str] = []
        for output in returned:
            try:
                checked.append(output if isinstance(output, str) else check_output(output))
            except ItemError as error:
                checked.append(error.message)
        total = sum(one[0].seconds for one in checked if not isinstance(one, str))
        return [
            one if isinstance(one, str) else self._record(*one, wall * one[0].seconds / total, wall, peak)
            for one in checked
        ]

    def _record(
        self, output: Audio, clipped: int, share: float, wall: float, peak: float
    ) -> tuple[bytes, dict[str, Any]]:
        """share: its part of the batch's time; wall: the batch's, for which every item of it waits."""
        data = audio.encode_wav(output)
        facts = {"bytes": len(data), "rate": output.rate, "seconds": output.seconds, "over_full_scale": clipped}
        return data, {"audio": facts, "wall_s": share, "latency_s": wall, "peak_mb": peak, "hardware": self.hardware}

    def _generate(self, requests: Sequence[Request]) -> list[Audio | str]:
        """What the system returns for each, or the reason. What it raises befalls all that it has not returned."""
        out: list[Audio | str] = []
        try:
            for output in self.system.generate_all(requests):
                out.append(output.message if isinstance(output, ItemError) else output)
            reason = "the system returned too few outputs for its batch"
        except MetisBenchError as error:
            reason = error.message if isinstance(error, ItemError) else str(error)
        except Exception as error:  # noqa: BLE001 - boundary 1 of 2: whatever a system raises is a failed row
            reason = self._told(error)
        return [*out, *[reason] * (len(requests) - len(out))][: len(requests)]

    def _told(self, error: Exception, what: str = "") -> str:
        """An unexpected error in a line; the rest goes to stderr."""
        traceback.print_exception(error, file=sys.stderr)
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:500]
        return f"the system {what}: {reason}" if what else reason

    def close(self) -> None:
        """Let the system free what it took."""
        self.system.close()

    def _load(self) -> None:
        if not self.loaded and self.broken is None:
            self.system.setup()
            self.loaded = True

    def _warm_up(self, requests: Sequence[Request]) -> dict[int, str]:
        """Run the first item of a kind once unmeasured: start-up is not generation. One that fails is not tried again.

        Of a kind: another task or language may be the first to need a codec or a dictionary.
        """
        lost: dict[int, str] = {}
        for i, request in enumerate(requests):
            kind = (request.task, request.language)
            if self.system.timed and kind not in self.warm:
                (output,) = self._generate([request])
                if isinstance(output, str):
                    lost[i] = output
                else:
                    self.warm.add(kind)
        return lost

    def _request(self, job: Job) -> Request:
        inputs = {name: read_input(Path(p), sha256) for name, (p, sha256) in job.files.items() if name in AUDIO_FIELDS}
        video = job.files.get("video")
        return Request(
            id=job.item,
            subset=job.subset,
            task=job.task,  # type: ignore[arg-type]  # a Task, checked by the suite
            language=job.language,
            seed=job.seed,
            text=job.texts.get("text"),
            prompt_text=job.texts.get("prompt_text"),
            prompt=inputs.get("prompt"),
            source=inputs.get("source"),
            reference=inputs.get("reference"),
            duration=job.duration,
            video=None if video is None else unchanged(Path(video[0]), video[1]),
        )

    def _keep(self, job: Job, data: bytes, record: dict[str, Any]) -> dict[str, Any]:
        """Store first, then report. A store that cannot be written is nobody's failed row: it ends the run."""
        try:
            record["audio"]["sha256"] = self.store.put_audio(data)
            self.store.put("generation", job.key, record)
        except OSError as error:
            return {"abort": f"the store cannot be written: {error.strerror or error}"}
        return {"record": record}


def read_input(path: Path, sha256: str) -> Audio:
    """Decode an input file to mono; refuse one that changed since the plan (its key would be a lie)."""
    data = audio.read_bytes(path)
    if sha256_bytes(data) != sha256:
        raise ItemError(CHANGED.format(path))
    samples, info = audio.decode(data, path)
    return Audio(audio.to_mono(samples), info.rate)


def unchanged(path: Path, sha256: str) -> Path:
    """An input file that only the system decodes. ItemError when it is gone, or no longer what the plan hashed."""
    try:
        same = sha256_file(path) == sha256
    except OSError as error:
        raise ItemError(f"cannot read the video file ({error.strerror}): {path}") from None
    if not same:
        raise ItemError(CHANGED.format(path))
    return path


def check_output(output: Any) -> tuple[Audio, int]:
    """What a system returned, if it can be speech audio, and its number of samples beyond full scale.

    Raises ItemError for anything but mono (T,) float32 of finite samples at a rate that is a whole number of Hz.
    """
    if not isinstance(output, Audio):
        raise ItemError(f"the system returned {type(output).__name__}; expected Audio(samples, rate)")
    samples = output.samples
    if not isinstance(samples, np.ndarray) or samples.ndim != 1 or samples.dtype != np.float32:
        kind = getattr(samples, "dtype", type(samples).__name__)
        raise ItemError(f"the system returned {kind} of shape {np.shape(samples)}; expected mono (T,) float32")
    if len(samples) == 0:
        raise ItemError("the system returned no samples")
    if not np.isfinite(samples).all():
        raise ItemError("the system returned NaN or infinite samples")
    if output.rate != int(output.rate) or not audio.MIN_RATE <= output.rate <= audio.MAX_RATE:
        raise ItemError(f"the system returned a sample rate of {output.rate} Hz")
    output = Audio(samples, int(output.rate))
    if output.seconds > MAX_OUTPUT_S:
        raise ItemError(f"the system returned {output.seconds:.0f} s of audio (limit {MAX_OUTPUT_S:.0f} s)")
    return output, int(np.count_nonzero(np.abs(samples) > 1.0))
