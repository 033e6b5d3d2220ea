"""Tokenised speech on disk: WebDataset tars with an index beside each, for random access.

A shard is an uncompressed tar of `KEY.<array>.npy` and `KEY.json`, readable by WebDataset and by `tar`. Its index says
where each example lies and how long it is, so that batches can be planned without reading anything, any example is one
read away, and a training run that was killed goes on exactly where it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError

Fact: TypeAlias = str | int | float | bool | None
Index: TypeAlias = NDArray[Any]  # records, one an example

INDEX = np.dtype([("offset", "<i8"), ("size", "<i8"), ("frames", "<i4"), ("phones", "<i4")])
KEY = re.compile(r"[A-Za-z0-9_\-]+")
INTEGERS = (np.int8, np.uint8, np.int16, np.int32)


@dataclass(frozen=True)
class Example:
    """One utterance, tokenised.

    key:    unique in a data set
    frames: semantic tokens, 50 a second
    arrays: any of semantic (T,) int, codes (T, Q) int, phones (P,) int, condition (T, C) float16, audio (S,) int16 at
            24 kHz, labels (T,) int
    facts:  text, language, speaker, seconds, task, prompt (frames of a given prompt; absent: drawn in training)
    """

    key: str
    frames: int
    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Fact] = field(default_factory=dict)


class ShardWriter:
    """Writes examples into numbered shards, each whole or not at all. A context manager.

    folder: shards that are there already stay; new ones get the next numbers
    """

    def __init__(self, folder: Path, per_shard: int = 1000) -> None:
        self.folder, self.per_shard = folder, per_shard
        folder.mkdir(parents=True, exist_ok=True)
        self._number = 1 + max((int(p.stem) for p in folder.glob("*.tar") if p.stem.isdigit()), default=-1)
        self._tar: tarfile.TarFile | None = None
        self._entries: list[tuple[int, int, int, int]] = []
        self._keys: list[str] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def write(self, example: Example) -> None:
        """Append. Errors: ValueError for a key that is no plain name"""
        if not KEY.fullmatch(example.key):
            raise ValueError(f"the key {example.key!r} may hold letters, digits, '-' and '_' only")
        if self._tar is None:
            self._tar = tarfile.open(self._partial, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed in close()
        start = self._tar.offset
        for name, data in _members(example):
            info = tarfile.TarInfo(f"{example.key}.{name}")
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))
        phones = len(example.arrays.get("phones", ()))
        self._entries.append((start, self._tar.offset - start, example.frames, phones))
        self._keys.append(example.key)
        if len(self._entries) == self.per_shard:
            self.close()

    def close(self) -> None:
        """Finish the current shard: the index is renamed last, so a shard with an index is whole."""
        if self._tar is None:
            return
        self._tar.close()
        self._tar = None
        shard = self.folder / f"{self._number:06d}.tar"
        partial = shard.with_suffix(".index.partial")
        with partial.open("wb") as file:
            np.savez(file, entries=np.array(self._entries, INDEX), keys=np.array(self._keys))
        self._partial.replace(shard)
        partial.replace(index_path(shard))
        self._number, self._entries, self._keys = self._number + 1, [], []

    @property
    def _partial(self) -> Path:
        return self.folder / f"{self._number:06d}.tar.partial"


class Shards:
    """Examples of one or several folders, by number. Opens a file when it is first read; safe to fork and to pickle."""

    def __init__(self, folders: Sequence[Path], most: int | None = None) -> None:
        """most: of all examples, the first so many

        Errors: InputError where there is no shard, an index is missing or damaged, or there are fewer than `most`
        """
        self.paths = [path for folder in folders for path in _shards(folder)]
        indices = [_read_index(path) for path in self.paths]
        self._entries: Index = np.concatenate([entries for entries, _ in indices])[:most]
        self._keys = np.concatenate([keys for _, keys in indices])[:most]
        self._shard = np.repeat(np.arange(len(indices)), [len(entries) for entries, _ in indices])[:most]
        if most is not None and len(self) < most:
            raise InputError(
                f"{folders[0]} holds {len(self)} examples, not {most}", fix="tokenize more, or ask for fewer"
            )
        self._files: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # file descriptors stay in their process

    @property
    def frames(self) -> NDArray[np.int32]:
        """Semantic tokens of every example."""
        return self._entries["frames"]

    @property
    def phones(self) -> NDArray[np.int32]:
        """Phones of every example, 0 where it has none."""
        return self._entries["phones"]

    @property
    def digest(self) -> str:
        """What tells these examples from others, wherever they lie: 16 hexadecimal digits.

        Of all keys and lengths, and of the first example of each shard: the same utterances with another noise have
        the same keys and lengths, and reading millions of examples would take minutes.
        """
        digest = hashlib.sha256(np.ascontiguousarray(self._keys).tobytes())
        for name in ("size", "frames", "phones"):
            digest.update(self._entries[name].tobytes())
        for first in np.unique(self._shard, return_index=True)[1].tolist():
            digest.update(self._read(first))
        return digest.hexdigest()[:16]

    def key(self, i: int) -> str:
        """The key of example i."""
        return str(self._keys[i])

    def read(self, i: int) -> Example:
        """Example i, whole. Errors: InputError for a damaged shard"""
        try:
            return _parse(self.key(i), self._read(i))
        except (tarfile.TarError, ValueError, KeyError) as error:
            raise InputError(
                f"{self.paths[int(self._shard[i])]}: example {self.key(i)} cannot be read ({error})",
                fix="tokenize this shard again",
            ) from error

    def _read(self, i: int) -> bytes:
        shard, entry = int(self._shard[i]), self._entries[i]
        if shard not in self._files:
            self._files[shard] = os.open(self.paths[shard], os.O_RDONLY)
        return os.pread(self._files[shard], int(entry["size"]), int(entry["offset"]))

    def __iter__(self) -> Iterator[Example]:
        return (self.read(i) for i in range(len(self)))


def keys_of(folder: Path) -> set[str]:
    """Keys of all finished shards of a folder, none where there is no folder."""
    return {str(key) for path in sorted(folder.glob("*.tar")) for key in _read_index(path)[1]}


def index_path(shard: Path) -> Path:
    """Where the index of a shard stands: 000000.tar -> 000000.index.npz."""
    return shard.with_suffix(".index.npz")


def _members(example: Example) -> Iterator[tuple[str, bytes]]:
    for name, array in example.arrays.items():
        if not KEY.fullmatch(name):
            raise ValueError(f"an array cannot be named {name!r}")
        buffer = io.BytesIO()
        np.save(buffer, _smallest(array), allow_pickle=False)
        yield f"{name}.npy", buffer.getvalue()
    yield "json", json.dumps({**example.facts, "frames": example.frames}, ensure_ascii=False).encode()


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    """Integers in the smallest type that holds them (audio stays int16)."""
    if array.dtype.kind not in "iu" or array.dtype == np.int16:
        return array
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    for kind in INTEGERS:
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return array.astype(kind)
    return array


def _parse(key: str, data: bytes) -> Example:
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, Fact] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for info in tar:
            owner, _, name = info.name.partition(".")
            member = tar.extractfile(info)
            if owner != key or member is None:
                raise ValueError(f"holds {info.name}")
            if name == "json":
                facts = json.loads(member.read())
            else:
                arrays[name.removesuffix(".npy")] = np.load(io.BytesIO(member.read()), allow_pickle=False)
    return Example(key, int(facts.pop("frames") or 0), arrays, facts)


def _shards(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.tar"))
    if not found:
        raise InputError(f"{folder} holds no shards", fix="make them: metis-train tokenize --out " + str(folder))
    return found


def _read_index(shard: Path) -> tuple[Index, NDArray[Any]]:
    path = index_path(shard)
    try:
        with np.load(path, allow_pickle=False) as stored:
            entries, keys = stored["entries"], stored["keys"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{shard} has no readable index {path.name} ({error})", fix="tokenize it again, or remove the shard"
        ) from error
    if entries.dtype != INDEX or len(entries) != len(keys) or not len(entries):
        raise InputError(f"{path} is no index of this version", fix="tokenize again")
    if int(entries["offset"][-1] + entries["size"][-1]) > shard.stat().st_size:
        raise InputError(f"{shard} is shorter than its index says", fix="copy it again")
    return entries, keys
