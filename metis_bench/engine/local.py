"""The local executor: a few worker processes, one task each at a time.

Unlike concurrent.futures it knows which item a dying worker was at: a crash or a hang costs that step alone. The step
is blamed, the worker replaced, and the rest of the task goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from metis_bench.errors import MetisBenchError

SHOWN_STDERR = 400
# our own sys.path, not one that begins with the current folder: a pesq.py lying there must not be imported
PROGRAM = "import sys; sys.path[:] = {path!r}; from metis_bench.engine.worker import main; main({fd})"
MAX_FAILURES = 3  # starts, or loadings, in a row
TIMED_OUT = "timed out after {:g} s (raise timeout_s in metis-bench.yaml if it is only slow)"
FAREWELL_S = 5.0  # how long a worker that has nothing to do may take to end
START_GRACE_S = 120.0  # a worker's imports and model loading, on top of the first step's time


@dataclass
class Task:
    """A unit of work: `steps` results are expected for `payload`; `done` counts those that came (or were blamed)."""

    payload: Any
    steps: int = 1
    done: int = 0


@dataclass(frozen=True)
class Crash:
    """Stands in place of a step's result when the worker died or hung in it."""

    reason: str


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    log: IO[bytes]
    env: dict[str, str]
    task: Task | None = None
    deadline: float = 0.0
    ready: bool = False  # its handler is built
    warm: bool = False  # it has returned a step: models are loaded

    def last_words(self) -> str:
        """The end of what it wrote to stderr."""
        self.log.seek(0)
        lines = [x.strip() for x in self.log.read().decode(errors="replace").splitlines() if x.strip()]
        return " | ".join(lines[-3:])[-SHOWN_STDERR:]

    def kill(self) -> None:
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.log.close()


class LocalExecutor:
    """Use as a context manager; `run` may be called several times."""

    def __init__(
        self,
        factory: str,
        init: Any,
        workers: int,
        *,
        timeout_s: float,
        grace_s: float = START_GRACE_S,
        gpus: Sequence[str] = (),
        threads: int = 1,
    ) -> None:
        """`factory`: 'module:callable' building the handler from `init` in each worker.

        timeout_s: what a step may take; grace_s: what a worker's first one may take on top of it.
        gpus: one worker is started for each, bound to it; `workers` then does not count. threads: per worker, for BLAS,
        OpenMP and ONNX. It must not depend on how much is left to do: sums in another order have other last bits.
        """
        self._factory, self._init, self._timeout, self._grace = factory, init, timeout_s, grace_s
        self._envs: list[dict[str, str]] = [{"CUDA_VISIBLE_DEVICES": g} for g in gpus] or [{} for _ in range(workers)]
        waits = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other on a busy machine
        for env in self._envs:
            env.update({name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})
            env["OMP_WAIT_POLICY"] = waits
        self._workers: list[_Worker] = []
        self._failed_starts = self._cold_deaths = 0

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exc: object) -> None:
        leaving = [w for w in self._workers if exc[0] is None and w.task is None]
        for worker in leaving:
            with suppress(OSError):
                worker.pipe.send(None)
        for worker in leaving:
            with suppress(OSError, EOFError):  # it closes the pipe when it has closed its handler
                if worker.pipe.poll(FAREWELL_S):
                    worker.pipe.recv()
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _start(self, env: dict[str, str]) -> _Worker:
        ours, theirs = Pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(path=sys.path, fd=theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,  # libraries that print must not spoil --json
                stderr=log,
                env={**os.environ, **env},
            )
        worker = _Worker(process, ours, log, env)
        with suppress(OSError):  # died at once: noticed at the first task
            ours.send((self._factory, self._init))
        return worker

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, int, Any]]:
        """Yield (task, step, result or Crash) as they come, each step of each task exactly once.

        Raises MetisBenchError when workers cannot even start.
        """
        waiting = deque(tasks)
        busy = sum(w.task is not None for w in self._workers)
        while waiting or busy:
            self._assign(waiting)
            yield from self._collect(waiting)
            busy = sum(w.task is not None for w in self._workers)

    def _assign(self, waiting: deque[Task]) -> None:
        idle = [w for w in self._workers if w.task is None]
        while waiting:
            if idle:
                worker = idle.pop()
            elif len(self._workers) < len(self._envs):
                worker = self._start(self._envs[len(self._workers)])
                self._workers.append(worker)
            else:
                return
            worker.task = task = waiting.popleft()
            worker.deadline = time.monotonic() + self._timeout + (0 if worker.warm else self._grace)
            with suppress(OSError):  # a dead worker is noticed in _collect
                worker.pipe.send((task.payload, task.done))

    def _collect(self, waiting: deque[Task]) -> Iterator[tuple[Task, int, Any]]:
        now = time.monotonic()
        busy = [w for w in self._workers if w.task is not None]
        patience = max(0.0, min((w.deadline for w in busy), default=now) - now)
        ready = wait([w.pipe for w in busy], timeout=patience)
        for worker in busy:
            task = worker.task
            if task is None or worker not in self._workers:  # given up meanwhile
                continue
            if worker.pipe in ready:
                yield from self._receive(worker, task, waiting)
            elif time.monotonic() > worker.deadline:
                yield from self._blame(worker, task, TIMED_OUT.format(self._timeout), waiting)

    def _receive(self, worker: _Worker, task: Task, waiting: deque[Task]) -> Iterator[tuple[Task, int, Any]]:
        try:
            kind, result = worker.pipe.recv()
        except (EOFError, OSError):
            code = worker.process.wait()
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            words = worker.last_words()
            yield from self._blame(worker, task, f"the worker died ({how}){': ' + words if words else ''}", waiting)
            return
        if kind == "ready":
            worker.ready = True
            worker.deadline = time.monotonic() + self._timeout + self._grace
            return
        worker.warm = True
        self._cold_deaths = 0
        worker.deadline = time.monotonic() + self._timeout
        if kind == "done":
            worker.task = None
            if task.done < task.steps:  # a handler that yields too little must not lose rows
                yield from self._skip_rest(task, "the worker returned no result")
            return
        step, task.done = task.done, task.done + 1
        yield task, step, result

    def _skip_rest(self, task: Task, reason: str) -> Iterator[tuple[Task, int, Any]]:
        while task.done < task.steps:
            task.done += 1
            yield task, task.done - 1, Crash(reason)

    def _blame(self, worker: _Worker, task: Task, reason: str, waiting: deque[Task]) -> Iterator[tuple[Task, int, Any]]:
        index = self._workers.index(worker)
        worker.kill()
        self._workers[index] = self._start(worker.env)
        if not worker.ready:  # killed from outside, or it never will be: no step's fault
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILURES:
                raise MetisBenchError(f"worker processes cannot start: {reason}")
            waiting.appendleft(task)
            return
        self._cold_deaths = 0 if worker.warm else self._cold_deaths + 1
        step, task.done = task.done, task.done + 1
        yield task, step, Crash(reason)
        if self._cold_deaths >= MAX_FAILURES:  # what hangs or dies while loading would do so for every item
            yield from self._give_up(task, waiting, f"given up after {MAX_FAILURES} workers failed to load: {reason}")
        elif task.done < task.steps:
            waiting.appendleft(task)

    def _give_up(self, task: Task, waiting: deque[Task], reason: str) -> Iterator[tuple[Task, int, Any]]:
        for worker in self._workers:
            if worker.task is not None and worker.task is not task:
                waiting.append(worker.task)
            worker.kill()
        self._workers.clear()
        for lost in (task, *waiting):
            yield from self._skip_rest(lost, reason)
        waiting.clear()
