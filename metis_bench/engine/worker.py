"""The program of one local worker process: receives tasks over a pipe, sends back one result a step.

Started as a fresh interpreter (see local.PROGRAM), never forked from the parent: no inherited threads, no re-import
of the user's script, and an environment of its own (CUDA_VISIBLE_DEVICES, thread counts).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any, Protocol

from reference_models.memory import keep_freed


class Handler(Protocol):
    """What a worker runs. Results and payloads must be picklable."""

    def run(self, payload: Any, start: int) -> Iterator[Any]:
        """Yield one result for every step of the payload, from step `start` on. Must not raise for bad items."""

    def close(self) -> None:
        """Called before the worker ends normally."""


def die_with_parent() -> None:
    """Linux: be killed when the parent is (kill -9 must leave no orphan that goes on writing)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def named(what: str) -> Any:
    """'module:name' -> what it names."""
    module, _, name = what.partition(":")
    return getattr(importlib.import_module(module), name)


def forget() -> None:
    """Empty our log: its end is told when we die, and must not be of a step that was done."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        os.lseek(2, 0, os.SEEK_SET)  # shared with stdout
        os.ftruncate(2, 0)


def main(fd: int) -> None:
    """Serve until the parent sends None or goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    die_with_parent()
    keep_freed()
    pipe = Connection(fd)
    try:
        factory, init = pipe.recv()
        handler: Handler = named(factory)(init)
        pipe.send(("ready", None))
        while (message := pipe.recv()) is not None:
            payload, start = message
            for result in handler.run(payload, start):
                pipe.send(("step", result))
                forget()
            pipe.send(("done", None))
        handler.close()
        atexit._run_exitfuncs()  # what follows, unloading networks, takes a second that nobody needs
        pipe.close()  # the parent ends this process now
    except (EOFError, BrokenPipeError):  # the parent is gone
        sys.exit(1)
