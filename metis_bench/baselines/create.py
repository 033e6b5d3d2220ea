"""`metis-bench baselines env`: what of an environment can be made from a package index, and the steps for the rest.

uv where it is installed, else venv and pip; both with the user's own settings, which they read from the environment and
from their files. Nothing of a manifest is run: its `steps` are shown.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from metis_bench.baselines import machine
from metis_bench.baselines.environment import ask, requirements, without_ours
from metis_bench.baselines.inspection import get_tool
from metis_bench.baselines.manifest import Manifest
from metis_bench.errors import MissingPrerequisite, UsageError

MINORS = range(8, 15)  # of Python 3: those that a worker may have


@dataclass(frozen=True)
class Plan:
    """commands: what is run, in order; remaining: {what, fix} that stay to be done by the user."""

    name: str
    python: Path | None
    commands: list[list[str]]
    clone: list[list[str]]
    remaining: list[dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """A plain dict, commands as a shell would take them."""
        lines = [shlex.join(command) for command in (*self.commands, *self.clone)]
        python = None if self.python is None else str(self.python)
        return {"name": self.name, "python": python, "commands": lines, "remaining": self.remaining}


def plan(name: str, *, clone: bool = False, elsewhere: bool = False) -> Plan:
    """What there is to do for a baseline's environment, and with `clone` for its checkout.

    elsewhere: the commands are to be read, not run: a Python that is not here is named as it is usually called.
    Raises SuiteError for an unknown name, UsageError where there is nothing to make, MissingPrerequisite without a
    suitable Python.
    """
    manifest = machine.known(name).manifest
    if manifest.status != "runnable":
        why = "its outputs have to be brought" if manifest.status == "manual" else "there are only published numbers"
        raise UsageError(f"'{name}' is not run from here: {why}", fix=f"metis-bench baselines show {name}")
    said = machine.here(name)
    if said.python or said.launcher:
        raise UsageError(
            f"metis-bench.yaml names the interpreter of '{name}' ({said.python or shlex.join(said.launcher)}); one of "
            "ours would not be used",
            fix=f"metis-bench baselines doctor {name}   (or take it out of metis-bench.yaml)",
        )
    needed = machine.needs_own_environment(manifest)
    python = machine.env_folder(name) / "bin" / "python" if needed else None
    repo = machine.repo_place(manifest)
    cloned = clone and manifest.upstream.clone and not repo.is_dir()
    return Plan(
        name,
        python,
        _environment(manifest, python, elsewhere) if python is not None else [],
        machine.clone_steps(manifest, repo) if cloned else [],
        _remaining(manifest, cloned),
    )


def _environment(manifest: Manifest, python: Path, elsewhere: bool) -> list[list[str]]:
    """The commands that make it; where it is there already, only those that install."""
    uv, spec, folder = shutil.which("uv"), manifest.env.python, python.parent.parent
    commands: list[list[str]] = []
    if python.is_file():
        found = ask([str(python)])["python"] or ""
        if not SpecifierSet(spec).contains(found, prereleases=True):
            again = f"metis-bench baselines env {manifest.name}"
            raise MissingPrerequisite(f"{folder} has Python {found}, not {spec}", fix=f"rm -r {folder} && {again}")
    elif uv is not None:  # --seed: the steps that follow may want pip
        commands.append([uv, "venv", "--seed", "--python", spec.replace(" ", ""), str(folder)])
    else:
        commands.append([find_python(manifest, elsewhere), "-m", "venv", str(folder)])
    wanted = [part for line in requirements(manifest) for part in _arguments(line)]
    if wanted:
        install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        commands.append([*install, *wanted])
    return commands


def _arguments(requirement: str) -> list[str]:
    """An option of pip's is several words, a requirement is one."""
    return shlex.split(requirement) if requirement.startswith("-") else [requirement]


def find_python(manifest: Manifest, elsewhere: bool = False) -> str:
    """An interpreter whose version is in `env.python`: ours, else one of the PATH, else MissingPrerequisite.

    elsewhere: then the name that it usually has.
    """
    wanted = SpecifierSet(manifest.env.python)
    named = [shutil.which(f"python3.{minor}") for minor in reversed(MINORS)]
    for candidate in dict.fromkeys([sys.executable, *filter(None, named)]):
        try:
            found = ask([candidate])["python"] or ""
        except MissingPrerequisite:  # a stand-in of a version manager, for a version that is not active
            continue
        if wanted.contains(found, prereleases=True):
            return candidate
    if elsewhere:
        return usual_python(manifest)
    one = usual_python(manifest).removeprefix("python")
    raise MissingPrerequisite(
        f"'{manifest.name}' needs Python {manifest.env.python}, and none is on the PATH",
        fix=f"pip install uv   (it brings its own Pythons), then the same command again; or with conda:\n"
        f"       conda create -n {manifest.name} python={one}   and name its python in metis-bench.yaml",
    )


def usual_python(manifest: Manifest) -> str:
    """What the newest suitable one is called."""
    wanted = SpecifierSet(manifest.env.python)
    fits = [f"python3.{minor}" for minor in MINORS if wanted.contains(f"3.{minor}.99")]
    return fits[-1] if fits else "python3"


def _remaining(manifest: Manifest, cloned: bool) -> list[dict[str, str]]:
    rest = []
    lacking = dict(machine.missing(manifest))
    if "licence" in lacking:
        rest.append({"what": "licence", "fix": lacking["licence"].fix or ""})
    if "checkout" in lacking and not cloned:
        fix = f"metis-bench baselines env {manifest.name} --clone   (or: {lacking['checkout'].fix})"
        rest.append({"what": "checkout", "fix": fix})
    rest += [{"what": "step", "fix": step} for step in manifest.env.steps]
    rest += [{"what": "tool", "fix": get_tool(tool)} for tool in manifest.env.system if shutil.which(tool) is None]
    if "weights" in lacking:
        rest.append({"what": "weights", "fix": f"metis-bench baselines fetch {manifest.name}"})
    return [*rest, {"what": "then", "fix": f"metis-bench baselines doctor {manifest.name}"}]


def carry_out(what: Plan, tell: Callable[[str], None]) -> None:
    """Run the commands; what they say goes to stderr. Raises MissingPrerequisite at the first that fails."""
    for command in what.commands:
        _run(command, tell)
    if what.clone:
        _clone(what.clone, tell)


def _clone(steps: list[list[str]], tell: Callable[[str], None]) -> None:
    """Beside its place, then moved there: a checkout that is cut off is never taken for a whole one."""
    place = Path(steps[0][-1])
    aside = place.with_name(f".{place.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    for step in steps:
        _run([str(aside) if part == str(place) else part for part in step], tell)
    aside.rename(place)


def _run(command: list[str], tell: Callable[[str], None]) -> None:
    tell(shlex.join(command))
    env = {**without_ours(), "GIT_TERMINAL_PROMPT": os.environ.get("GIT_TERMINAL_PROMPT", "0")}
    try:
        code = subprocess.run(command, stdout=2, env=env, stdin=subprocess.DEVNULL, check=False).returncode
    except OSError as error:
        raise MissingPrerequisite(f"{command[0]} cannot be started ({error.strerror})", fix="install it") from None
    if code != 0:
        raise MissingPrerequisite(
            f"this ended with exit code {code}, and said why above: {shlex.join(command)}",
            fix="mend that, then the same command again: it goes on where it was",
        )
