"""Ending a process tree that may not want to end: children that fork, leave the group, or outlive their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MARK = "METIS_BENCH_WORKER"  # every process that descends from a worker has it in its environment
ROUNDS, PAUSE_S = 50, 0.02  # a fork may come between the look and the kill


def marked(token: str) -> list[int]:
    """Processes of this machine with `token` as their mark (Linux; elsewhere none are seen)."""
    needle = f"{MARK}={token}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone, or another user's
            if needle in (folder / "environ").read_bytes() and _alive(folder):
                found.append(int(folder.name))
    return found


def _alive(folder: Path) -> bool:
    """Not a zombie, of which only its parent can dispose."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def end(process: subprocess.Popen[bytes], token: str) -> None:
    """Kill the group of `process`, then whatever else bears the mark, until nothing is left."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.kill()
    process.wait()
    end_marked(token)


def end_marked(token: str) -> None:
    """Kill whatever bears the mark, until nothing is left."""
    for _ in range(ROUNDS):
        left = marked(token)
        if not left:
            return
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(PAUSE_S)


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants that have not left it (Linux)."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from tree(int(child))


def resident_gb(pid: int) -> float:
    """Resident memory of a process tree in GiB; 0 where it cannot be read."""
    pages = 0
    for member in tree(pid):
        with suppress(OSError, IndexError):
            pages += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30
