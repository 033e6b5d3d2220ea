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

    def clip(self, path: str, sha256: str) -> Clip:
        """A clip that is read when it is asked for."""
        return Clip(sha256, partial(self._load, path, sha256))

    def _load(self, path: str, sha256: str, rate: int | None) -> Audio:
        """Decode once, resample once a rate; the bytes must be those that were hashed."""
        if (sha256, rate) not in self.kept:
            if rate is None:
                data = read_bytes(Path(path))
                if sha256_bytes(data) != sha256:
                    raise AudioError(self._altered(Path(path), sha256), where=path)
                samples, info = decode(data, Path(path))
                audio = Audio(to_mono(samples), info.rate)
            else:
                audio = self._load(path, sha256, None).resampled(rate)
            self.kept[sha256, rate] = audio
            while len(self.kept) > CLIPS_KEPT:
                self.kept.popitem(last=False)
        self.kept.move_to_end((sha256, rate))
        return self.kept[sha256, rate]

    def _altered(self, path: Path, sha256: str) -> str:
        """An output damaged in the store is removed, so that the next run makes it anew; an input is the user's."""
        if path == self.store.audio_path(sha256):
            path.unlink(missing_ok=True)
            return "the stored output was altered on disk; it is removed, run again to make it anew"
        return "the file's content changed since it was hashed"
