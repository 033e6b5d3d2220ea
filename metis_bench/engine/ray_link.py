"""One worker on a node of a Ray cluster, as its pool sees it: an actor (`ray_worker.Hands`) and what it will answer."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from metis_bench.engine.executor import Died, Message, Task
from metis_bench.engine.ray_worker import Hands

SHOWN = 300  # characters of what Ray says of a death
NOT_INSTALLED = "No module named 'metis_bench"


def pickled(value: Any) -> bytes:
    """As it goes through a pipe."""
    return bytes(ForkingPickler.dumps(value))


class RayLink:
    """A worker. Everything is asked in advance, so that it never waits for the driver between two steps."""

    def __init__(self, ray: Any, node: str, start: Any, env: Mapping[str, str], *, cpus: float, gpus: float) -> None:
        """node: its id. start: a reference to what the worker is built from, pickled. cpus, gpus: what it takes."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._node = ray, node
        self.placed = self.closed = self._used = False
        options = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            "max_restarts": 0,  # the pool starts another, and knows what it was at
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        }
        self._actor = ray.remote(Hands).options(**options).remote(start, dict(env), str(Path.cwd()))
        self._answers: deque[Any] = deque([self._actor.placed.remote(), self._actor.receive.remote()])

    @property
    def place(self) -> str:
        """The id of its node."""
        return self._node

    @property
    def next(self) -> Any:
        """A reference to its next message."""
        return self._answers[0]

    def send(self, task: Task) -> None:
        """To the actor, with as many questions as there will be messages."""
        if self._used:  # what is left over of the last task are questions that have no answer
            self._answers.clear()
        self._used = True
        self._actor.send.remote(pickled((task.payload, task.done)))
        for _ in range(task.steps - task.done + 1):
            self._answers.append(self._actor.receive.remote())

    def receive(self) -> Message:
        """Its next message. Raises Died, also where the actor or its node is lost."""
        try:
            found = self._ray.get(self._answers.popleft())
        except self._ray.exceptions.RayError as error:
            raise Died(_told(error)) from None
        if not self.placed:
            self.placed = True
            return "placed", None
        if not isinstance(found, bytes):
            raise Died(found or "the worker returned no result")
        message: Message = pickle.loads(found)
        return message

    def end(self, patience_s: float) -> Any:
        """A reference that is there when the worker has closed its handler."""
        return self._actor.end.remote(patience_s)

    def kill(self) -> None:
        """The actor, and the worker with it."""
        self.closed = True
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(self._actor)


def _told(error: Exception) -> str:
    """What Ray says of the death of an actor, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(NOT_INSTALLED in line for line in lines):
        return "metis-bench is not installed there (the same version is needed on every node)"
    return f"its actor was lost: {lines[-1][:SHOWN] if lines else type(error).__name__}"
