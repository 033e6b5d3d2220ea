"""Lip-to-speech's front end: a video of a talking face -> visual speech features, 25 a second.

    video -> frames at 25 Hz (video) -> landmarks (faces) -> mouth regions (mouth) -> features (visual, weights)

Metis stretches the features to 50 Hz and lays them under the semantic tokens; that is the model's part.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from reference_models.lips.faces import Detector, DetectorName, haar_detector, mediapipe_detector
from reference_models.lips.mouth import Frames, mouth_regions, read_regions
from reference_models.lips.video import FPS, Video, open_video, read_audio
from reference_models.lips.visual import VisualEncoder, normalise
from reference_models.lips.weights import encoder_weights, read_visual_config

__all__ = [
    "FPS",
    "Detector",
    "DetectorName",
    "Frames",
    "Video",
    "VisualEncoder",
    "encoder_weights",
    "haar_detector",
    "lip_features",
    "mediapipe_detector",
    "mouth_regions",
    "normalise",
    "open_video",
    "read_audio",
    "read_regions",
    "read_visual_config",
]


@torch.inference_mode()
def lip_features(
    video: str | Path | Frames,
    encoder: VisualEncoder,
    detector: DetectorName | Detector = "haar",
    cropped: bool | None = None,
) -> Tensor:
    """A video file, mouth regions (`.npy`) or frames, 25 a second -> features (T, 768) in the encoder's dtype.

    detector, cropped: see `mouth_regions`; no detector is needed for frames that are mouth regions already.
    Fails with `InputError` (unreadable, no face ...) or `MissingPackage`.
    """
    frames: Frames = _open(Path(video)) if isinstance(video, (str, Path)) else video
    weight = encoder.proj_encoder.weight
    regions = torch.from_numpy(mouth_regions(frames, detector, cropped)).to(weight.device)
    return encoder(normalise(regions).to(weight.dtype)[None])[0]  # type: ignore[no-any-return]


def _open(path: Path) -> Frames:
    return read_regions(path) if path.suffix.lower() == ".npy" else open_video(path)
