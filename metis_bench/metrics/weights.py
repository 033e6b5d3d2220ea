"""Weights that metrics need and that we may not ship: which files, under which licence, where they are looked for.

Looked for in this order: the folder `weights` of metis-bench.yaml (or $METIS_BENCH_WEIGHTS), the Hugging Face cache
(models that come from there), and where the model's own package keeps it. Nothing is downloaded here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    usual:   a protocol of ours names it, so `doctor` tells where it is missing
    """

    name: str
    licence: str
    gigabytes: float
    files: tuple[str, ...] = ()
    repo: str = ""
    others: tuple[str, ...] = ()
    get: str | None = None
    usual: bool = True

    def complete(self, place: Path) -> bool:
        """Is it all there?"""
        return not self.lacking(place) if self.files else place.is_file()

    def lacking(self, folder: Path) -> list[str]:
        """The entries of `files` that a folder does not hold, and the parts that an index in their place names."""
        out = []
        for entry in self.files:
            here = next((name for name in entry.split("|") if (folder / name).is_file()), None)
            if here is None:
                out.append(entry)
            elif here.endswith(INDEX):
                out += [
                    part for part in shards_of(folder / here) or [f"what {here} names"] if not (folder / part).is_file()
                ]
        return out

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

    def how_to_get(self) -> str:
        """In one line."""
        unnamed = "" if user_folder() else "; name the folder in metis-bench.yaml:  weights: /path/to/it"
        get = self.get or f"hf download {self.repo} --local-dir '{self.place()}'"
        return f"{get}, so that it is at {self.place()}{unnamed}"

    def require(self, what: str) -> Path:
        """As `find`. Raises MissingPrerequisite: what it is for, its licence, and where it goes."""
        found = self.find()
        if found is not None:
            return found
        place = self.place()
        lacking = self.lacking(place) if place.is_dir() else []
        lacks = f" ({place} lacks {lacking[0].replace('|', ' or ')})" if lacking else ""
        raise MissingPrerequisite(
            f"{what} needs {self.name} ({self.gigabytes:.2g} GB, {self.licence}), which is not on this machine{lacks}",
            fix=self.how_to_get(),
        )


INDEX = ".index.json"
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "added_tokens.json"),
    *("special_tokens_map.json", "normalizer.json", "preprocessor_config.json", "processor_config.json"),
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
    """sha256 of a file by its name, or of what a folder is loaded from: of alternatives the first that is there.

    With what an index of shards names, and with every file of a tokenizer.
    """
    if not files:
        return {place.name: kept_sha256(place)}
    chosen = [next((n for n in entry.split("|") if (place / n).is_file()), None) for entry in files]
    names = dict.fromkeys(name for name in (*chosen, *TOKENIZER) if name is not None)
    shards = [shard for name in names if name.endswith(INDEX) for shard in shards_of(place / name)]
    return {name: kept_sha256(place / name) for name in sorted({*names, *shards}) if (place / name).is_file()}


def shards_of(index: Path) -> list[str]:
    """The files that an index of a model in several parts names; none of an index that cannot be read."""
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
