"""What there is: every baseline in a line, and one of them with all that a user wants to know before trying it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metis_bench.baselines import machine
from metis_bench.baselines.environment import requirements
from metis_bench.baselines.manifest import MANIFEST, Manifest, find_all, read
from metis_bench.errors import MissingPrerequisite, SuiteError


def listing(task: str | None = None) -> list[dict[str, Any]]:
    """A row a baseline: name, title, tasks, status, licences, `state`, and why and how to mend it. Looks at files only.

    state: ready, needs licence | interpreter | checkout | weights | GPU | outputs, published numbers only, or broken
    """
    rows = []
    for name, folder in find_all(machine.own_folders()).items():
        try:
            manifest = read(folder).manifest
        except SuiteError as error:
            if task is None:
                facts = {"name": name, "title": "", "tasks": [], "status": "", "code": "", "weights": ""}
                rows.append({**facts, "state": "broken", "reason": str(error), "fix": f"correct {folder / MANIFEST}"})
            continue
        if task is None or task in manifest.tasks:
            rows.append(_row(manifest))
    return rows


def _row(manifest: Manifest) -> dict[str, Any]:
    state, error = state_of(manifest)
    return {
        "name": manifest.name,
        "title": manifest.title,
        "tasks": list(manifest.tasks),
        "status": manifest.status,
        "code": manifest.licence.code,
        "weights": manifest.licence.weights,
        "state": state,
        "reason": None if error is None else error.message,
        "fix": None if error is None else error.fix,
    }


def state_of(manifest: Manifest) -> tuple[str, MissingPrerequisite | None]:
    """Whether a run could have it here, by a look at files: what `listing` shows of it."""
    if manifest.status == "published":
        return "published numbers only", None
    lacks = outputs_missing(manifest) if manifest.status == "manual" else machine.first_missing(manifest)
    return ("ready", None) if lacks is None else (f"needs {lacks[0]}", lacks[1])


def outputs_missing(manifest: Manifest) -> tuple[str, MissingPrerequisite] | None:
    """As `machine.first_missing`, for a baseline whose outputs a user brings."""
    folder = machine.outputs_folder(manifest.name)
    if folder.is_dir():
        return None
    return "outputs", MissingPrerequisite(
        f"its outputs have to be brought; none are at {folder}",
        fix=f"metis-bench baselines import {manifest.name} DIR   (metis-bench baselines show {manifest.name} says how)",
    )


def counts() -> tuple[int, int]:
    """(baselines that a machine could run or take in, those of them that are ready here)."""
    rows = [row for row in listing() if row["status"] in ("runnable", "manual")]
    return len(rows), sum(row["state"] == "ready" for row in rows)


def describe(name: str) -> dict[str, Any]:
    """The manifest, `places` on this machine, and the `yaml` for metis-bench.yaml. Raises SuiteError."""
    baseline = machine.known(name)
    manifest = baseline.manifest
    state, error = state_of(manifest)
    return {
        "manifest": manifest.model_dump(mode="json", by_alias=True),
        "file": str(baseline.folder / MANIFEST),
        "state": state,
        "reason": None if error is None else error.message,
        "fix": None if error is None else error.fix,
        "requirements": requirements(manifest),
        "places": places(manifest),
        "yaml": config_lines(manifest),
    }


def places(manifest: Manifest) -> list[dict[str, Any]]:
    """Where its parts are looked for here: {what, path, there, how to get it}. Looks at files only."""
    if manifest.status == "published":
        return []
    if manifest.status == "manual":
        lacks = outputs_missing(manifest)
        folder = machine.outputs_folder(manifest.name)
        return [_place("outputs", folder, lacks is None, None if lacks is None else lacks[1].fix)]
    found = [_interpreter(manifest)]
    if manifest.upstream.clone:
        repo = machine.repo_place(manifest)
        found.append(_place("checkout", repo, repo.is_dir(), machine.clone_command(manifest, repo)))
    for file in manifest.weights:
        path = machine.weight_path(manifest.name, file)
        what = f"weights '{file.id}'" + (" (optional)" if file.optional else "")
        found.append(_place(what, path, path.exists(), machine.how_to_get(manifest.name, file)))
    return found


def _place(what: str, path: Path | str, there: bool, fix: str | None) -> dict[str, Any]:
    return {"what": what, "path": str(path), "there": there, "fix": None if there else fix}


def _interpreter(manifest: Manifest) -> dict[str, Any]:
    try:
        return _place("interpreter", " ".join(machine.command(manifest)), True, None)
    except MissingPrerequisite as error:
        said = machine.here(manifest.name).python
        return _place("interpreter", said or machine.env_folder(manifest.name) / "bin" / "python", False, error.fix)


def config_lines(manifest: Manifest) -> str:
    """What may be said of it in metis-bench.yaml; only a licence has to be, the rest is for other places than ours."""
    lines = ["baselines:", f"  {manifest.name}:"]
    if manifest.licence.accept:
        lines.append(f"    accept: [{', '.join(manifest.licence.accept)}]   # once you have read and accepted them")
    lines.append("    python: /path/to/python   # or  launcher: [docker, run, -i, ..., python]")
    lines += ["    repo: /path/to/checkout"] if manifest.upstream.clone else []
    lines += ["    weights: /path/to/weights   # the folder of all of them"] if manifest.weights else []
    lines += [] if manifest.device.gpu == "none" else ["    # device: cpu   # default: the GPU, where there is one"]
    return "\n".join(lines) + "\n"
