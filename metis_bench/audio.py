"""Decoding, resampling and encoding, done in one place and always explicit about rate, channels and format.

Decoding is libsndfile (wav, flac, mp3, ogg vorbis/opus, NIST sphere), resampling is soxr HQ. Levels are never changed.
What a file promises is checked against what is there before and after decoding (see `metis_bench.containers`).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metis_bench.errors import AudioError
from metis_bench.hashing import JSON
from reference_models.containers import inspect
from reference_models.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

F32 = NDArray[np.float32]

MIN_RATE, MAX_RATE = 8_000, 192_000
CONTAINERS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "MP3", "OGG", "NIST"})  # libsndfile's names of what is checked
GIT_LFS = b"version https://git-lfs"  # a file that starts with this is a pointer: `git lfs pull` gets the audio
AUDIO_VERSION = "1:soxr-hq:mean"  # mono is the channels' mean; part of every key: raise it when a sample changes


@dataclass(frozen=True)
class Audio:
    """Mono speech: `samples` is (T,) float32, nominally in [-1, 1]; `rate` in Hz."""

    samples: F32
    rate: int

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate

    def resampled(self, rate: int) -> Audio:
        """This audio at `rate` Hz (soxr HQ); itself when the rate is already right."""
        return self if rate == self.rate else Audio(resample(self.samples, self.rate, rate), rate)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header says, recorded in the plan."""

    rate: int
    channels: int
    frames: int
    container: str  # WAV, FLAC, MP3, OGG, NIST
    subtype: str  # PCM_16, PCM_24, FLOAT, VORBIS, ...

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.rate

    def to_json(self) -> dict[str, JSON]:
        """A plain dict."""
        return {f: getattr(self, f) for f in ("rate", "channels", "frames", "container", "subtype")}


def _open_error(path: Path, data: bytes, reason: str) -> AudioError:
    if not data:
        return AudioError("the audio file is empty (0 bytes)", where=path)
    if data[4:8] == b"ftyp":
        return AudioError("MP4/M4A audio is not supported", where=path, fix="convert it: ffmpeg -i IN OUT.wav")
    if data.startswith(GIT_LFS):
        return AudioError("a git-lfs pointer, not audio", where=path, fix="git lfs pull")
    return AudioError(f"not a decodable audio file ({reason})", where=path)


def _header(file: SoundFile, frames: int | None, path: Path) -> AudioInfo:
    """The header of an open file. `frames`: the true count where libsndfile only estimates it."""
    frames = file.frames if frames is None else frames
    info = AudioInfo(file.samplerate, file.channels, frames, file.format, file.subtype)
    if info.container not in CONTAINERS:
        fix = "convert it: ffmpeg -i IN OUT.wav"
        raise AudioError(
            f"{info.container} audio is not supported ({', '.join(sorted(CONTAINERS))})", where=path, fix=fix
        )
    if not MIN_RATE <= info.rate <= MAX_RATE:
        raise AudioError(f"sample rate {info.rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz", where=path)
    if info.frames >= 1 << 62:
        raise AudioError("its header does not say how long it is (written to a pipe?)", where=path, fix="re-encode it")
    if info.frames <= 0:
        raise AudioError("the audio file holds no samples", where=path)
    return info


class _Buffer(io.BytesIO):
    """Bytes whose damaged headers cannot make libsndfile's seek callback print a traceback."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As in BytesIO, but a place before the start leaves the position alone."""
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


@contextmanager
def _opened(data: bytes, path: Path) -> Iterator[tuple[SoundFile, AudioInfo]]:
    """libsndfile's view of checked bytes; whatever it objects to, here or while reading, becomes an AudioError."""
    import soundfile

    try:
        content, frames = inspect(data)
    except InputError as error:
        raise AudioError(error.message, where=path, fix=error.fix) from None
    try:
        with soundfile.SoundFile(_Buffer(content)) as file:
            yield file, _header(file, frames, path)
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:  # LibsndfileError is a RuntimeError
        reason = str(getattr(error, "error_string", error))  # its text alone, without the address of our buffer
        raise _open_error(path, data, reason.rstrip(".")) from None


def decode(data: bytes, path: Path) -> tuple[F32, AudioInfo]:
    """Samples (T, C) float32 and header of an audio file's bytes. `path` only names it in errors.

    Raises AudioError when it is empty, truncated, not audio, holds NaN/Inf, or has an absurd rate.
    """
    with _opened(data, path) as (file, info):
        samples: F32 = file.read(info.frames, dtype="float32", always_2d=True)
    if info.frames != len(samples):
        raise AudioError(f"truncated: header promises {info.frames} samples, {len(samples)} decode", where=path)
    if not np.isfinite(samples).all():
        raise AudioError("the audio holds NaN or infinite samples", where=path)
    return samples, info


def read_bytes(path: Path) -> bytes:
    """The bytes of an audio file. Raises AudioError when it is missing, unreadable or not a regular file."""
    try:
        if not path.is_file() and path.exists():  # a named pipe would block for ever
            raise AudioError("not a file", where=path)
        return path.read_bytes()
    except OSError as error:
        raise AudioError(f"cannot read the audio file ({error.strerror})", where=path) from None
    except ValueError as error:  # a NUL in the path
        raise AudioError(f"cannot read the audio file ({error})", where=repr(str(path))) from None


def probe(path: Path) -> AudioInfo:
    """The header, without decoding; container damage is found, damage inside the audio is not. Raises AudioError."""
    with _opened(read_bytes(path), path) as (_, info):
        return info


def to_mono(samples: F32) -> F32:
    """(T, C) to (T,): the mean over channels."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)


def load(path: Path, rate: int | None = None) -> Audio:
    """Decode `path` to mono at its own rate, or at `rate` Hz. Raises AudioError."""
    samples, info = decode(read_bytes(path), path)
    audio = Audio(to_mono(samples), info.rate)
    return audio if rate is None else audio.resampled(rate)


def resample(samples: F32, from_rate: int, to_rate: int) -> F32:
    """(T,) at `from_rate` to (T',) at `to_rate` Hz, soxr HQ."""
    import soxr

    return np.asarray(soxr.resample(samples, from_rate, to_rate, quality="HQ"), dtype=np.float32)


def encode_wav(audio: Audio) -> bytes:
    """Lossless and deterministic wav bytes: PCM16 where every sample is a 16-bit value, float32 otherwise.

    libsndfile would stamp the time into a float wav's PEAK chunk; the same audio must always be the same bytes.
    """
    from scipy.io import wavfile

    scaled = audio.samples.astype(np.float64) * 32768.0
    fits = bool(np.all(scaled == np.round(scaled)) and np.all((scaled >= -32768) & (scaled <= 32767)))
    buffer = io.BytesIO()
    wavfile.write(buffer, audio.rate, scaled.astype(np.int16) if fits else audio.samples.astype(np.float32))
    return buffer.getvalue()
