"""A stand-in for Auto-AVSR's encoder in the mini family: the same class, small, trained on drawn mouths.

Auto-AVSR learns from films of people talking. This one is told which phone every half frame of a drawn mouth
(`mini.mouth`) belongs to. It is called a stand-in wherever it appears, and knows no human face.
Letters: B batch, T frames at 25 Hz, C channels, V phones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from reference_models.config import VisualConfig
from reference_models.hub import place
from reference_models.lips.visual import SIDE, VisualEncoder, normalise
from reference_models.mini.alignment import PHONES, frame_labels
from reference_models.mini.corpus import Recordings
from reference_models.registry import FILES
from reference_models.seeds import derive_seed
from reference_models.sizes import MINI_VISUAL
from reference_models.training.batches import generator
from reference_models.training.models import write_weights
from reference_models.training.objectives import Loss, Objective

CROP_FRAMES = 30  # 1.2 s, shorter than any utterance
LABELS = 2  # of a frame: semantic tokens come at 50 Hz


@dataclass(frozen=True)
class Seen:
    """A mouth at 25 Hz, (T, 96, 96), and what it says in each half of each frame, (2T,)."""

    regions: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class SeenBatch:
    """regions (B, T, 88, 88) of 0..255, labels (B, 2T). Rows are equally long: batch norms must not see padding."""

    regions: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> SeenBatch:
        """On another device."""
        return SeenBatch(self.regions.to(device), self.labels.to(device))


def filmed(recordings: Recordings, numbers: Iterable[int]) -> list[Seen]:
    """Utterances as their speakers' mouths show them."""
    made = []
    for number in numbers:
        speech, phones = recordings.said(number)
        regions = recordings.mouth(number, phones, speech.seconds)
        made.append(Seen(regions, frame_labels(phones, LABELS * len(regions))))
    return made


class Watching:
    """Batches of crops in time and space: a function of the step (`batches.Batches`).

    frames: of a crop; utterances that are shorter are left out. Space is cropped as in
    `auto_avsr:datamodule/transforms.py`: 88 of 96 pixels, somewhere.
    """

    def __init__(self, utterances: Sequence[Seen], rows: int, seed: int, frames: int = CROP_FRAMES) -> None:
        self.utterances = [u for u in utterances if len(u.regions) >= frames]
        self.rows, self.seed, self.frames = rows, seed, frames

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> SeenBatch | None:
        """See `Batches`."""
        rows = [self._row(number) for number in range(step * self.rows, (step + 1) * self.rows)[share::shares]]
        if not rows:
            return None
        regions, labels = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        return SeenBatch(regions, labels)

    def _row(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Regions (T, 88, 88) and labels (2T,) of the n-th crop."""
        rng = generator("watch", self.seed, number)
        seen = self.utterances[rng.integers(len(self.utterances))]
        first = int(rng.integers(len(seen.regions) - self.frames + 1))
        spare = seen.regions.shape[1] - SIDE
        top, left = rng.integers(spare + 1, size=2)
        regions = seen.regions[first : first + self.frames, top : top + SIDE, left : left + SIDE]
        return regions, seen.labels[LABELS * first : LABELS * (first + self.frames)]


class WatchObjective(Objective):
    """Phones by cross entropy from the features Metis will read, two of a frame."""

    def __init__(self, encoder: VisualEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.phones = nn.Linear(encoder.config.dim, LABELS * len(PHONES))

    def logits(self, regions: Tensor) -> Tensor:
        """Grey mouth regions (B, T, 88 or 96, ...) to logits (B, 2T, V)."""
        hidden = self.encoder(normalise(regions))  # (B, T, C)
        scores: Tensor = self.phones(hidden).float()  # (B, T, 2V)
        return scores.reshape(len(scores), -1, len(PHONES))

    def forward(self, batch: SeenBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts half frames."""
        logits, labels = self.logits(batch.regions).flatten(0, 1), batch.labels.flatten()  # (N, V), (N,)
        count = torch.tensor(len(labels), device=labels.device)
        right = (logits.argmax(-1) == labels).sum()
        return Loss(F.cross_entropy(logits, labels, reduction="sum"), count, {"accuracy": right})


def settle_norms(encoder: VisualEncoder, batches: Watching, steps: int = 50) -> None:
    """Measure the batch norms' statistics anew, with the weights that a run ended with.

    Those that training leaves belong to other weights: to the last ones, not to their moving average.
    """
    update_bn((normalise(batch.regions) for step in range(steps) if (batch := batches(step))), encoder)


@torch.no_grad()
def accuracy(objective: WatchObjective, utterances: Sequence[Seen]) -> float:
    """Share of half frames whose phone is right, of whole utterances, in eval mode."""
    right = total = 0
    for seen in utterances:
        said = objective.logits(torch.from_numpy(seen.regions)[None])[0].argmax(-1).numpy()  # (2T,)
        right, total = right + int((said == seen.labels).sum()), total + len(said)
    return right / total


def small_encoder(config: VisualConfig = MINI_VISUAL, seed: int = 0) -> VisualEncoder:
    """A new one, its initial weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("watch", seed))
        return VisualEncoder(config)


def export_visual(
    encoder: VisualEncoder, folder: Path, dtype: torch.dtype, facts: dict[str, Any], config: VisualConfig = MINI_VISUAL
) -> Path:
    """Weights under the name of Metis's visual encoder."""
    file = FILES["vis_model"]
    facts = {**facts, "note": "a phone-supervised stand-in for Auto-AVSR's encoder, trained on drawn mouths"}
    path = place(file, folder)
    write_weights(path, encoder.state_dict(), config, file.config, dtype, facts)
    return path
