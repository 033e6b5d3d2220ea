"""Memory of this process and of this machine, where the kernel tells (Linux); no torch."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 256 * 2**20


def reset_peak() -> None:
    """Start a new peak (Linux; elsewhere the peak since the process began is reported)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def give_back() -> None:
    """Return what was freed to the system (glibc), so that what is resident is what is in use."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Let this process keep what it frees, up to `KEPT` bytes, for its next tensors (glibc).

    A pass of a small model on a CPU spends up to a fifth of its time on getting pages that the last one gave back.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT // 8)  # what is larger is given back at once
        libc.mallopt(M_TRIM_THRESHOLD, KEPT)


def peak_mb() -> float:
    """Peak resident set size in MiB since `reset_peak`."""
    told = _told("/proc/self/status", "VmHWM:")
    if told is not None:
        return told
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def resident_mb() -> float | None:
    """Resident set size in MiB now; None where it is not told."""
    return _told("/proc/self/status", "VmRSS:")


def free_mb() -> float | None:
    """MiB of main memory that can be had without swapping: what is available (Linux), else all there is."""
    available = _told("/proc/meminfo", "MemAvailable:")
    if available is not None:
        return available
    with suppress(ValueError, OSError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
    return None


def _told(file: str, name: str) -> float | None:
    """A number of KiB in a file of the kernel's, in MiB."""
    with suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    return None
