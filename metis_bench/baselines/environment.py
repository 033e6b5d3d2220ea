"""What is installed in a competitor's environment and checkout, told without importing any of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from metis_bench.baselines.machine import command
from metis_bench.baselines.manifest import Manifest


@lru_cache(maxsize=64)
def commit(repo: Path) -> str | None:
    """The commit of a checkout; None for a folder without git."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repo, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def package_version(manifest: Manifest) -> str | None:
    """The installed version of the competitor's package, in its environment; None where it is no package."""
    if manifest.upstream.package is None:
        return None
    name = manifest.upstream.package.partition("==")[0].partition("[")[0]
    return installed(tuple(command(manifest)), (name,)).get(name)


VERSIONS = """
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
print(json.dumps({"python": sys.version.split()[0], **{n: version(n) for n in sys.argv[1:]}}))
"""


@lru_cache(maxsize=64)
def installed(command: tuple[str, ...], names: tuple[str, ...]) -> Mapping[str, str | None]:
    """Versions of distributions in an environment, and of its Python. Nothing is imported; empty if it cannot start."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [*command, "-c", VERSIONS, *names], capture_output=True, text=True, timeout=60, check=False, env=env
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return {}
