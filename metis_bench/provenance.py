"""Where a number was made: git, packages, hardware, command line. Recorded and compared, never part of a key."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from metis_bench.hashing import JSON


def _output(*command: str, cwd: Path | None = None) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, cwd=cwd)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state(folder: Path) -> dict[str, JSON] | None:
    """Commit and dirtiness of the checkout that holds `folder`; None outside git."""
    commit = _output("git", "rev-parse", "HEAD", cwd=folder)
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_output("git", "status", "--porcelain", cwd=folder))}


def packages() -> dict[str, str]:
    """Installed distributions and versions."""
    found = [d.metadata for d in metadata.distributions()]  # read once: each access parses the file
    named = {facts["Name"]: facts["Version"] for facts in found if facts["Name"]}
    return dict(sorted(named.items(), key=lambda pair: pair[0].lower()))


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


@lru_cache(maxsize=1)
def _gpu_names() -> tuple[str, ...]:
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return tuple(names.splitlines()) if names else ()


def hardware() -> dict[str, JSON]:
    """CPU, cores, memory, GPUs."""
    return {"cpu": _cpu_model(), "cores": os.cpu_count() or 1, "memory_gb": _memory_gb(), "gpus": list(_gpu_names())}


def collect() -> dict[str, JSON]:
    """Everything that goes into run.json."""
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": git_state(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": hardware(),
        "packages": dict(packages()),
    }
