"""Audio files as metrics see them: decoded once, checked against the hash they are known by."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path

from metis_bench.audio import Audio, decode, read_bytes, to_mono
from metis_bench.engine.store import Store
from metis_bench.errors import AudioError
from metis_bench.hashing import sha256_bytes
from metis_bench.metrics.base import Clip

CLIPS_KEPT = 8  # decoded clips a worker remembers: the metrics of one row come one after another


class Clips:
    """Lives in a worker."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.kept: OrderedDict[tuple[str, int | None], Audio] = OrderedDict()

    def clip(self, path: str | None, sha256: str) -> Clip:
        """A clip that is read when it is asked for. path: None for an output in the store."""
        return Clip(sha256, partial(self._load, path, sha256))

    def _load(self, path: str | None, sha256: str, rate: int | None) -> Audio:
        """Decode once, resample once a rate; the bytes must be those that were hashed."""
        if (sha256, rate) not in self.kept:
            if rate is None:
                where = Path(self.store.audio_place(sha256) if path is None else path)
                samples, info = decode(self._read(path, sha256), where)
                audio = Audio(to_mono(samples), info.rate)
            else:
                audio = self._load(path, sha256, None).resampled(rate)
            self.kept[sha256, rate] = audio
            while len(self.kept) > CLIPS_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end((sha256, rate))
        return self.kept[sha256, rate]

    def _read(self, path: str | None, sha256: str) -> bytes:
        """An output damaged in the store is removed, so that the next run makes it anew; an input is the user's."""
        if path is None:
            return self.store.read_audio(sha256)
        data = read_bytes(Path(path))
        if sha256_bytes(data) != sha256:
            raise AudioError("the file's content changed since it was hashed", where=path)
        return data
