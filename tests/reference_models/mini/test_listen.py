"""The stand-in for w2v-BERT: batches as described, phones are learned, files load as w2v-BERT's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.checkpoints import open_source
from reference_models.features import frames
from reference_models.mini.alignment import PHONES
from reference_models.mini.listen import (
    Heard,
    HeardBatch,
    Listening,
    ListenObjective,
    accuracy,
    export_features,
    measure_statistics,
    small_features,
)
from reference_models.sizes import TINY_FEATURES
from reference_models.training.loop import LoopConfig, train
from reference_models.training.optim import OptimConfig


def tones(number: int, seconds: float = 1.5) -> Heard:
    """Four "phones" that are tones of their own height."""
    rng = np.random.RandomState(number)
    labels = np.repeat(rng.randint(1, 5, size=40), 10)[: frames(round(seconds * 16_000))]
    phase = np.cumsum(np.repeat(labels, 320)) * 2 * np.pi * 300 / 16_000
    samples = np.sin(phase) * 0.1 + rng.standard_normal(len(phase)) * 1e-3
    return Heard(np.resize(samples, round(seconds * 16_000)).astype(np.float32), labels)


@pytest.fixture(scope="module")
def heard() -> list[Heard]:
    return [tones(i) for i in range(12)] + [tones(99, 4.0)]


def test_batches_are_crops_with_their_labels(heard: list[Heard]) -> None:
    batches = Listening(heard, rows=6, seed=0, config=TINY_FEATURES)
    batch = batches(3)
    assert batch is not None and batch.filter_banks.shape[::2] == (6, 160)
    assert batch.valid.sum(1).max() <= 150 and not batch.labels[~batch.valid].any()
    again, part = batches(3), batches(3, 1, 2)
    assert again is not None and part is not None
    assert torch.equal(batch.filter_banks, again.filter_banks) and torch.equal(
        part.labels[0], batch.labels[1][: part.labels.shape[1]]
    )


def test_it_learns_and_loads_as_w2v_bert(heard: list[Heard], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    features = small_features(TINY_FEATURES)
    objective = ListenObjective(features)
    untrained = accuracy(objective, heard)
    batches = Listening(heard, rows=8, seed=0, config=TINY_FEATURES)
    optim = OptimConfig(lr=5e-3, warmup=5, schedule="constant")
    train(objective, batches, LoopConfig(60, optim, cpu=True), tmp_path / "run")
    objective.eval()
    assert accuracy(objective, heard) > max(0.7, untrained + 0.2)
    measure_statistics(features, heard)
    out = torch.cat([features(torch.from_numpy(h.samples))[0] for h in heard])
    assert out.mean(0).abs().max() < 1e-2 and (out.var(0) - 1).abs().max() < 1e-2
    export_features(features, tmp_path, torch.float32, {}, TINY_FEATURES)
    loaded = open_source(tmp_path).features()
    torch.testing.assert_close(loaded(torch.from_numpy(heard[0].samples)), features(torch.from_numpy(heard[0].samples)))


def test_only_real_frames_count() -> None:
    objective = ListenObjective(small_features(TINY_FEATURES))
    objective.eval()
    bank, labels = torch.randn(2, 20, 160), torch.randint(len(PHONES), (2, 20))
    valid = torch.arange(20) < torch.tensor([20, 12])[:, None]
    loss = objective(HeardBatch(bank, valid, labels))
    assert int(loss.count) == 32
    bank[1, 12:] = 7.0
    labels[1, 12:] = 3
    torch.testing.assert_close(objective(HeardBatch(bank, valid, labels)).total, loss.total, rtol=1e-4, atol=1e-3)
