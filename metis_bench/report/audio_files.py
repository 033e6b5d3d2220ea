"""The report's audio folder: every file once, hard-linked where possible, converted where browsers cannot play it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from metis_bench import audio
from metis_bench.errors import MetisBenchError
from metis_bench.hashing import sha256_file
from metis_bench.report.data import InputAudio, OutputAudio

# (container, subtype) as libsndfile names them that Chromium, Firefox and Safari all play; everything else is decoded
_PCM = {"PCM_U8", "PCM_16", "PCM_24", "FLOAT"}
EXTENSIONS = {"WAV": ".wav", "WAVEX": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg"}
PLAYABLE = {
    "WAV": _PCM,
    "WAVEX": _PCM,
    "FLAC": {"PCM_S8", "PCM_16", "PCM_24"},
    "MP3": {"MPEG_LAYER_III"},
    "OGG": {"VORBIS", "OPUS"},
}


@dataclass(frozen=True)
class Player:
    """One audio element: a relative `url`, or the `note` to show in its place. `seconds` is the duration if known."""

    url: str | None
    note: str | None = None
    seconds: float | None = None
    rate: int | None = None


class AudioFolder:
    """Collects audio under `folder` (`<sha256><extension>`); `stored(sha256)` finds a generated output."""

    def __init__(self, folder: Path, stored: Callable[[str], Path]) -> None:
        folder.mkdir()
        self._folder = folder
        self._stored = stored
        self._known: dict[str, tuple[str | None, str | None]] = {}  # sha256 -> (url, note)

    def output(self, clip: OutputAudio) -> Player:
        """A generated output. Never raises: a file that is gone becomes a note."""
        url, note = self._once(clip.sha256, lambda: self._stored(clip.sha256))
        return Player(url, note, clip.seconds, clip.rate)

    def input(self, clip: InputAudio) -> Player:
        """A prompt, source or reference. Never raises; a file that changed since the run becomes a note."""
        if clip.error is not None or clip.sha256 is None:
            return Player(None, clip.error or "not read by the run")
        url, note = self._once(clip.sha256, lambda: _unchanged(Path(clip.path), str(clip.sha256)))
        return Player(url, note, clip.seconds, clip.rate)

    def _once(self, sha256: str, find: Callable[[], Path]) -> tuple[str | None, str | None]:
        if sha256 not in self._known:
            try:
                self._known[sha256] = (self._place(find().resolve(strict=True), sha256), None)
            except (MetisBenchError, OSError, LookupError) as error:
                reason = error.message if isinstance(error, MetisBenchError) else getattr(error, "strerror", None)
                self._known[sha256] = (None, f"audio not available ({reason or 'not in the store'})")
        return self._known[sha256]

    def _place(self, path: Path, sha256: str) -> str:
        """Link, copy or convert `path`; the URL relative to the pages."""
        if not (len(sha256) == 64 and set(sha256) <= set("0123456789abcdef")):  # it becomes a file name
            raise MetisBenchError("its sha256 is malformed")
        info = audio.probe(path)
        if info.subtype in PLAYABLE.get(info.container, set()):
            name = sha256 + EXTENSIONS[info.container]
            _link(path, self._folder / name)
        else:
            name = sha256 + ".wav"
            (self._folder / name).write_bytes(audio.encode_wav(audio.load(path)))
        return f"{self._folder.name}/{name}"


def _unchanged(path: Path, sha256: str) -> Path:
    if sha256_file(path) != sha256:
        raise MetisBenchError("the file changed since the run")
    return path


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
