"""The audio track of a video file, as a wav in the cache: what a talking-face corpus has for a reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import Audio, encode_wav
from metis_bench.errors import AudioError, missing_extra
from metis_bench.files import write_atomic
from metis_bench.hashing import sha256_file

if TYPE_CHECKING:
    import av

VIDEO_SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg"})


def audio_track(video: Path, cache: Path) -> Path:
    """The first audio track of `video`, mono at its own rate: a file named after the video's content, decoded once.

    Raises AudioError when there is no track or it does not decode, MissingPrerequisite without PyAV (extra `lips`).
    """
    try:
        wav = cache / f"track-{sha256_file(video)}.wav"
    except OSError as error:
        raise AudioError(f"cannot read the video file ({error.strerror})", where=video) from None
    return extract(video, wav)


def extract(video: Path, wav: Path) -> Path:
    """As `audio_track`, into the file `wav`, if that is not there yet."""
    try:
        import av
    except ModuleNotFoundError:
        raise missing_extra("the audio track of a video", "av", "lips") from None
    try:
        if not wav.is_file():
            write_atomic(wav, encode_wav(_decode(video)))
    except av.FFmpegError as error:
        raise AudioError(f"its audio track cannot be decoded ({error.strerror})", where=video) from None
    except OSError as error:
        raise AudioError(f"cannot read the video file ({error.strerror})", where=video) from None
    return wav


def _samples(block: av.AudioFrame) -> NDArray[np.float32]:
    return np.asarray(block.to_ndarray(), dtype=np.float32)


def _decode(video: Path) -> Audio:
    """(T,) float32 of the first audio track: the mean of its channels."""
    import av

    with av.open(str(video)) as container:
        if not container.streams.audio:
            raise AudioError("the video has no audio track", where=video)
        stream = container.streams.audio[0]
        planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        blocks: list[NDArray[np.float32]] = []  # (C, T) each
        for frame in container.decode(stream):
            blocks += [_samples(block) for block in planar.resample(frame)]
        blocks += [_samples(block) for block in planar.resample(None)]
        if not blocks:
            raise AudioError("the audio track of the video holds no samples", where=video)
        return Audio(np.concatenate(blocks, axis=1).mean(axis=0, dtype=np.float32), int(stream.rate))
