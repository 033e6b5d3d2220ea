from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from reference_models.errors import MetisError, MissingPackage
from reference_models.lips import haar_detector, mediapipe_detector, open_video
from reference_models.lips.faces import face_points, make_detector

# What mediapipe 0.10.21 sees in the first frame of the real talking face.
FIRST_FRAME = [[196, 241], [323, 248], [254, 309], [252, 377]]


def test_a_face_follows_its_eyes() -> None:
    left, right, centre = np.array([80.0, 100.0]), np.array([130.0, 100.0]), np.array([105.0, 115.0])
    points = face_points(left, right, centre, 138)
    assert (points[:, 0] == [*points[:2, 0], 105, 105]).all(), "nose and mouth lie below the middle of the eyes"
    assert points[0, 1] == points[1, 1] < points[2, 1] < points[3, 1]
    assert abs(points[1, 0] - points[0, 0] - 50) < 2
    angle = 0.3
    turn = 1.7 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(face_points(left @ turn, right @ turn, centre @ turn, 1.7 * 138), points @ turn)


def test_haar_finds_a_real_face(real: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    film = open_video(next((real / "lrs" / "talking_face").glob("*.mp4")))
    frame = next(iter(film))
    detect = haar_detector()
    points = detect(frame)
    assert points is not None
    assert np.abs(points - FIRST_FRAME).max() < 12, "a tenth of the distance between the eyes"
    large = detect(cv2.resize(frame, None, fx=2.5, fy=2.5))
    assert large is not None
    np.testing.assert_allclose(large / 2.5, points, atol=8)
    np.testing.assert_array_equal(detect(frame), points)


def test_no_face_is_none() -> None:
    pytest.importorskip("cv2")
    detect = haar_detector()
    assert detect(np.zeros((200, 300, 3), np.uint8)) is None
    assert detect(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)) is None


def test_a_detector_of_ones_own() -> None:
    def own(frame: object) -> None:
        return None

    assert make_detector(own) is own


def test_absent_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackage, match=r"opencv-python-headless(.|\n)*metis-bench\[lips\]"):
        make_detector("haar")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MetisError, match=r"mediapipe<=0\.10\.21"):
        make_detector("mediapipe")


def test_an_opencv_without_cascades_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "cv2" / "__init__.py"))
    with pytest.raises(MetisError, match="does not carry haarcascade_frontalface_alt2"):
        haar_detector()


def test_mediapipe_finds_a_real_face(real: Path) -> None:
    pytest.importorskip("mediapipe.python.solutions.face_detection")
    film = open_video(next((real / "lrs" / "talking_face").glob("*.mp4")))
    points = mediapipe_detector()(next(iter(film)))
    assert points is not None and np.abs(points - FIRST_FRAME).max() <= 1
