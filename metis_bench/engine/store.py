"""The content-addressed store: audio by its own hash; generations, features and scores by the hash of their causes.

    STORE/audio/ab/<sha256>.wav          STORE/generation/ab/<key>.json
    STORE/feature/ab/<key>.json          STORE/score/ab/<key>.json            STORE/timing/ab/<key>.json

STORE is a folder (of this machine, or shared by several) or a URL that fsspec knows. Nothing is ever seen half written,
on any of them, and two writers of one key write the same content. Reading a damaged record is reading none (it is
redone). There is no index: what is there is what the files say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from metis_bench.config import home
from metis_bench.errors import AudioError
from metis_bench.hashing import JSON, sha256_bytes
from metis_bench.places import Place, open_place

Space: TypeAlias = Literal["generation", "feature", "score", "timing"]
T = TypeVar("T")

AHEAD = 1000  # records that are read at once
ALTERED = "the stored output was altered on disk; it is removed, run again to make it anew"


@dataclass(frozen=True, slots=True)
class Made:
    """A generation as the rest of the engine sees it: the wav (`size` in bytes), and what making it cost.

    wall_s: its share of its batch's time; latency_s: of all of the batch, for which it waited
    hardware: the same object for all that were made under the same conditions
    """

    sha256: str
    size: int
    rate: int
    seconds: float
    over_full_scale: int
    wall_s: float
    latency_s: float
    peak_mb: float
    hardware: Mapping[str, JSON]

    @staticmethod
    def read(record: Mapping[str, Any], known: dict[str, Mapping[str, JSON]]) -> Made | None:
        """From a record; None when it lacks something. known: conditions that others were made under."""
        try:
            sound, hardware = record["audio"], record["hardware"]
            shared = known.setdefault(str(hardware), hardware)
            facts = (sound["bytes"], sound["rate"], sound["seconds"], sound["over_full_scale"])
            costs = (record["wall_s"], record["latency_s"], record["peak_mb"])
            return Made(str(sound["sha256"]), *facts, *costs, shared)
        except (KeyError, TypeError):
            return None

    def to_json(self) -> dict[str, JSON]:
        """The record."""
        sound: dict[str, JSON] = {"bytes": self.size, "rate": self.rate, "seconds": self.seconds}
        sound.update(over_full_scale=self.over_full_scale, sha256=self.sha256)
        costs: dict[str, JSON] = {"wall_s": self.wall_s, "latency_s": self.latency_s, "peak_mb": self.peak_mb}
        return {"audio": sound, **costs, "hardware": self.hardware}


class Store:
    """Records and audio in one place (may be shared by machines)."""

    def __init__(self, root: Place) -> None:
        """Raises MissingPrerequisite and UsageError as `open_place`."""
        self.root = root
        self.files = open_place(root, home() / "fetched")
        self._ahead: dict[tuple[Space, str], dict[str, Any] | None] = {}
        self._hardware: dict[str, Mapping[str, JSON]] = {}

    def get(self, space: Space, key: str) -> dict[str, Any] | None:
        """The record of `key`, or None when absent or damaged."""
        if (space, key) in self._ahead:
            return self._ahead[space, key]
        return _parsed(self.files.read(_record(space, key)))

    def put(self, space: Space, key: str, record: Mapping[str, JSON]) -> None:
        """Keep a record. Raises OSError; NaN is refused (ValueError)."""
        data = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        self.files.write(_record(space, key), data)
        self._ahead.pop((space, key), None)

    def get_all(self, space: Space, keys: Iterable[str]) -> Iterator[dict[str, Any] | None]:
        """As `get`, in the order of the keys, many at once."""
        for some in chunks(keys, AHEAD):
            yield from map(_parsed, self.files.read_all([_record(space, key) for key in some]))

    @contextmanager
    def ahead(self, space: Space, keys: Iterable[str]) -> Iterator[None]:
        """Read these at once: meanwhile `get` of one of them asks nobody."""
        wanted = list(dict.fromkeys(keys))
        found = {(space, key): record for key, record in zip(wanted, self.get_all(space, wanted), strict=True)}
        self._ahead.update(found)
        try:
            yield
        finally:
            for each in found:
                self._ahead.pop(each, None)

    def put_audio(self, data: bytes) -> str:
        """Keep wav bytes; returns their sha256. Raises OSError."""
        sha256 = sha256_bytes(data)
        if self.files.size(_audio(sha256)) != len(data):
            self.files.write(_audio(sha256), data)
        return sha256

    def audio_path(self, sha256: str) -> Path:
        """A file of this machine with the wav of this content hash; it need not exist."""
        return self.files.local(_audio(sha256))

    def audio_place(self, sha256: str) -> str:
        """Where it lies, for people."""
        return self.files.where(_audio(sha256))

    def read_audio(self, sha256: str) -> bytes:
        """Checked wav bytes. Raises AudioError when they are gone, or altered: then they are removed."""
        for _ in range(2):  # a copy on this machine may be what was altered
            try:
                data = self.audio_path(sha256).read_bytes()
            except OSError as error:
                where = self.audio_place(sha256)
                raise AudioError(f"cannot read the stored output ({error.strerror})", where=where) from None
            if sha256_bytes(data) == sha256:
                return data
            self.files.forget(_audio(sha256))
        self.files.remove(_audio(sha256))
        raise AudioError(ALTERED, where=self.audio_place(sha256))

    def generation(self, key: str) -> Made | None:
        """What was made under this key, if its audio is really there in full length."""
        return next(self.generations([key]))

    def generations(self, keys: Iterable[str]) -> Iterator[Made | None]:
        """As `generation`, in the order of the keys, many at once."""
        for some in chunks(keys, AHEAD):
            records = self.files.read_all([_record("generation", key) for key in some])
            read = (None if (found := _parsed(data)) is None else Made.read(found, self._hardware) for data in records)
            made = list(read)
            sizes = iter(self.files.sizes([_audio(one.sha256) for one in made if one is not None]))
            yield from (None if one is None or next(sizes) != one.size else one for one in made)


def _record(space: Space, key: str) -> str:
    return f"{space}/{key[:2]}/{key}.json"


def _audio(sha256: str) -> str:
    return f"audio/{sha256[:2]}/{sha256}.wav"


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        record = json.loads(data)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def chunks(items: Iterable[T], size: int) -> Iterator[Sequence[T]]:
    """Lists of up to `size` of them."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
