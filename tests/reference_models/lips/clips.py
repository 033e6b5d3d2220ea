"""Small videos made for the tests."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_video(
    path: Path, frames: NDArray[np.uint8], fps: int = 25, options: dict[str, str] | None = None, audio: bool = False
) -> Path:
    """(T, H, W, 3) -> a file of MPEG-4 pictures, with a second of silence before its end if `audio`."""
    import av

    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 8_000_000
        sound = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 16_000
            container.mux(sound.encode(silence))
            container.mux(sound.encode())
    return path


def grey_ramp(count: int, side: int = 64) -> NDArray[np.uint8]:
    """Flat frames, each 4 levels brighter than the last, so that a decoded one tells its number."""
    level = 10 + 4 * np.arange(count, dtype=np.uint8)
    return np.broadcast_to(level[:, None, None, None], (count, side, side, 3)).copy()


def numbers(frames: list[NDArray[np.uint8]]) -> list[int]:
    """Which frames of `grey_ramp` these are."""
    return [round((float(frame.mean()) - 10) / 4) for frame in frames]


def turn(path: Path) -> None:
    """Mark an mp4 as held sideways: its header asks players to turn it by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.find(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
