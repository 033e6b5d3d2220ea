"""Weights that metrics need and that we may not ship: which files, under which licence, where they are looked for.

Looked for in this order: the folder `weights` of metis-bench.yaml (or $METIS_BENCH_WEIGHTS), the Hugging Face cache
(models that come from there), and where the model's own package keeps it. Nothing is downloaded here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metis_bench.config import WEIGHTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON, kept_sha256


@dataclass(frozen=True)
class Weights:
    """A model's file, or its folder.

    name:    what it is called below the user's folder of weights
    files:   what a folder must hold; "a|b": one of them. () when `name` is a file
    repo:    on the Hugging Face hub, where it is a copy of that repository
    others:  where else a package may have put it ("~/.cache/whisper/large-v3.pt")
    get:     how to get it; None: `hf download` of `repo`
    """

    name: str
    licence: str
    gigabytes: float
    files: tuple[str, ...] = ()
    repo: str = ""
    others: tuple[str, ...] = ()
    get: str | None = None

    def complete(self, place: Path) -> bool:
        """Is it all there?"""
        return not self.lacking(place) if self.files else place.is_file()

    def lacking(self, folder: Path) -> list[str]:
        """The entries of `files` that a folder does not hold."""
        return [entry for entry in self.files if not any((folder / name).is_file() for name in entry.split("|"))]

    def place(self) -> Path:
        """Where a user puts it."""
        return (user_folder() or Path("<your folder of weights>")) / self.name

    def find(self) -> Path | None:
        """The file or folder on this machine."""
        folder = user_folder()
        places = [folder / self.name] if folder is not None else []
        places += [place for place in (_cached(self.repo),) if place is not None]
        places += [Path(other).expanduser() for other in self.others]
        return next((place for place in places if self.complete(place)), None)

    def require(self, what: str) -> Path:
        """As `find`. Raises MissingPrerequisite: what it is for, its licence, and where it goes."""
        found = self.find()
        if found is not None:
            return found
        place = self.place()
        lacking = self.lacking(place) if place.is_dir() else []
        lacks = f" ({place} lacks {lacking[0].replace('|', ' or ')})" if lacking else ""
        get = self.get or f"hf download {self.repo} --local-dir '{place}'"
        unnamed = "" if user_folder() else "; name the folder in metis-bench.yaml:  weights: /path/to/it"
        raise MissingPrerequisite(
            f"{what} needs {self.name} ({self.gigabytes:.2g} GB, {self.licence}), which is not on this machine{lacks}",
            fix=f"{get}, so that it is at {place}{unnamed}",
        )


def user_folder() -> Path | None:
    """The folder of weights that this machine's config names."""
    named = os.environ.get(WEIGHTS)
    return Path(named).expanduser() if named else None


def _cached(repo: str) -> Path | None:
    """The newest snapshot of a repository in the Hugging Face cache; no network."""
    if not repo:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        return None


def content(place: Path, files: tuple[str, ...] = ()) -> Mapping[str, JSON]:
    """sha256 of a file by its name, or of what is there of a folder's files."""
    paths = [place / name for entry in files for name in entry.split("|")] if files else [place]
    return {path.name: kept_sha256(path) for path in paths if path.is_file()}


def strictly(cls: Any, place: Path, **options: Any) -> Any:
    """`cls.from_pretrained(place)` in eval mode, offline. Raises MissingPrerequisite when its file lacks a tensor."""
    from safetensors import SafetensorError

    try:
        model, report = cls.from_pretrained(place, local_files_only=True, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingPrerequisite(f"{place} cannot be loaded: {reason}", fix="get it again") from None
    wrong = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if wrong:
        message = f"{place} lacks {wrong[0]}" + (f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else "")
        raise MissingPrerequisite(message, fix="get it again: the file is another model's, or damaged")
    return model.eval()
