"""The mouth region: every face is turned and scaled onto an average one, then 96 x 96 pixels around the mouth are cut.

As Auto-AVSR prepares its data (`auto_avsr:preparation/detectors/mediapipe/video_process.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError
from reference_models.lips.faces import Detector, DetectorName, Points, make_detector
from reference_models.lips.video import Frame, Video, to_grey

Frames: TypeAlias = Video | Sequence[Frame] | NDArray[np.uint8]  # 25 a second; can be iterated more than once

CROP = 96  # side of a mouth region
INPUT = 88  # side of what the encoder sees: the middle of it
CROPPED_SIDES = (CROP, INPUT)  # square frames of these sides are taken for mouth regions already
WINDOW = 12  # frames over which landmarks are smoothed

# Eyes, nose and mouth of the average face in its 256 x 256 picture: means over points 36-41, 42-47, 31-35 and 48-67 of
# the 68 in auto_avsr:preparation/detectors/mediapipe/20words_mean_face.npy (Apache-2.0).
AVERAGE_FACE = np.array([[102.0739, 94.2723], [156.3613, 93.5782], [129.0037, 135.9034], [129.3134, 157.8230]])


def mouth_regions(
    video: Frames, detector: DetectorName | Detector = "haar", cropped: bool | None = None
) -> NDArray[np.uint8]:
    """Frames at 25 a second -> grey mouth regions (T, 96, 96), or (T, 88, 88) if the video holds such.

    video: (H, W, 3) RGB or (H, W) grey uint8 frames; iterated twice (faces first, then regions), nothing is kept.
    cropped: the frames are mouth regions already; None: they are if they are square with a side of 96 or 88.
    Fails with `InputError`: no frames, no face in any frame, or `cropped` with another size.
    """
    first = next(iter(video), None)
    if first is None:
        raise InputError("the video has no frames")
    if first.dtype != np.uint8 or first.ndim not in (2, 3) or first.shape[2:] not in ((), (3,)):
        raise InputError(f"video frames must be uint8 (H, W, 3) or (H, W), not {first.dtype} {first.shape}")
    is_crop = first.shape[0] == first.shape[1] and first.shape[0] in CROPPED_SIDES
    if cropped and not is_crop:
        raise InputError(
            f"a cropped mouth region is 96 x 96 or 88 x 88 pixels, not {first.shape[1]} x {first.shape[0]}"
        )
    if cropped or (cropped is None and is_crop):
        return np.stack([to_grey(frame) for frame in video])
    find = make_detector(detector)
    points = smooth(fill_gaps([find(frame) for frame in video]))
    return np.stack([cut_mouth(frame, p) for frame, p in zip(video, points, strict=True)])


def read_regions(path: Path) -> NDArray[np.uint8]:
    """A `.npy` file of grey mouth regions, 25 a second -> (T, 96, 96) or (T, 88, 88).

    Fails with `InputError`: unreadable, holding Python objects, or another shape or type.
    """
    try:
        regions: NDArray[np.uint8] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no array of mouth regions ({str(error).splitlines()[0]})") from error
    if not isinstance(regions, np.ndarray):
        raise InputError(f"{path}: an archive of arrays, not one of mouth regions", fix="np.save(path, regions)")
    sides = regions.shape[1:]
    if regions.ndim != 3 or len(regions) == 0 or sides[0] != sides[1] or sides[0] not in CROPPED_SIDES:
        raise InputError(
            f"{path}: mouth regions are (frames, 96, 96) or (frames, 88, 88), not {regions.shape}",
            fix="give a whole face as a video file",
        )
    if regions.dtype != np.uint8:
        raise InputError(f"{path}: mouth regions are grey levels 0..255 as uint8, not {regions.dtype}")
    return regions


def fill_gaps(points: Sequence[Points | None]) -> NDArray[np.float64]:
    """Landmarks of frames without a face: on the line between their neighbours', or the nearest at the ends.

    T times (4, 2) or None -> (T, 4, 2). Fails with `InputError` if there is no face at all.
    """
    seen = [i for i, p in enumerate(points) if p is not None]
    if not seen:
        raise InputError(
            f"no face in any of {len(points)} frames", fix="use a near frontal face, or give the 96 x 96 mouth region"
        )
    known = np.stack([p for p in points if p is not None]).reshape(len(seen), -1)  # (seen, 8)
    every = np.arange(len(points))
    return np.stack([np.interp(every, seen, column) for column in known.T], axis=1).reshape(len(points), -1, 2)


def smooth(points: NDArray[np.float64], window: int = WINDOW) -> NDArray[np.float64]:
    """Average the shape of a face over `window` + 1 frames around each, (T, 4, 2) -> (T, 4, 2); its place is kept.

    The window shrinks towards both ends.
    """
    smoothed = np.empty_like(points)
    for i, own in enumerate(points):
        margin = min(window // 2, i, len(points) - 1 - i)
        mean = points[i - margin : i + margin + 1].mean(axis=0)
        smoothed[i] = mean + own.mean(axis=0) - mean.mean(axis=0)
    return smoothed


def similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """The rotation, scale and shift that bring (4, 2) points nearest to others, by least squares -> (2, 3).

    In complex numbers w = a z + b is a linear fit. Auto-AVSR asks OpenCV for a least-median fit, which keeps all of
    four points and gives the same matrix.
    """
    z, w = source @ (1, 1j), target @ (1, 1j)
    centred = z - z.mean()
    spread = np.vdot(centred, centred).real
    if spread == 0:
        raise InputError("all landmarks of a face are one point", fix="check the landmark detector")
    a = np.vdot(centred, w - w.mean()) / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def cut_mouth(frame: Frame, points: Points, side: int = CROP) -> NDArray[np.uint8]:
    """Turn and scale a frame onto the average face and cut the square around its mouth -> (side, side) grey."""
    matrix = similarity(points, AVERAGE_FACE)
    x, y = np.rint(matrix @ (*points[3], 1.0)).astype(int) - side // 2  # top left of the square in the average face
    columns, rows = np.meshgrid(np.arange(x, x + side), np.arange(y, y + side))
    back = np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]  # average face -> frame
    return to_grey(bilinear(frame, *np.einsum("ij,jrc->irc", back, np.stack([columns, rows, np.ones_like(rows)]))))


def bilinear(frame: Frame, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a frame (H, W) or (H, W, 3) between its pixels; beyond its edge it is black. x, y: any one shape."""
    height, width = frame.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    value = np.zeros((*x.shape, *frame.shape[2:]))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = left + dx, top + dy
        weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
        weight = weight * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
        pixels = frame[row.clip(0, height - 1), column.clip(0, width - 1)]
        value += pixels * weight.reshape(*x.shape, *(1,) * (frame.ndim - 2))
    return value
