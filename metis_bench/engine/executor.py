"""Where the work of a run is done: one interface for this machine's processes and for the nodes of a cluster.

A stage says what it wants done (`Work`); an `Executor` gives it a `Pool`, whose `run` yields every step of every task
exactly once, whatever workers do. A step that takes too long is blamed: a Crash stands in place of its result, its
worker is replaced, the rest of its task goes on. So is one whose worker died: at once where it can only have been the
step (`lives` 1, this machine), at the second death on a cluster, where workers are also lost for other reasons.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from metis_bench.errors import MetisBenchError

MAX_FAILURES = 3  # starts, or loadings, in a row and in one place
TIMED_OUT = "timed out after {:g} s (raise timeout_s in metis-bench.yaml if it is only slow)"
START_GRACE_S = 120.0  # a worker's imports and model loading, on top of the first step's time
FOREVER_S = float("inf")


@dataclass(eq=False)
class Task:
    """A unit of work: `steps` results are expected for `payload`; `done` counts those that came (or were blamed).

    deaths: of workers that were at the next step; avoid: the place where the last of them was
    """

    payload: Any
    steps: int = 1
    done: int = 0
    deaths: int = 0
    avoid: str | None = None


@dataclass(frozen=True)
class Crash:
    """Stands in place of a step's result when the worker died or hung in it."""

    reason: str


@dataclass(frozen=True)
class Check:
    """What a machine must have to be given some work. `factory`: 'module:callable', called there with `argument`.

    It returns why the machine will not do, or None. It is not asked where workers share the machine of the plan.
    """

    factory: str
    argument: Any


@dataclass(frozen=True)
class Work:
    """What a stage asks for.

    what: its name for people;  factory: 'module:callable' building the handler from `init` in each worker
    tasks: how many there will be: no more workers than that
    timeout_s: what a step may take; grace_s: what a worker's first one may take on top of it
    gpu: own: one worker a GPU;  shared: the GPUs of a machine are spread over its workers;  none
    alone: where there is no GPU, one worker has all cores of its machine (big weights)
    hide: what is there of GPUs is not to be used
    threads: for BLAS, OpenMP and ONNX; None: a worker's share of the cores. It must not depend on how much is left to
             do: sums in another order have other last bits
    checks: what other machines must have
    """

    what: str
    factory: str
    init: Any
    tasks: int
    timeout_s: float
    grace_s: float = START_GRACE_S
    gpu: Literal["none", "own", "shared"] = "none"
    alone: bool = False
    threads: int | None = None
    checks: tuple[Check, ...] = ()


Outcome = tuple[Task, int, Any]  # a task, the number of a step, its result or a Crash
Message = tuple[Literal["placed", "ready", "step", "done"], Any]


class Died(Exception):
    """A worker is gone, for this reason."""


class Link(Protocol):
    """One worker as its pool sees it."""

    @property
    def place(self) -> str:
        """Where it is, by a name of its own."""

    @property
    def placed(self) -> bool:
        """Whether it runs; where that takes an unknown time, the message `placed` says so later."""

    def send(self, task: Task) -> None:
        """Give it a task, from its next step on. One that is dead is noticed when it is asked for a message."""

    def receive(self) -> Message:
        """Its next message. Raises Died."""

    def kill(self) -> None:
        """End it now, whatever it does."""


@dataclass(eq=False)
class _Worker:
    link: Link
    task: Task | None = None
    deadline: float = FOREVER_S
    ready: bool = False  # its handler is built
    warm: bool = False  # it has returned a step: models are loaded


class Pool(ABC):
    """Workers of one kind. Use as a context manager; `run` may be called several times."""

    lives = 1  # deaths of workers at one step until it is to blame

    def __init__(self, timeout_s: float, grace_s: float) -> None:
        self._timeout, self._grace = timeout_s, grace_s
        self._workers: list[_Worker] = []
        self._waiting: deque[Task] = deque()  # given back
        self._failures: Counter[tuple[str, bool]] = Counter()  # in a row, by place and whether the handler was built

    @abstractmethod
    def open(self, avoid: str | None) -> Link | None:
        """One more worker; None where there is no room for another now. avoid: a place that is the last choice."""

    @abstractmethod
    def wait(self, links: Collection[Link], patience_s: float) -> Collection[Link]:
        """Those of the links that have a message, after at most so long. There may be none to wait for."""

    def farewell(self, links: Collection[Link]) -> None:  # noqa: B027 - optional hook
        """Let idle workers close their handlers before they are killed."""

    def lost(self, link: Link) -> bool:
        """Whether a dead worker's machine is gone with it: then nothing that it ran is to blame for that."""
        del link
        return False

    def drop(self, place: str, reason: str) -> bool:
        """No worker gets ready at this place: use it no more. Returns whether other places are left."""
        del place, reason
        return False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            self.farewell([w.link for w in self._workers if w.task is None])
        for worker in self._workers:
            worker.link.kill()
        self._workers.clear()

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Yield (task, step, result or Crash) as they come, each step of each task exactly once.

        tasks: taken as workers have time for them. Raises MetisBenchError when workers cannot even start.
        """
        fresh = iter(tasks)
        more = self._assign(fresh)
        while more or self._busy():
            yield from self._collect(fresh)
            more = self._assign(fresh)

    def _busy(self) -> list[_Worker]:
        return [w for w in self._workers if w.task is not None]

    def _assign(self, fresh: Iterator[Task]) -> bool:
        """Give idle workers tasks. Returns whether there may be more that wait."""
        idle = [w for w in self._workers if w.task is None]
        while (task := self._next(fresh, idle)) is not None:
            elsewhere = [w for w in idle if w.link.place != task.avoid]
            if not elsewhere and (link := self.open(task.avoid)) is not None:
                elsewhere = [_Worker(link)]
                self._workers += elsewhere
                idle += elsewhere
            if not idle:
                self._waiting.appendleft(task)
                return True
            worker = (elsewhere or idle)[-1]
            idle.remove(worker)
            worker.task = task
            if worker.link.placed:
                self._expect(worker)
            worker.link.send(task)
        return bool(self._waiting)

    def _next(self, fresh: Iterator[Task], idle: list[_Worker]) -> Task | None:
        """A task that nobody is at. At the end, when some are idle, one of a worker that found no room yet."""
        for given_back in self._waiting:
            others = [w for w in self._workers if w.link.place != given_back.avoid]
            if not others or given_back.avoid is None or any(w in idle for w in others):  # else it waits for them
                self._waiting.remove(given_back)
                return given_back
        task = next(fresh, None)
        late = next((w for w in self._workers if w.task is not None and not w.link.placed), None)
        if task is None and idle and late is not None:
            self._workers.remove(late)
            late.link.kill()
            task = late.task
        return task

    def _expect(self, worker: _Worker) -> None:
        worker.deadline = time.monotonic() + self._timeout + (0 if worker.warm else self._grace)

    def _collect(self, fresh: Iterator[Task]) -> Iterator[Outcome]:
        busy = self._busy()
        patience = max(0.0, min((w.deadline for w in busy), default=FOREVER_S) - time.monotonic())
        ready = self.wait([w.link for w in busy], patience)
        for worker in busy:
            if worker.task is None or worker not in self._workers:  # given up meanwhile
                continue
            if worker.link in ready:
                yield from self._receive(worker, worker.task, fresh)
            elif time.monotonic() > worker.deadline:
                yield from self._blame(worker, worker.task, TIMED_OUT.format(self._timeout), fresh, hung=True)

    def _receive(self, worker: _Worker, task: Task, fresh: Iterator[Task]) -> Iterator[Outcome]:
        try:
            kind, result = worker.link.receive()
        except Died as death:
            yield from self._blame(worker, task, str(death), fresh)
            return
        if kind in ("placed", "ready"):
            worker.ready = kind == "ready"
            if worker.ready:
                self._failures[worker.link.place, False] = 0
            self._expect(worker)
            return
        worker.warm = True
        self._failures[worker.link.place, True] = 0
        self._expect(worker)
        if kind == "done":
            worker.task = None
            yield from self._skip_rest(task, "the worker returned no result")  # one that yields too little loses no row
            return
        step, task.done, task.deaths = task.done, task.done + 1, 0
        yield task, step, result

    def _skip_rest(self, task: Task, reason: str) -> Iterator[Outcome]:
        while task.done < task.steps:
            task.done += 1
            yield task, task.done - 1, Crash(reason)

    def _blame(
        self, worker: _Worker, task: Task, reason: str, fresh: Iterator[Task], *, hung: bool = False
    ) -> Iterator[Outcome]:
        """A worker is lost at a step: replace it; the step gets another chance, or a Crash."""
        self._workers.remove(worker)
        worker.link.kill()
        if task.done == task.steps:  # lost after the last step, before it said so: nothing is lacking
            return
        hopeless = not worker.warm and not self.lost(worker.link) and self._doubt(worker, reason)
        if not worker.ready:  # killed from outside, or it never will be: no step's fault
            if hopeless:
                raise MetisBenchError(f"worker processes cannot start: {reason}")
            self._waiting.appendleft(task)
            return
        task.deaths, task.avoid = task.deaths + 1, worker.link.place
        if hung or task.deaths >= self.lives:
            step, task.done, task.deaths = task.done, task.done + 1, 0
            yield task, step, Crash(reason)
        if hopeless:  # what hangs or dies while loading would do so for every item
            yield from self._give_up(task, f"given up after {MAX_FAILURES} workers failed to load: {reason}", fresh)
        elif task.done < task.steps:
            self._waiting.appendleft(task)

    def _doubt(self, worker: _Worker, reason: str) -> bool:
        """Count a worker that returned nothing. Returns whether there is no place left where one ever would."""
        kind = (worker.link.place, worker.ready)
        self._failures[kind] += 1
        return self._failures[kind] >= MAX_FAILURES and not self.drop(worker.link.place, reason)

    def _give_up(self, task: Task, reason: str, fresh: Iterator[Task]) -> Iterator[Outcome]:
        rest = [task, *self._waiting, *(w.task for w in self._workers if w.task is not None)]
        for worker in self._workers:
            worker.link.kill()
        self._workers.clear()
        self._waiting.clear()
        for lost in rest:
            yield from self._skip_rest(lost, reason)
        for lost in fresh:
            yield from self._skip_rest(lost, reason)


class Executor(AbstractContextManager["Executor"]):
    """Gives pools of workers. Use as a context manager."""

    @abstractmethod
    def pool(self, work: Work) -> Pool:
        """Workers for some work. Raises MissingPrerequisite where no machine can do it."""

    @property
    @abstractmethod
    def has_gpus(self) -> bool:
        """Whether workers that ask for a GPU get one."""
