"""Waveforms that enter and leave the pipelines."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_models.errors import InputError


@dataclass(frozen=True)
class Speech:
    """Mono speech. samples: (S,) float32 (or other floats), nominally in [-1, 1]; rate: Hz."""

    samples: NDArray[np.float32]
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or len(self.samples) == 0:
            raise InputError(f"speech is a non-empty vector of samples, not of shape {self.samples.shape}")
        if not np.issubdtype(self.samples.dtype, np.floating):  # integers have another scale
            raise InputError(f"speech is floating point with full scale 1, not {self.samples.dtype}")
        if not np.isfinite(self.samples).all():
            raise InputError("the speech holds NaN or infinite samples")
        if not self.rate > 0:
            raise InputError(f"a sample rate of {self.rate} Hz")

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate

    @property
    def digest(self) -> bytes:
        """What tells it from other speech."""
        return hashlib.sha256(f"{self.rate} {self.samples.dtype} ".encode() + self.samples.tobytes()).digest()

    def first(self, seconds: float) -> Speech:
        """Its beginning; all of it where it is shorter."""
        return Speech(self.samples[: max(1, round(seconds * self.rate))], self.rate)

    def at(self, rate: int) -> Tensor:
        """(S',) fp32 at `rate` Hz, S' = ceil(S * (rate / self.rate)): soxr HQ, as librosa.load in the release."""
        if rate == self.rate:
            return torch.from_numpy(np.array(self.samples, dtype=np.float32))
        import soxr

        wanted = math.ceil(len(self.samples) * (rate / self.rate))  # librosa's rounding: 1 s at 44.1 kHz is 24001
        resampled = soxr.resample(self.samples.astype(np.float32), self.rate, rate, quality="HQ")[:wanted]
        return torch.from_numpy(np.pad(resampled, (0, wanted - len(resampled))))
