"""One worker process on this machine and the pipe to it; the program it runs is worker.py.

Used by the local executor, and on every node of a cluster by what stands for a worker there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import IO

SHOWN_STDERR = 400
# a path of our own, not one that begins with the current folder: a pesq.py lying there must not be imported
PROGRAM = "import sys; sys.path[:] = {path}; from metis_bench.engine.worker import main; main({fd})"
OWN_PATH = "[p for p in sys.path if p]"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
CROWD = "METIS_BENCH_CROWD"  # how many workers a run may crowd this machine with: a condition of measured times
SHARERS = "METIS_BENCH_GPU_SHARERS"  # and how many of them one GPU


def environment(threads: int, crowd: int, gpu: str | None, sharers: int = 1) -> dict[str, str]:
    """Variables of a worker.

    threads: for BLAS, OpenMP and ONNX; gpu: CUDA_VISIBLE_DEVICES, None leaves it as it is; sharers: workers on that GPU
    """
    waits = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin starve each other on a busy machine
    env = {**dict.fromkeys(THREADS, str(threads)), "OMP_WAIT_POLICY": waits, CROWD: str(crowd), SHARERS: str(sharers)}
    return env if gpu is None else {**env, "CUDA_VISIBLE_DEVICES": gpu}


@dataclass(eq=False)
class Process:
    """A running worker. Whoever started it ends it, with `kill`."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    log: IO[bytes]

    @staticmethod
    def start(env: Mapping[str, str], path: list[str] | None = None, cwd: str | None = None) -> Process:
        """A fresh interpreter with `env` on top of ours. path: its sys.path; None: what its installation says."""
        ours, theirs = Pipe()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        program = PROGRAM.format(path=OWN_PATH if path is None else repr(path), fd=theirs.fileno())
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,  # libraries that print must not spoil --json
                stderr=log,
                env={**os.environ, **env},
                cwd=cwd,
            )
        return Process(process, ours, log)

    @property
    def ended(self) -> bool:
        """Whether it is no more."""
        return self.process.poll() is not None

    def death(self) -> str:
        """How a process that closed its pipe ended, with the end of what it wrote to stderr."""
        code = self.process.wait()
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self.log.seek(0)
        lines = [x.strip() for x in self.log.read().decode(errors="replace").splitlines() if x.strip()]
        words = " | ".join(lines[-3:])[-SHOWN_STDERR:]
        return f"the worker died ({how}){': ' + words if words else ''}"

    def farewell(self, patience_s: float) -> None:
        """Wait until it has closed its handler, as it was told to; `kill` ends it afterwards, whatever it did."""
        with suppress(OSError, EOFError):  # it closes the pipe when it has
            if self.pipe.poll(patience_s):
                self.pipe.recv_bytes()

    def kill(self) -> None:
        """End it now."""
        with suppress(OSError):
            self.process.kill()
        self.process.wait()
        self.pipe.close()
        self.log.close()
