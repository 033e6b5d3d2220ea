"""Decoding, resampling and encoding, done in one place and always explicit about rate, channels and format.

Decoding is libsndfile (wav, flac, mp3, ogg vorbis/opus, NIST sphere), resampling is soxr HQ. Levels are never changed.
"""

from __future__ import annotations

import io
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metis_bench.errors import AudioError
from metis_bench.hashing import JSON

F32 = NDArray[np.float32]

MIN_RATE, MAX_RATE = 8_000, 192_000
CHANNEL_POLICY = "mean"  # mono = mean over channels; part of every generation key through AUDIO_VERSION
AUDIO_VERSION = "1:soxr-hq:mean"  # raise it when decoding or resampling changes a sample


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


@dataclass(frozen=True)
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
        return asdict(self)


def _open_error(path: Path, data: bytes, reason: str) -> AudioError:
    if not data:
        return AudioError("the audio file is empty (0 bytes)", where=path)
    if data[4:8] == b"ftyp":
        return AudioError("MP4/M4A audio is not supported", where=path, fix="convert it: ffmpeg -i IN OUT.wav")
    return AudioError(f"not a decodable audio file ({reason})", where=path)


def _check_riff(path: Path, data: bytes) -> None:
    """libsndfile reads a cut-off wav without a word; a silently shorter file is a wrong number."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])[0]
        if name == b"data":
            present = len(data) - at - 8
            if size > present and size < 0x7FFFF000:  # larger: a stream of unknown length
                raise AudioError(f"truncated wav: header promises {size} bytes of audio, {present} are there", where=path)
            return
        at += 8 + size + (size & 1)


def decode(data: bytes, path: Path) -> tuple[F32, AudioInfo]:
    """Samples (T, C) float32 and header of an audio file's bytes. `path` only names it in errors.

    Raises AudioError when it is empty, truncated, not audio, holds NaN/Inf, or has an absurd rate.
    """
    import soundfile

    _check_riff(path, data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            info = AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)
            samples = file.read(dtype="float32", always_2d=True)
    except (RuntimeError, TypeError, ValueError) as error:  # LibsndfileError is a RuntimeError
        raise _open_error(path, data, str(error).rstrip(".")) from None
    if not MIN_RATE <= info.rate <= MAX_RATE:
        raise AudioError(f"sample rate {info.rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz", where=path)
    if len(samples) == 0:
        raise AudioError("the audio file holds no samples", where=path)
    if info.frames != len(samples) and info.container not in {"MP3", "OGG"}:  # their headers only estimate
        raise AudioError(f"truncated: header promises {info.frames} frames, {len(samples)} decode", where=path)
    if not np.isfinite(samples).all():
        raise AudioError("the audio holds NaN or infinite samples", where=path)
    return samples, AudioInfo(info.rate, info.channels, len(samples), info.container, info.subtype)


def read_bytes(path: Path) -> bytes:
    """The bytes of an audio file. Raises AudioError when it is missing or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise AudioError(f"cannot read the audio file ({error.strerror})", where=path) from None


def probe(path: Path) -> AudioInfo:
    """Header only (fast). Raises AudioError."""
    import soundfile

    try:
        info = soundfile.info(str(path))
    except (RuntimeError, TypeError, ValueError) as error:
        raise _open_error(path, read_bytes(path)[:12], str(error).rstrip(".")) from None
    return AudioInfo(info.samplerate, info.channels, info.frames, info.format, info.subtype)


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
