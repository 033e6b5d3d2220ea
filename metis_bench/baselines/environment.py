"""What is installed in a competitor's environment and checkout, told without importing any of it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from metis_bench.baselines.machine import command
from metis_bench.baselines.manifest import Manifest
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import sha256_bytes, sha256_file, sha256_json


@lru_cache(maxsize=64)
def commit(repo: Path) -> str | None:
    """The commit of a checkout; None for a folder without git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repo, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return done.stdout.strip() or None


def checkout_state(repo: Path) -> Mapping[str, str | None]:
    """The commit, and a hash of what is changed or not tracked; without git, of all Python files there are."""
    if not (repo / ".git").exists():  # git would tell of a folder above
        return {"commit": None, "files": _hash_of(repo, sorted(repo.rglob("*.py")))}
    git = ["git", "-C", str(repo)]
    changed = subprocess.run([*git, "diff", "HEAD"], capture_output=True, check=False).stdout
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard", "*.py"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    extra = _hash_of(repo, [repo / name for name in sorted(listed)]) if listed else None
    return {"commit": commit(repo), "changes": sha256_bytes(changed) if changed else None, "untracked": extra}


def _hash_of(repo: Path, files: Sequence[Path]) -> str:
    return sha256_json([[p.relative_to(repo).as_posix(), sha256_file(p)] for p in files if p.is_file()])


def package_version(manifest: Manifest) -> str | None:
    """The installed version of the competitor's package, in its environment; None where it is no package."""
    if manifest.upstream.package is None:
        return None
    name = manifest.upstream.package.partition("==")[0].partition("[")[0]
    return installed(tuple(command(manifest)), (name,)).get(name)


VERSIONS = """
import importlib.metadata as m, json, re, sys
def plain(name):
    return re.sub("[-_.]+", "-", name).lower()
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:  # old Pythons do not take ruamel.yaml for ruamel_yaml
        return next((d.version for d in m.distributions() if plain(d.metadata["Name"] or "") == plain(name)), None)
python = "{}.{}.{}".format(*sys.version_info[:3])
print(json.dumps(dict({n: version(n) for n in sys.argv[1:]}, python=python)))
"""


def ask(
    command: Sequence[str], names: Sequence[str] = (), more: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str | None]:
    """Versions of distributions in an environment, and of its `python`. Nothing is imported. more: variables.

    Raises MissingPrerequisite when the interpreter does not start.
    """
    try:
        done = subprocess.run(
            [*command, "-", *names],  # by stdin: a launcher such as ssh would take a program on the line apart
            input=VERSIONS,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**without_ours(), **more},
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except OSError as error:
        reason = str(error.strerror)
    except subprocess.TimeoutExpired:
        reason = "no answer in 60 s"
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:]
        reason = f"exit code {done.returncode}" + "".join(f", {line}" for line in last)
    raise MissingPrerequisite(f"{shlex.join(command)} does not start a Python ({reason})")


@lru_cache(maxsize=64)
def installed(command: tuple[str, ...], names: tuple[str, ...]) -> Mapping[str, str | None]:
    """As `ask`, once a process; empty where it does not start."""
    try:
        return ask(command, names)
    except MissingPrerequisite:
        return {}


def without_ours() -> dict[str, str]:
    """The environment variables for another Python: our module path is not its."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def requirements(manifest: Manifest) -> list[str]:
    """All that pip is asked for: `env.requires`, and the package itself where that does not name it."""
    package = manifest.upstream.package
    named = {canonicalize_name(asked.name) for asked in map(parsed, manifest.env.requires) if asked is not None}
    own = None if package is None else parsed(package)
    given = own is not None and canonicalize_name(own.name) in named
    return [*([] if package is None or given else [package]), *manifest.env.requires]


def parsed(requirement: str) -> Requirement | None:
    """None for what is no requirement but an option of pip's, or a bare address."""
    try:
        return Requirement(requirement)
    except InvalidRequirement:
        return None


@dataclass(frozen=True)
class Unmet:
    """A requirement that an environment does not meet. pinned: it has another version than the one that was tried."""

    requirement: str
    name: str
    found: str | None
    pinned: bool


def unmet(requirements: Sequence[str], versions: Mapping[str, str | None]) -> list[Unmet]:
    """Those of `requirements` that `versions` (of `ask`) do not meet, told from versions alone."""
    found = []
    for line in requirements:
        asked = parsed(line)
        if asked is None or not applies(asked, versions):
            continue
        version = versions.get(asked.name)
        if version is None or not asked.specifier.contains(version, prereleases=True):
            exact = all(clause.operator in ("==", "===") for clause in asked.specifier)
            found.append(Unmet(line, asked.name, version, version is not None and exact))
    return found


def applies(asked: Requirement, versions: Mapping[str, str | None]) -> bool:
    """Whether its marker holds for that Python; other markers are taken to be as here."""
    python = versions.get("python")
    if asked.marker is None or python is None:
        return asked.marker is None or asked.marker.evaluate()
    short = ".".join(python.split(".")[:2])
    return asked.marker.evaluate({"python_version": short, "python_full_version": python})
