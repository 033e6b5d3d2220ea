from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from reference_models.errors import InputError
from reference_models.lips import lip_features
from reference_models.lips.mouth import (
    AVERAGE_FACE,
    bilinear,
    cut_mouth,
    fill_gaps,
    mouth_regions,
    read_regions,
    similarity,
    smooth,
)
from reference_models.lips.video import to_grey
from tests.reference_models.lips.formulas import random_encoder

FRAMES = np.random.default_rng(0).integers(0, 256, (9, 256, 300, 3), dtype=np.uint8)
MOUTH = (slice(110, 206), slice(81, 177))  # 48 pixels around (129.3, 157.8), rounded


def moved(x: float) -> NDArray[np.float64]:
    """The average face, moved to the right."""
    return AVERAGE_FACE + np.array([x, 0])


def test_a_face_in_the_average_place_is_only_cut() -> None:
    region = cut_mouth(FRAMES[0], AVERAGE_FACE)
    assert np.abs(region.astype(int) - to_grey(FRAMES[0])[MOUTH]).max() <= 1, "halves of a level may round either way"


def test_turned_faces_give_the_same_mouth() -> None:
    upright = cut_mouth(FRAMES[0], AVERAGE_FACE)
    frame, points = FRAMES[0], AVERAGE_FACE
    for _ in range(3):
        points = np.stack([points[:, 1], frame.shape[1] - 1 - points[:, 0]], axis=1)  # rot90 of (x, y)
        frame = np.rot90(frame)
        assert np.abs(cut_mouth(frame, points).astype(int) - upright).max() <= 1


def test_large_faces_are_shrunk() -> None:
    smooth_frame = np.add.outer(np.arange(200), np.arange(200)).astype(np.uint8) // 2
    doubled = np.repeat(np.repeat(smooth_frame, 2, axis=0), 2, axis=1)  # pixel x becomes 2 x and 2 x + 1
    here, there = cut_mouth(smooth_frame, AVERAGE_FACE), cut_mouth(doubled, 2 * AVERAGE_FACE + 0.5)
    inside = np.s_[:80, :80]  # the frame ends within the region
    assert np.abs(here.astype(int) - there)[inside].max() <= 1


def test_a_mouth_at_the_edge_is_black_beyond_it() -> None:
    frame = np.full((256, 256), 200, np.uint8)
    region = cut_mouth(frame, moved(100))
    assert region.shape == (96, 96)
    assert region[:, :70].min() == 200 and not region[:, -10:].any()


def test_similarity_is_the_least_squares_fit() -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        source, target = rng.normal(size=(4, 2)) * 50, rng.normal(size=(4, 2)) * 50
        (x, y), one, zero = source.T, np.ones(4), np.zeros(4)
        design = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
        (a, b, dx, dy), *_ = np.linalg.lstsq(design, target.T.ravel(), rcond=None)
        np.testing.assert_allclose(similarity(source, target), [[a, -b, dx], [b, a, dy]], atol=1e-9)
    with pytest.raises(InputError, match="one point"):
        similarity(np.ones((4, 2)), AVERAGE_FACE)


def test_bilinear_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    frame = FRAMES[0, :20, :30]
    x, y = rng.uniform(-3, 33, (50, 4)), rng.uniform(-3, 23, (50, 4))
    expected = np.stack(
        [map_coordinates(frame[..., c].astype(float), [y, x], order=1, mode="grid-constant") for c in range(3)], -1
    )
    np.testing.assert_allclose(bilinear(frame, x, y), expected, atol=1e-9)
    np.testing.assert_allclose(bilinear(frame[..., 0], x, y), expected[..., 0], atol=1e-9)


def test_opencv_cuts_the_same_mouth() -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    frame = cv2.GaussianBlur(FRAMES[0], (5, 5), 0)
    for _ in range(10):
        angle, scale = rng.uniform(-0.5, 0.5), rng.uniform(0.6, 1.5)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = AVERAGE_FACE @ turn.T + rng.normal(size=(4, 2)) * 2
        points += (150, 120) - points.mean(axis=0)
        matrix = cv2.estimateAffinePartial2D(points, AVERAGE_FACE, method=cv2.LMEDS)[0]
        np.testing.assert_allclose(matrix, similarity(points, AVERAGE_FACE), atol=1e-4)
        x, y = np.rint(matrix @ (*points[3], 1)).astype(int) - 48
        whole = cv2.warpAffine(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), matrix, (256, 256), flags=cv2.INTER_LINEAR)
        difference = np.abs(cut_mouth(frame, points).astype(int)[: 256 - y, : 256 - x] - whole[y : y + 96, x : x + 96])
        assert difference.max() <= 12 and difference.mean() < 1, "OpenCV rounds positions to 1/32 pixel"


def test_landmarks_are_smoothed_in_shape_not_in_place() -> None:
    points = np.random.default_rng(4).normal(size=(20, 4, 2))
    got = smooth(points, window=12)
    np.testing.assert_allclose(got.mean(axis=1), points.mean(axis=1), atol=1e-12)
    centred = points - points.mean(axis=1, keepdims=True)
    shape = got - got.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(shape[9], centred[3:16].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(shape[2], centred[0:5].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(got[[0, -1]], points[[0, -1]], atol=1e-12)


def test_gaps_are_filled_from_their_neighbours() -> None:
    a, b = np.zeros((4, 2)), np.full((4, 2), 3.0)
    filled = fill_gaps([None, a, None, None, b, None])
    np.testing.assert_allclose(filled[:, 0, 0], [0, 0, 1, 2, 3, 3])
    with pytest.raises(InputError, match="no face in any of 2 frames"):
        fill_gaps([None, None])


def test_regions_of_a_moving_face_with_gaps() -> None:
    seen = iter([AVERAGE_FACE, None, moved(2), None, *[moved(4)] * 5])
    regions = mouth_regions(FRAMES, lambda _: next(seen))
    assert regions.shape == (9, 96, 96) and regions.dtype == np.uint8
    for i, shift in enumerate([0, 1, 2, 3, 4, 4, 4, 4, 4]):
        expected = to_grey(FRAMES[i])[110:206, 81 + shift : 177 + shift]
        assert np.abs(regions[i].astype(int) - expected).max() <= 1, "halves of a level may round either way"


def no_detector(frame: NDArray[np.uint8]) -> None:
    raise AssertionError("no face is looked for in a mouth region")


@pytest.mark.parametrize("side", [96, 88])
def test_mouth_regions_are_taken_as_they_are(side: int) -> None:
    colour = FRAMES[:, :side, :side]
    grey = np.stack([to_grey(frame) for frame in colour])
    for frames in (colour, grey, list(grey)):
        np.testing.assert_array_equal(mouth_regions(frames, no_detector), grey)
    region = mouth_regions(colour, lambda _: AVERAGE_FACE / 3, cropped=False)
    assert region.shape == (9, 96, 96) and (region[0, :side, :side] != grey[0]).any()


def test_what_holds_no_mouth_is_refused() -> None:
    with pytest.raises(InputError, match="96 x 96 or 88 x 88 pixels, not 300 x 256"):
        mouth_regions(FRAMES, no_detector, cropped=True)
    with pytest.raises(InputError, match="no frames"):
        mouth_regions(FRAMES[:0], no_detector)
    with pytest.raises(InputError, match="no face in any of 9 frames"):
        mouth_regions(FRAMES, lambda _: None)
    with pytest.raises(InputError, match="must be uint8"):
        mouth_regions(FRAMES.astype(np.float32) / 255, no_detector)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be uint8"):
        mouth_regions(FRAMES[..., :2], no_detector)


def test_a_file_of_regions_is_read_without_any_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("av", "cv2", "mediapipe"):
        monkeypatch.setitem(sys.modules, package, None)
    regions = np.stack([to_grey(frame) for frame in FRAMES[:, :96, :96]])
    np.save(tmp_path / "mouth.npy", regions)
    np.testing.assert_array_equal(read_regions(tmp_path / "mouth.npy"), regions)
    encoder = random_encoder()
    features = lip_features(tmp_path / "mouth.npy", encoder)
    torch.testing.assert_close(features, lip_features(regions, encoder))
    torch.testing.assert_close(features, lip_features(str(tmp_path / "mouth.npy"), encoder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((5, 96, 96), np.float32), "uint8, not float32"),
        (np.zeros((5, 96, 95), np.uint8), r"not \(5, 96, 95\)"),
        (np.zeros((5, 64, 64), np.uint8), r"not \(5, 64, 64\)"),
        (np.zeros((96, 96), np.uint8), r"not \(96, 96\)"),
        (np.zeros((5, 96, 96, 3), np.uint8), r"not \(5, 96, 96, 3\)"),
        (np.zeros((0, 96, 96), np.uint8), r"not \(0, 96, 96\)"),
        (np.array([{}], object), "no array of mouth regions"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: NDArray[Any], message: str) -> None:
    np.save(tmp_path / "mouth.npy", content, allow_pickle=True)
    with pytest.raises(InputError, match=rf"mouth\.npy: .*{message}"):
        read_regions(tmp_path / "mouth.npy")


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mouth.npy"
    with pytest.raises(InputError, match="No such file"):
        read_regions(path)
    np.save(path, np.zeros((5, 96, 96), np.uint8))
    for content in (b"", b"no numpy file", path.read_bytes()[:-100]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"mouth\.npy: no array of mouth regions"):
            read_regions(path)
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    path.write_bytes((tmp_path / "a.npz").read_bytes())
    with pytest.raises(InputError, match="an archive of arrays"):
        read_regions(path)
