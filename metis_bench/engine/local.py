"""The local executor: a few worker processes on this machine, one task each at a time.

Unlike concurrent.futures it knows which item a dying worker was at: a crash or a hang costs that step alone.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from metis_bench.config import Config, cpu_count
from metis_bench.engine.executor import FOREVER_S, START_GRACE_S, Died, Executor, Link, Message, Pool, Task, Work
from metis_bench.engine.process import Process, environment

FAREWELL_S = 5.0  # how long a worker that has nothing to do may take to end
HERE = "this machine"
HIDDEN = ("",)  # CUDA_VISIBLE_DEVICES of workers that are to see no GPU


class LocalLink:
    """A worker process of ours."""

    place = HERE
    placed = True

    def __init__(self, start: tuple[str, Any], env: Mapping[str, str]) -> None:
        self.process = Process.start(env, sys.path)
        with suppress(OSError):  # died at once: noticed when it is asked for a message
            self.process.pipe.send(start)

    def send(self, task: Task) -> None:
        """Over its pipe."""
        with suppress(OSError):
            self.process.pipe.send((task.payload, task.done))

    def receive(self) -> Message:
        """From its pipe."""
        try:
            message: Message = self.process.pipe.recv()
        except (EOFError, OSError):
            raise Died(self.process.death()) from None
        return message

    def kill(self) -> None:
        """With SIGKILL."""
        self.process.kill()


class LocalPool(Pool):
    """Worker processes, one for each environment (variables on top of ours)."""

    def __init__(
        self,
        factory: str,
        init: Any,
        environments: Sequence[Mapping[str, str]],
        *,
        timeout_s: float,
        grace_s: float = START_GRACE_S,
    ) -> None:
        super().__init__(timeout_s, grace_s)
        self._start = (factory, init)
        self._environments = environments
        self._links: list[LocalLink | None] = [None] * len(environments)

    def open(self, avoid: str | None) -> Link | None:
        """A worker for an environment that has none."""
        del avoid
        for i, link in enumerate(self._links):
            if link is None or link.process.ended:
                self._links[i] = link = LocalLink(self._start, self._environments[i])
                return link
        return None

    def wait(self, links: Collection[Link], patience_s: float) -> Collection[Link]:
        """Whose pipe has something to read, or was closed."""
        pipes = {link.process.pipe: link for link in links if isinstance(link, LocalLink)}
        return [pipes[pipe] for pipe in wait(list(pipes), None if patience_s == FOREVER_S else patience_s)]  # type: ignore[index]

    def farewell(self, links: Collection[Link]) -> None:
        """None is the end of the tasks."""
        ours = [link.process for link in links if isinstance(link, LocalLink)]
        for process in ours:
            with suppress(OSError):
                process.pipe.send(None)
        for process in ours:
            process.farewell(FAREWELL_S)


class LocalExecutor(Executor):
    """This machine: one worker a GPU, or as many as configured."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __exit__(self, *exc: object) -> None:
        """Pools end their own workers."""

    def pool(self, work: Work) -> Pool:
        """Worker processes for some work."""
        return LocalPool(
            work.factory, work.init, self.environments(work), timeout_s=work.timeout_s, grace_s=work.grace_s
        )

    @property
    def has_gpus(self) -> bool:
        """Whether there are any that the config lets us use."""
        return bool(self.config.gpus())

    def environments(self, work: Work) -> list[dict[str, str]]:
        """Variables of each worker: how many there are, their threads and their GPU."""
        config = self.config
        gpus = config.gpus() if work.gpu != "none" else ()
        crowd = (len(gpus) or 1) if work.alone else config.workers
        count = min(len(gpus) if work.gpu == "own" and gpus else crowd, work.tasks)
        if work.gpu == "own" and not gpus and config.devices is not None:
            gpus = HIDDEN
        threads = work.threads or max(1, cpu_count() // crowd)
        bound = [gpus[i % len(gpus)] if gpus else None for i in range(count)]
        return [environment(threads, config.workers, gpu, bound.count(gpu) if gpu else 1) for gpu in bound]
