"""From a real talking face to features, with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.errors import InputError
from reference_models.lips import lip_features, mouth_regions, open_video, read_audio
from tests.reference_models.lips.clips import write_video
from tests.reference_models.lips.formulas import random_encoder

pytest.importorskip("av")


def test_a_real_face_becomes_features(real: Path) -> None:
    pytest.importorskip("cv2")
    path = real / "lrs" / "grid" / "main" / "grid" / "bbaf2n.mp4"
    encoder = random_encoder()
    features = lip_features(path, encoder)
    assert features.shape == (75, 24) and features.isfinite().all()
    assert features.std(dim=0).min() > 0.01, "the lips move"
    sound = read_audio(path)
    assert sound is not None and abs(len(sound) / 640 - len(features)) < 4, "25 features a second of sound"
    frames = list(open_video(path))[:15]
    regions = mouth_regions(frames)
    assert regions.shape == (15, 96, 96)
    np.testing.assert_array_equal(regions, mouth_regions(frames))


@pytest.mark.long
def test_another_real_face(real: Path) -> None:
    pytest.importorskip("cv2")
    path = next((real / "lrs" / "talking_face").glob("*.mp4"))
    assert lip_features(path, random_encoder()).shape == (200, 24)


def test_a_file_of_mouth_regions_needs_no_face(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 255, (1, 96, 96, 1), dtype=np.uint8), 8, axis=0).repeat(3, axis=-1)
    frames[4:] = 255 - frames[4:]
    path = write_video(tmp_path / "mouth.mp4", frames)
    encoder = random_encoder()
    features = lip_features(path, encoder)
    assert features.shape == (8, 24)
    torch.testing.assert_close(features, lip_features(np.stack(list(open_video(path))), encoder))


def test_a_film_without_a_face_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = write_video(tmp_path / "dark.mp4", np.zeros((4, 120, 160, 3), np.uint8))
    with pytest.raises(InputError, match="no face in any of 4 frames"):
        lip_features(path, random_encoder())
