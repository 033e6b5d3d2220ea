"""Content hashes: the only identity anything has in the store."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: JSON) -> str:
    """One string per value: sorted keys, no spaces, NaN refused (ValueError)."""
    return _CANONICAL.encode(value)


def sha256_json(value: JSON) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return sha256_bytes(canonical_json(value).encode())


def sha256_list(values: Iterable[JSON]) -> str:
    """`sha256_json` of a list that never is in memory."""
    digest, before = hashlib.sha256(b"["), ""
    for value in values:
        digest.update((before + canonical_json(value)).encode())
        before = ","
    digest.update(b"]")
    return digest.hexdigest()


def sha256_bytes(data: bytes) -> str:
    """sha256 (hex) of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in blocks. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def kept_sha256(path: Path) -> str:
    """Of a file of gigabytes: read once a process as long as its size and time of change stay the same."""
    stat = path.stat()
    return _kept(str(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _kept(path: str, size: int, changed: int) -> str:
    del size, changed  # part of the cache's key
    return sha256_file(Path(path))


def sha256_path(path: Path) -> str:
    """sha256 (hex) of a file, or of a folder's relative names and bytes (a checkpoint may be either)."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return sha256_json([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])
    return sha256_file(path)
