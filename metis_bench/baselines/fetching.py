"""`metis-bench baselines fetch`: weights from the Hugging Face hub or an address, under a licence that was shown first.

Everything is received beside its place and moved there when it is whole: what is there is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metis_bench.baselines import machine
from metis_bench.baselines.inspection import damage
from metis_bench.baselines.manifest import Manifest, WeightFile
from metis_bench.corpora.download import Download, Progress, fetch
from metis_bench.errors import CorpusError, MissingPrerequisite, UsageError, nearest
from metis_bench.files import replace_tree

MB = 1_000_000


def fetch_weights(
    name: str, ids: Sequence[str] = (), *, tell: Callable[[str], None], progress: Progress
) -> list[dict[str, Any]]:
    """Fetch what is not here of a baseline's weights: those of `ids`, or all that are not optional.

    Returns {id, path, state, fix}; state: fetched, kept (it was there), manual (to be got by hand), optional (not asked
    for). Raises MissingPrerequisite for a licence that was not acknowledged and where it cannot be fetched.
    """
    manifest = machine.known(name).manifest
    if not manifest.weights:
        raise UsageError(f"'{name}' has no weights of its own to fetch", fix=f"metis-bench baselines doctor {name}")
    known = [file.id for file in manifest.weights]
    for unknown in set(ids) - set(known):
        raise UsageError(f"'{name}' has no weights '{unknown}'{nearest(unknown, known)}")
    tell(
        f"{manifest.title}: code {manifest.licence.code}, weights {manifest.licence.weights} ({manifest.upstream.url})"
    )
    machine.require_licences(manifest)
    ordered = sorted(manifest.weights, key=lambda w: len(Path(w.place).parts))  # folders before what goes into them
    asked = {file.id for file in ordered if (file.id in ids if ids else not file.optional)}
    _require_hub(manifest, [file for file in ordered if file.id in asked])
    return [_one(manifest, file, file.id in asked, tell, progress) for file in ordered]


def _require_hub(manifest: Manifest, files: Sequence[WeightFile]) -> None:
    """Raise MissingPrerequisite, with all that has to be brought, where the user wants no word with the hub."""
    from huggingface_hub import constants

    places = [(file, machine.weight_path(manifest.name, file)) for file in files if file.hf is not None]
    lacking = [by_hand(file, path) for file, path in places if not path.exists()]
    if lacking and constants.HF_HUB_OFFLINE:
        raise MissingPrerequisite(
            f"{len(lacking)} of the weights of '{manifest.name}' are not here, and HF_HUB_OFFLINE forbids a fetch",
            fix="unset HF_HUB_OFFLINE and run the same command again; or\n       " + "\n       ".join(lacking),
        )


def _one(
    manifest: Manifest, file: WeightFile, asked: bool, tell: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    path = machine.weight_path(manifest.name, file)
    row: dict[str, Any] = {"id": file.id, "path": str(path), "fix": None}
    if path.exists():
        wrong = damage(file, path)
        fix = f"remove it, then again: metis-bench baselines fetch {manifest.name}"
        return {**row, "state": "kept"} if wrong is None else {**row, "state": f"kept, but {wrong}", "fix": fix}
    if not asked:
        again = f"metis-bench baselines fetch {manifest.name} {file.id}" if file.optional else None
        return {**row, "state": "optional" if file.optional else "not asked for", "fix": again}
    if file.manual is not None:
        return {**row, "state": "manual", "fix": machine.how_to_get(manifest.name, file)}
    tell(f"{file.id}: from {file.hf or file.url} to {path}")
    machine.require_folder(path.parent)
    if file.hf is not None:
        _from_hub(file, path)
    else:
        _from_address(manifest, file, path, progress)
    wrong = damage(file, path)
    if wrong is not None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise CorpusError(f"what came for '{file.id}' is {wrong}; it was removed", fix=by_hand(file, path))
    return {**row, "state": "fetched"}


def by_hand(file: WeightFile, path: Path) -> str:
    """What a user without a network here does elsewhere."""
    what = file.url or f"{file.file or ', '.join(file.files) or 'the whole repository'} of {file.hf} (Hugging Face)"
    return f"get {what} where there is a network, and put it at {path}"


def _from_hub(file: WeightFile, path: Path) -> None:
    """Raises MissingPrerequisite, with what a user can do about it."""
    from huggingface_hub import errors, hf_hub_download, snapshot_download

    assert file.hf is not None
    aside = path.parent / f".{file.id}.part"
    try:
        if file.file is not None:
            got = Path(hf_hub_download(file.hf, file.file, revision=file.revision, local_dir=aside))
        else:
            patterns = file.files or None
            got = Path(snapshot_download(file.hf, revision=file.revision, allow_patterns=patterns, local_dir=aside))
    except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # the hub's, its http library's, the disk's
        raise _unreachable(file, path, error) from None
    shutil.rmtree(aside / ".cache", ignore_errors=True)  # the hub's notes on what it has received
    got.replace(path) if got.is_file() else replace_tree(got, path)
    shutil.rmtree(aside, ignore_errors=True)


def _unreachable(file: WeightFile, path: Path, error: Exception) -> MissingPrerequisite:
    """An error of the hub in our words."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return MissingPrerequisite(
            f"{file.hf} wants its own terms to be accepted on the hub, by you",
            fix="open its page there, accept them, then: hf auth login   and the same command again",
        )
    last = (str(error).strip() or type(error).__name__).splitlines()[-1]
    not_there = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError)
    if isinstance(error, not_there) and not isinstance(error, errors.LocalEntryNotFoundError):
        return MissingPrerequisite(f"{file.hf} has not what the manifest names: {last}", fix=by_hand(file, path))
    return MissingPrerequisite(
        f"{file.hf} cannot be fetched: {last}",
        fix=f"run the same command again, it goes on where it was; or {by_hand(file, path)}",
    )


def _from_address(manifest: Manifest, file: WeightFile, path: Path, progress: Progress) -> None:
    assert file.url is not None
    elsewhere = f"baselines: {{{manifest.name}: {{weights: /path}}}}"
    size = round((file.megabytes or 0) * MB)
    wanted = Download(path.name, file.url, file.sha256, size, manifest.licence.weights, elsewhere=elsewhere)
    fetch(wanted, path.parent, partial(_in_mb, progress))


def _in_mb(progress: Progress, what: str, done: int, total: int) -> None:
    progress(f"{what} (MB)", done // MB, max(1, total // MB))
