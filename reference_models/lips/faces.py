"""Landmark detectors whose models come inside a Python wheel: nothing is downloaded.

A detector maps one RGB frame to 4 points or None (no face): the eye on the left of the picture, the one on the right,
tip of the nose, middle of the mouth, as (x, y) in pixels. The largest face counts. Any such function will do.

    haar       opencv-python-headless < 5 (version 5 no longer carries the cascades). Python 3.10 to 3.13.
    mediapipe  mediapipe <= 0.10.21 (later wheels carry no models): Python <= 3.12, numpy < 2. What Auto-AVSR uses.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import MetisError, MissingPackage
from reference_models.lips.video import Frame, to_grey

if TYPE_CHECKING:
    from cv2 import CascadeClassifier

Points: TypeAlias = NDArray[np.float64]  # (4, 2): x, y of left eye, right eye, nose, mouth (left as seen)
Detector: TypeAlias = Callable[[Frame], Points | None]
DetectorName: TypeAlias = Literal["haar", "mediapipe"]

DETECTION_SIDE = 640  # pixels; larger frames are shrunk for detection only
SMALLEST_FACE = 6  # a face takes at least a sixth of the frame's height
# Where mediapipe sees eyes, nose and mouth, averaged over five speakers of GRID and one 512 x 512 talking face:
# from the middle between the eye cascade's hits, in distances between them along and across the line of the eyes
FROM_EYES = np.array([[-0.5, 0.056], [0.5, 0.056], [0.0, 0.616], [0.0, 1.126]])
# and from the middle of the face cascade's square, in its sides.
FROM_FACE = np.array([[-0.181, -0.089], [0.181, -0.089], [0.0, 0.116], [0.0, 0.303]])


def make_detector(which: DetectorName | Detector) -> Detector:
    """A detector by name; any other function is one already."""
    if which == "haar":
        return haar_detector()
    return mediapipe_detector() if which == "mediapipe" else which


def haar_detector() -> Detector:
    """Viola-Jones cascades for the face and, in its upper half, both eyes; nose and mouth follow from these.

    Needs a near frontal face of a sixth of the picture. About 15 ms a frame of 360 x 288, 34 ms of 512 x 512 on one
    core. On those six clips the mouth region lies within 4 of 96 pixels along either axis (mean of a clip) and 5 % in
    size of what mediapipe gives; the encoder was trained on regions shifted at random by up to 4 pixels.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingPackage("finding faces", "opencv-python-headless", "lips") from error
    face, eye = (_cascade(name) for name in ("frontalface_alt2", "eye"))

    def detect(frame: Frame) -> Points | None:
        shrink = min(1.0, DETECTION_SIDE / max(frame.shape[:2]))
        small = cv2.resize(frame, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else frame
        grey = to_grey(np.asarray(small, dtype=np.uint8))
        smallest = grey.shape[0] // SMALLEST_FACE
        faces = face.detectMultiScale(grey, 1.1, 4, minSize=(smallest, smallest))
        if len(faces) == 0:
            return None
        side, x, y = max((int(w), int(x), int(y)) for x, y, w, _ in faces)
        top, bottom, middle = y + side // 5, y + side * 11 // 20, x + side // 2
        left = _best(eye, grey[top:bottom, x:middle], side // 6)
        right = _best(eye, grey[top:bottom, middle : x + side], side // 6)
        if left is None or right is None:
            return None
        centre = np.array([x + side / 2, y + side / 2])
        points: Points = face_points(left + np.array([x, top]), right + np.array([middle, top]), centre, side) / shrink
        return points

    return detect


def face_points(
    left: NDArray[np.float64], right: NDArray[np.float64], centre: NDArray[np.float64], side: float
) -> Points:
    """An average frontal face, given hits of the cascades: halfway between what the eyes say and what the square says.

    left, right, centre: (2,) eyes and middle of the face in pixels; side of its square -> (4, 2).
    """
    along = right - left
    turn = np.array([along, [-along[1], along[0]]])  # rows: along the line of the eyes, and down
    from_eyes = FROM_EYES @ turn + (left + right) / 2
    from_face = FROM_FACE @ turn * (side / np.hypot(*along)) + centre
    points: Points = (from_eyes + from_face) / 2
    return points


def mediapipe_detector() -> Detector:
    """Auto-AVSR's detector: BlazeFace for faces at up to 5 m, key points rounded down to whole pixels as it does.

    `auto_avsr:preparation/detectors/mediapipe/detector.py`; it takes the last of several faces, we the largest, and it
    turns to a model for near faces when no frame of a film shows one, we do not.
    About 6 ms a frame.
    """
    try:
        solution = import_module("mediapipe.python.solutions.face_detection")
    except ImportError as error:
        raise MetisError(
            "this face detector needs mediapipe 0.10.21 or earlier, the last that carries its models",
            fix='pip install "mediapipe<=0.10.21"  (Python <= 3.12, numpy < 2), or take the haar detector',
        ) from error
    faces = solution.FaceDetection(min_detection_confidence=0.5, model_selection=1)

    def detect(frame: Frame) -> Points | None:
        rgb = np.ascontiguousarray(frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=-1))
        found = [detection.location_data for detection in faces.process(rgb).detections or ()]
        if not found:
            return None
        largest = max(found, key=lambda f: f.relative_bounding_box.width * f.relative_bounding_box.height)
        height, width = rgb.shape[:2]
        points = [(int(p.x * width), int(p.y * height)) for p in largest.relative_keypoints[:4]]
        return np.array(points, dtype=np.float64)

    return detect


def _cascade(name: str) -> CascadeClassifier:
    import cv2

    path = Path(cv2.__file__).parent / "data" / f"haarcascade_{name}.xml"
    if not path.is_file():
        raise MetisError(
            f"OpenCV {cv2.__version__} does not carry {path.name}", fix='pip install "opencv-python-headless>=4.9,<5"'
        )
    return cv2.CascadeClassifier(str(path))


def _best(cascade: CascadeClassifier, grey: Frame, smallest: int) -> NDArray[np.float64] | None:
    """Centre (x, y) of the most certain hit; ties go by position, since OpenCV's threads return hits in any order."""
    boxes, _, certainty = cascade.detectMultiScale3(
        grey, scaleFactor=1.05, minNeighbors=3, minSize=(smallest, smallest), outputRejectLevels=True
    )
    hits = [(float(c), *map(int, box)) for c, box in zip(np.ravel(certainty), boxes, strict=True)]
    if not hits:
        return None
    _, x, y, width, height = max(hits)
    return np.array([x + width / 2, y + height / 2])
