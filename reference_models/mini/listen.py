"""A stand-in for w2v-BERT 2.0 in the mini family: the same class, small, and told by labels what it is to hear.

w2v-BERT learns from unlabelled speech. At this size, on synthetic speech of which every phone's time is known, a
supervised stand-in does what Metis needs of it: features that hold what is said, and how, more than who says it. It is
called a stand-in wherever it appears. It hears noisy and mixed speech too, and also predicts the spectrum that it hears
(not the clean one), so that features of a mixture keep both talkers.
Letters: B batch, T frames at 50 Hz, C channels, M filter bank values (two frames of 80 mels).
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

from reference_models.config import FEATURE_SAMPLE_RATE, FeaturesConfig
from reference_models.features import FeatureExtractor, SemanticFeatures, frames
from reference_models.hub import place
from reference_models.mini.acoustics import F64, generator, scale_to_snr
from reference_models.mini.alignment import PHONES, frame_labels
from reference_models.mini.corpus import Recordings
from reference_models.registry import FILES
from reference_models.seeds import derive_seed
from reference_models.sizes import MINI_FEATURES
from reference_models.training.models import write_weights
from reference_models.training.objectives import Loss, Objective
from reference_models.training.sounds import SyntheticNoise

CROP_S = 3.0  # at most, of an utterance in training
NOISE_SHARE, NOISE_DB = 0.4, (0.0, 30.0)  # of rows, and speech over noise
TALKER_SHARE, TALKER_DB = 0.3, (0.0, 10.0)  # of rows, and the labelled talker over another one
SPECTRUM = 0.5  # weight of the spectrum's error beside the phones'


@dataclass(frozen=True)
class Heard:
    """Speech at 16 kHz, (S,), and what is said in each of its frames, (frames(S),)."""

    samples: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class HeardBatch:
    """filter_banks (B, T, M), valid (B, T), labels (B, T)."""

    filter_banks: Tensor
    valid: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> HeardBatch:
        """On another device."""
        return HeardBatch(*(t.to(device) for t in (self.filter_banks, self.valid, self.labels)))


def recorded(recordings: Recordings, numbers: Iterable[int]) -> list[Heard]:
    """Utterances with their labels."""
    made = []
    for number in numbers:
        speech, phones = recordings.said(number)
        samples = speech.at(FEATURE_SAMPLE_RATE).numpy()
        made.append(Heard(samples, frame_labels(phones, frames(len(samples)))))
    return made


class Listening:
    """Batches of crops of utterances, disturbed or not: a function of the step (`batches.Batches`)."""

    purpose = "listen"  # of what is drawn: another purpose draws other crops and other noise

    def __init__(self, utterances: Sequence[Heard], rows: int, seed: int, config: FeaturesConfig) -> None:
        self.utterances, self.rows, self.seed = utterances, rows, seed
        self.extract = FeatureExtractor(config)
        self.noises = SyntheticNoise(None)

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> HeardBatch | None:
        """See `Batches`."""
        rows = [self._row(step * self.rows + i) for i in range(self.rows)[share::shares]]
        if not rows:
            return None
        longest = max(len(labels) for _, labels in rows)
        banks = torch.zeros(len(rows), longest, rows[0][0].shape[1])
        labels = torch.zeros(len(rows), longest, dtype=torch.int64)
        valid = torch.zeros(len(rows), longest, dtype=torch.bool)
        for i, (bank, label) in enumerate(rows):
            banks[i, : len(label)], labels[i, : len(label)], valid[i, : len(label)] = bank[: len(label)], label, True
        return HeardBatch(banks, valid, labels)

    def _row(self, number: int) -> tuple[Tensor, Tensor]:
        """Filter banks (T, M) and labels (T,) of the n-th crop."""
        rng = generator(derive_seed(self.purpose, self.seed, number))
        heard = self._crop(self.utterances[rng.randint(len(self.utterances))], rng)
        samples = self._disturb(heard.samples.astype(np.float64), number, rng)
        bank = self.extract(torch.from_numpy(samples.astype(np.float32)))[0][0]
        return bank, torch.from_numpy(heard.labels)

    def _disturb(self, samples: F64, number: int, rng: np.random.RandomState) -> F64:
        """With noise, with another talker, or as it is."""
        kind = rng.uniform()
        if kind < NOISE_SHARE:
            added = self.noises(len(samples), f"crop {number}", rng)
            samples = samples + scale_to_snr(samples, added, rng.uniform(*NOISE_DB))
        elif kind < NOISE_SHARE + TALKER_SHARE:
            other = self.utterances[rng.randint(len(self.utterances))].samples.astype(np.float64)
            samples = samples + scale_to_snr(samples, np.resize(other, len(samples)), rng.uniform(*TALKER_DB))
        return samples

    def _crop(self, heard: Heard, rng: np.random.RandomState) -> Heard:
        hop = FEATURE_SAMPLE_RATE // 50
        spare = len(heard.labels) - round(CROP_S * 50)
        if spare <= 0:
            return heard
        start = rng.randint(spare + 1)
        samples = heard.samples[start * hop :][: round(CROP_S * FEATURE_SAMPLE_RATE)]
        return Heard(samples, heard.labels[start:][: frames(len(samples))])


class ListenObjective(Objective):
    """Phones by cross entropy, and the spectrum that was heard, both from the hidden states Metis will read."""

    def __init__(self, features: SemanticFeatures) -> None:
        super().__init__()
        features.requires_grad_(True)
        self.features = features
        width = features.mean.shape[0]
        self.phones = nn.Linear(width, len(PHONES))
        self.spectrum = nn.Linear(width, features.model.inputs)

    def forward(self, batch: HeardBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts frames."""
        hidden = self.features.hidden(batch.filter_banks, batch.valid.long()).float()  # (B, T, C)
        hidden, labels = hidden[batch.valid], batch.labels[batch.valid]  # (N, C), (N,)
        logits = self.phones(hidden)  # (N, V)
        said = F.cross_entropy(logits, labels, reduction="sum")
        error = (self.spectrum(hidden) - batch.filter_banks[batch.valid]).abs().mean(-1).sum()
        stats = {"phones": said.detach(), "spectrum": error.detach(), "accuracy": (logits.argmax(-1) == labels).sum()}
        return Loss(said + SPECTRUM * error, batch.valid.sum(), stats)


@torch.no_grad()
def measure_statistics(features: SemanticFeatures, utterances: Sequence[Heard]) -> None:
    """Set mean and variance of every channel to those over clean utterances."""
    features.mean, features.var = torch.zeros_like(features.mean), torch.ones_like(features.var)
    hidden = torch.cat([features(torch.from_numpy(u.samples))[0] for u in utterances])  # (N, C)
    features.mean, features.var = hidden.mean(0), hidden.var(0)


@torch.no_grad()
def accuracy(objective: ListenObjective, utterances: Sequence[Heard]) -> float:
    """Share of frames whose phone is right, of clean utterances."""
    right = total = 0
    for heard in utterances:
        bank, mask = objective.features.extractor(torch.from_numpy(heard.samples))
        hidden = objective.features.hidden(bank, mask)[0]
        said = objective.phones(hidden).argmax(-1).numpy()
        right, total = right + int((said == heard.labels).sum()), total + len(said)
    return right / total


def small_features(config: FeaturesConfig = MINI_FEATURES, seed: int = 0) -> SemanticFeatures:
    """A new one, its initial weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("listen", seed))
        return SemanticFeatures(config)


def export_features(
    features: SemanticFeatures, folder: Path, dtype: torch.dtype, facts: dict[str, Any], config: FeaturesConfig
) -> list[Path]:
    """Weights and statistics under the names of w2v-BERT's files."""
    weights, statistics = FILES["w2v_bert_2.0"], FILES["wav2vec2bert_stats"]
    paths = [place(weights, folder), place(statistics, folder)]
    facts = {**facts, "note": "a phone-supervised stand-in for w2v-BERT 2.0, trained on synthetic speech"}
    write_weights(paths[0], features.model.state_dict(), config, weights.config, dtype, facts)
    tensors = {"mean": features.mean, "var": features.var}
    write_weights(paths[1], tensors, statistics.config, statistics.config, torch.float32, facts)
    return paths
