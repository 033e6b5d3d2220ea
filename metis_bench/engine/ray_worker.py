"""What stands for a worker on a node of a Ray cluster: an actor that starts a worker process there and passes on its
messages as they are. Models, plug-ins and whatever they print live in that process, as on a single machine; when the
actor is lost (killed, or its driver or node is gone), the process dies with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

from metis_bench.engine.process import Process

DONE = bytes(ForkingPickler.dumps(("done", None)))  # a worker's last word on a task
END = bytes(ForkingPickler.dumps(None))  # there are no more tasks


class Hands:
    """The actor. Its methods are called in order, one at a time."""

    def __init__(self, start: bytes, env: Mapping[str, str], cwd: str) -> None:
        """start: what the worker is built from, pickled. cwd: where its relative paths begin, if that is here."""
        self.process = Process.start(env, cwd=cwd if Path(cwd).is_dir() else None)
        self.expecting = True
        self._pass_on(start)

    def placed(self) -> None:
        """Returns as soon as the actor lives."""

    def send(self, message: bytes) -> None:
        """A task, pickled."""
        self.expecting = True
        self._pass_on(message)

    def receive(self) -> bytes | str | None:
        """The worker's next message, pickled; text: how it died; None: it has nothing to do."""
        if not self.expecting:
            return None
        try:
            message = self.process.pipe.recv_bytes()
        except (EOFError, OSError):
            return self.process.death()
        self.expecting = message != DONE
        return message

    def end(self, patience_s: float) -> None:
        """Let the worker close its handler."""
        self._pass_on(END)
        self.process.farewell(patience_s)

    def _pass_on(self, message: bytes) -> None:
        with suppress(OSError):  # a dead worker is noticed when it is asked for a message
            self.process.pipe.send_bytes(message)
