"""The content-addressed store: audio by its own hash; generations, features and scores by the hash of their causes.

    STORE/audio/ab/<sha256>.wav          STORE/generation/ab/<key>.json
    STORE/feature/ab/<key>.json          STORE/score/ab/<key>.json            STORE/timing/ab/<key>.json

Every write goes to a temporary file first and is renamed: a reader sees all of a record or nothing, on any POSIX file
system, and two writers of one key write the same content. Reading a damaged record is reading none (it is redone).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from metis_bench.files import write_atomic
from metis_bench.hashing import JSON, sha256_bytes

Space: TypeAlias = Literal["generation", "feature", "score", "timing"]


GENERATION_KEYS = {"audio", "wall_s", "peak_mb", "hardware"}


class Store:
    """Records and audio under one root folder (may be shared by machines)."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _record(self, space: Space, key: str) -> Path:
        return self.root / space / key[:2] / f"{key}.json"

    def get(self, space: Space, key: str) -> dict[str, Any] | None:
        """The record of `key`, or None when absent or damaged."""
        try:
            record = json.loads(self._record(space, key).read_bytes())
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def put(self, space: Space, key: str, record: Mapping[str, JSON]) -> None:
        """Keep a record. NaN is refused (ValueError)."""
        data = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        write_atomic(self._record(space, key), data)

    def audio_path(self, sha256: str) -> Path:
        """Where the wav with this content hash lies."""
        return self.root / "audio" / sha256[:2] / f"{sha256}.wav"

    def put_audio(self, data: bytes) -> str:
        """Keep wav bytes; returns their sha256."""
        sha256 = sha256_bytes(data)
        path = self.audio_path(sha256)
        if not (path.exists() and path.stat().st_size == len(data)):
            write_atomic(path, data)
        return sha256

    def generation(self, key: str) -> dict[str, Any] | None:
        """A generation record whose audio is really there in full length; None otherwise."""
        record = self.get("generation", key)
        if record is None:
            return None
        try:
            size = self.audio_path(record["audio"]["sha256"]).stat().st_size
            return record if size == record["audio"]["bytes"] and set(record) >= GENERATION_KEYS else None
        except (OSError, KeyError, TypeError):
            return None
