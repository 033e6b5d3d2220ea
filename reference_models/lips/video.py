"""Reading talking faces: 25 frames a second, upright, one frame at a time; and their sound at 16 kHz.

A minute of 1080p is 9 GB as RGB, so nothing here holds a whole film: whoever needs it twice decodes it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference_models.config import FEATURE_SAMPLE_RATE
from reference_models.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Frame: TypeAlias = NDArray[np.uint8]  # (H, W, 3) RGB, or (H, W) grey

FPS = 25  # frames a second that the visual encoder was trained on (auto_avsr README)
MAX_SIDE = 4096  # pixels
MAX_SECONDS = 120  # attention over lips is quadratic: 3000 frames take about 3 GB
CUT = "cut it into sentences"
SLACK = 0.5  # seconds a stream may end before its header says, before it counts as truncated


GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as in cv2.cvtColor


def to_grey(frame: NDArray[np.uint8] | NDArray[np.float64]) -> Frame:
    """(H, W, 3) RGB or (H, W) grey, 0 to 255 -> (H, W) uint8."""
    return np.rint(frame @ GREY if frame.ndim == 3 else frame).astype(np.uint8)


@dataclass(frozen=True)
class Video:
    """The picture of a file. Iterating decodes it anew, resampled to `FPS`, as (H, W, 3) uint8 RGB frames.

    `InputError` while iterating: damaged or truncated, no frame at all, or longer than `MAX_SECONDS`.
    """

    path: Path
    height: int  # of upright frames
    width: int

    def __iter__(self) -> Iterator[Frame]:
        with _opened(self.path) as container:
            stream = _picture(self.path, container)
            for frame in resample(_timed(self.path, container, stream)):
                yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90))


def open_video(path: str | Path) -> Video:
    """Open a file and look at its first frame.

    Fails with `InputError`: no such file, no picture, sides above `MAX_SIDE`, a header that says `MAX_SECONDS` or more.
    """
    path = Path(path)
    with _opened(path) as container:
        stream = _picture(path, container)
        seconds, (height, width) = _declared(container, stream), (stream.height, stream.width)
        if max(height, width) > MAX_SIDE:
            raise InputError(f"{path}: {width} x {height} pixels", fix=f"scale it to at most {MAX_SIDE} a side")
        if seconds is not None and seconds > MAX_SECONDS:
            raise InputError(f"{path}: {float(seconds):.0f} s, longer than {MAX_SECONDS} s", fix=CUT)
        _, first = next(_timed(path, container, stream))
    upright = first.rotation % 180 == 0
    return Video(path, first.height if upright else first.width, first.width if upright else first.height)


def resample(timed: Iterable[tuple[Fraction, VideoFrame]], fps: int = FPS) -> Iterator[VideoFrame]:
    """Frames with their times in seconds -> frames at a constant rate, by dropping and repeating.

    As ffmpeg's `fps` filter does with its defaults (libavfilter/vf_fps.c): each time is rounded to the nearest output
    tick (halves up), counted from the first frame; a tick shows the last frame that came at or before it; the last
    frame lasts as long as the one before it. A film that has this rate already passes unchanged.
    """
    shown: VideoFrame | None = None
    start, last, step, tick = Fraction(0), Fraction(0), Fraction(1, fps), 0
    for time, frame in timed:
        if shown is None:
            start = time
        elif time > last:
            step = time - last
        arrival = floor((time - start) * fps + Fraction(1, 2))
        while shown is not None and tick < arrival:
            yield shown
            tick += 1
        shown, last = frame, max(time, last)
    end = floor((last - start + step) * fps + Fraction(1, 2))
    while shown is not None and tick < end:
        yield shown
        tick += 1


def read_audio(path: str | Path) -> NDArray[np.float32] | None:
    """The sound of a file at 16 kHz as (samples,), channels averaged; None when it has no sound."""
    import soxr

    with _opened(Path(path)) as container:
        if not container.streams.audio:
            return None
        from av.audio.resampler import AudioResampler
        from av.error import FFmpegError

        stream = container.streams.audio[0]
        to_float = AudioResampler(format="fltp")  # changes the sample format alone, not rate or channels
        try:
            blocks = [b.to_ndarray() for frame in container.decode(stream) for b in to_float.resample(frame)]
        except FFmpegError as error:
            raise InputError(f"{path}: its sound cannot be decoded ({error.strerror})") from error
        rate = stream.rate
    if not blocks:
        return None
    mono = np.concatenate(blocks, axis=1).mean(axis=0, dtype=np.float32)  # (channels, samples) -> (samples,)
    return mono if rate == FEATURE_SAMPLE_RATE else np.asarray(soxr.resample(mono, rate, FEATURE_SAMPLE_RATE))


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    try:
        import av
    except ImportError as error:
        raise MissingPackage("reading video", "av", "lips") from error
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        container = av.open(path)
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: no video file, or truncated ({error.strerror})") from error
    with container:
        yield container


def _picture(path: Path, container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise InputError(f"{path}: has no picture, only sound", fix="lip-to-speech needs a video of a talking face")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    return stream


def _timed(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Decoded frames with their times in seconds; the checks that only decoding can do."""
    from av.error import FFmpegError

    start, end = None, Fraction(0)
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise InputError(f"{path}: damaged or truncated after {float(end):.2f} s")
            for frame in packet.decode():
                if frame.is_corrupt:  # the decoder paints over what it cannot read
                    raise InputError(f"{path}: damaged after {float(end):.2f} s")
                if frame.pts is None or frame.time_base is None:
                    raise InputError(f"{path}: its frames carry no times", fix="remux it into mp4")
                time = frame.pts * frame.time_base
                start = time if start is None else start
                end = time - start
                if end >= MAX_SECONDS:
                    raise InputError(f"{path}: longer than {MAX_SECONDS} s", fix=CUT)
                yield time, frame
    except FFmpegError as error:
        raise InputError(f"{path}: damaged or truncated after {float(end):.2f} s ({error.strerror})") from error
    if start is None:
        raise InputError(f"{path}: holds no video frame", fix="check that the file plays")
    declared = _declared(container, stream)
    if declared is not None and end < declared - SLACK:
        raise InputError(f"{path}: truncated: its picture ends at {float(end):.2f} s of {float(declared):.2f} s")


def _declared(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds of picture that the header promises, where it does."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    alone = len(container.streams) == 1
    return Fraction(container.duration, 1_000_000) if alone and container.duration is not None else None
