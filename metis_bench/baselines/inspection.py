"""The rungs of the doctor's ladder that only look: licence, interpreter, packages, checkout, weights, tools, GPU."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from packaging.specifiers import SpecifierSet

from metis_bench import provenance
from metis_bench.audio import GIT_LFS
from metis_bench.baselines import machine
from metis_bench.baselines.environment import Unmet, ask, commit, parsed, requirements, unmet
from metis_bench.baselines.manifest import Manifest, WeightFile
from metis_bench.baselines.overview import outputs_missing
from metis_bench.baselines.rows import Row
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import kept_sha256
from metis_bench.systems.imported import SUFFIXES

SIZE_SLACK = 0.05  # a manifest's megabytes are rounded; a download that was cut off lacks more
MB = 1e6


def licence(manifest: Manifest) -> Iterator[Row]:
    """Acknowledged, where the manifest asks for it."""
    facts = f"code {manifest.licence.code}, weights {manifest.licence.weights}"
    try:
        machine.require_licences(manifest)
    except MissingPrerequisite as error:
        yield Row("licence", "missing", error.message, error.fix)
        return
    yield Row("licence", "ok", facts + (", acknowledged" if manifest.licence.accept else ""))


def interpreter(manifest: Manifest) -> Iterator[Row]:
    """There, starts, and of a version in `env.python`."""
    try:
        command = machine.command(manifest)
        found = ask(command)["python"] or ""
    except MissingPrerequisite as error:
        yield Row("interpreter", "missing", error.message, error.fix or "mend the launcher in metis-bench.yaml")
        return
    facts = f"{shlex.join(command)} (Python {found})"
    if SpecifierSet(manifest.env.python).contains(found, prereleases=True):
        yield Row("interpreter", "ok", facts)
        return
    again = f"metis-bench baselines env {manifest.name}"
    ours = machine.env_folder(manifest.name)
    fix = f"rm -r {ours} && {again}" if _is_ours(manifest) else f"name another one in metis-bench.yaml, or {again}"
    yield Row("interpreter", "missing", f"{facts}, and it needs {manifest.env.python}", fix)


def _is_ours(manifest: Manifest) -> bool:
    """Whether `baselines env` has made its environment."""
    return Path(machine.command(manifest)[0]).is_relative_to(machine.env_folder(manifest.name))


def packages(manifest: Manifest) -> Iterator[Row]:
    """Every requirement, by metadata. Another version than a pinned one is a warning: loading it tells more."""
    wanted, command = requirements(manifest), machine.command(manifest)
    named = [asked.name for asked in map(parsed, wanted) if asked is not None]
    if not wanted:
        yield Row("packages", "ok", "needs none")
        return
    lacking = unmet(wanted, ask(command, named, machine.here(manifest.name).vars))
    hard, soft = [u for u in lacking if not u.pinned], [u for u in lacking if u.pinned]
    if hard:
        yield Row("packages", "missing", _told(hard), _install(manifest, hard))
    if soft:
        yield Row("packages", "warning", f"not the versions that were tried: {_told(soft)}", _install(manifest, soft))
    if not lacking:
        yield Row("packages", "ok", f"{len(named)} of {len(named)} requirements met")


def _told(lacking: list[Unmet]) -> str:
    return ", ".join(f"{u.requirement} ({u.found or 'not installed'})" for u in lacking)


def _install(manifest: Manifest, lacking: list[Unmet]) -> str:
    if _is_ours(manifest):
        return f"metis-bench baselines env {manifest.name}"
    return shlex.join([*machine.command(manifest), "-m", "pip", "install", *(u.requirement for u in lacking)])


def checkout(manifest: Manifest) -> Iterator[Row]:
    """There, at the manifest's commit, unchanged, with its submodules."""
    try:
        repo = machine.checkout(manifest)
    except MissingPrerequisite as error:
        yield Row("checkout", "missing", error.message, error.fix)
        return
    if repo is None:
        yield Row("checkout", "ok", "needs none")
        return
    empty = [part for part in manifest.upstream.submodules if not _filled(repo / part)]
    if empty:
        fix = shlex.join(machine.submodule_step(repo, empty))
        yield Row("checkout", "missing", f"{repo} lacks its submodules {', '.join(empty)}", fix)
    other = _other(manifest, repo)
    if other is not None:
        yield Row("checkout", "warning", f"{repo}: {other[0]}", other[1])
    elif not empty:
        yield Row("checkout", "ok", f"{repo} at {(manifest.upstream.commit or 'its head')[:8]}")


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _other(manifest: Manifest, repo: Path) -> tuple[str, str | None] | None:
    """What makes it another one than the manifest's, and what undoes that."""
    wanted, git = manifest.upstream.commit, ["git", "-C", str(repo)]
    found = commit(repo) if (repo / ".git").exists() else None  # git would find that of a folder above
    if found is None:
        return "no git checkout, so its commit is not known", None
    if wanted is not None and not found.startswith(wanted):
        fix = shlex.join([*git, "checkout", wanted])
        return f"at {found[:8]}, and the adapter was written for {wanted[:8]}", fix
    changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=False)
    if changed.stdout.strip():
        return f"{len(changed.stdout.splitlines())} files are changed", shlex.join([*git, "diff"])
    return None


def weights(manifest: Manifest) -> Iterator[Row]:
    """Each of them there, whole, and the right one as far as the manifest says."""
    if not manifest.weights:
        yield Row("weights", "ok", "needs none")
    for file in manifest.weights:
        path = machine.weight_path(manifest.name, file)
        wrong = damage(file, path) if path.exists() else f"'{file.id}' is not at {path}"
        fix = machine.how_to_get(manifest.name, file)
        if wrong is None:
            yield Row("weights", "ok", f"'{file.id}' at {path}")
        elif not path.exists():
            yield Row("weights", "warning" if file.optional else "missing", wrong, fix)
        else:
            yield Row("weights", "missing", f"'{file.id}' at {path}: {wrong}", f"rm -r {shlex.quote(str(path))}; {fix}")


def damage(file: WeightFile, path: Path) -> str | None:
    """What is wrong with a file or folder that is there."""
    parts = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    size = sum(p.stat().st_size for p in parts)
    if size == 0:
        return "empty"
    lacking = [name for name in file.files if not any(sign in name for sign in "*?[") and not (path / name).is_file()]
    if lacking:
        return f"without {', '.join(lacking)}"
    if file.megabytes is not None and abs(size / MB - file.megabytes) > SIZE_SLACK * file.megabytes:
        return f"{size / MB:.1f} MB, expected {file.megabytes:g}"
    pointer = next((p.name for p in parts if _starts_with(p, GIT_LFS)), None)
    if pointer is not None:
        return f"{pointer} is a git-lfs pointer, not the file"
    if file.sha256 is not None and path.is_file() and kept_sha256(path) != file.sha256:
        return "its sha256 is not the manifest's"
    return None


def _starts_with(path: Path, beginning: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(beginning)) == beginning


def tools(manifest: Manifest) -> Iterator[Row]:
    """Programs that are no Python packages."""
    if not manifest.env.system:
        yield Row("tools", "ok", "needs none")
    for tool in manifest.env.system:
        if machine.here(manifest.name).launcher:
            yield Row("tools", "warning", f"{tool} has to be in the environment behind the launcher: not looked at")
        elif found := shutil.which(tool):
            yield Row("tools", "ok", found)
        else:
            yield Row("tools", "missing", f"{tool} is not on the PATH", get_tool(tool))


def get_tool(tool: str) -> str:
    """How to get one: package managers and names differ, so this is a pointer."""
    return f"install {tool}, e.g.  apt install {tool}   or  conda install -c conda-forge {tool}"


def gpu(manifest: Manifest) -> Iterator[Row]:
    """There where it is required; where it is only recommended, slow without."""
    needs = manifest.device
    if needs.gpu == "none":
        yield Row("gpu", "ok", "has no use for one")
        return
    try:
        machine.require_gpu(manifest)
    except MissingPrerequisite as error:
        yield Row("gpu", "missing", error.message, error.fix)
        return
    why = machine.on_cpu(manifest)
    if why is not None:
        yield Row("gpu", "warning", f"{why}: slow")
        return
    names = provenance.hardware()["gpus"]
    memory = f"; it needs about {needs.vram_gb:g} GB" if needs.vram_gb else ""
    yield Row("gpu", "ok", f"{machine.here(manifest.name).device or names or 'visible'}{memory}")


def outputs(manifest: Manifest) -> Iterator[Row]:
    """What was brought, for a baseline that cannot be run from here."""
    lacks = outputs_missing(manifest)
    if lacks is not None:
        yield Row("outputs", "missing", lacks[1].message, lacks[1].fix)
        return
    folder = machine.outputs_folder(manifest.name)
    count = sum(path.suffix in SUFFIXES for path in folder.rglob("*"))
    yield Row("outputs", "ok", f"{count} files in {folder}")
