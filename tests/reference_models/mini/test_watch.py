"""The stand-in for Auto-AVSR's encoder: batches as described, phones are learned, files load as Metis's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reference_models.checkpoints import open_source
from reference_models.lips import lip_features
from reference_models.mini.alignment import PHONES, Phone, frame_labels
from reference_models.mini.corpus import Recordings
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.mouth import render
from reference_models.mini.watch import (
    Seen,
    SeenBatch,
    Watching,
    WatchObjective,
    accuracy,
    export_visual,
    filmed,
    settle_norms,
    small_encoder,
)
from reference_models.sizes import MINI_VISUAL, TINY_VISUAL
from reference_models.training.loop import LoopConfig, train
from reference_models.training.optim import OptimConfig

VOWELS = ("ɑː", "uː", "iː", "m")


def mouth(number: int, seconds: float = 1.6) -> Seen:
    """Four phones that anybody can read off lips, in any order."""
    order = np.random.RandomState(number).randint(len(VOWELS), size=round(seconds / 0.2))
    phones = [Phone(VOWELS[kind], 0.2 * i, 0.2 * (i + 1)) for i, kind in enumerate(order)]
    regions = render(phones, seconds, number)
    return Seen(regions, frame_labels(phones, 2 * len(regions)))


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    return [mouth(i) for i in range(10)] + [mouth(99, 0.4)]


def test_batches_are_crops_with_their_labels(seen: list[Seen]) -> None:
    watching = Watching(seen, rows=5, seed=0, frames=12)
    batch, again, part = watching(3), watching(3), watching(3, 1, 2)
    assert batch is not None and again is not None and part is not None
    assert batch.regions.shape == (5, 12, 88, 88) and batch.labels.shape == (5, 24)
    assert torch.equal(batch.regions, again.regions) and not torch.equal(batch.labels, watching(4).labels)  # type: ignore[union-attr]
    assert torch.equal(part.regions, batch.regions[1::2]) and torch.equal(part.labels, batch.labels[1::2])
    assert watching(0, 6, 7) is None
    for regions, labels in zip(batch.regions.numpy(), batch.labels.numpy(), strict=True):
        assert _stands_in(regions, labels, seen)


def _stands_in(regions: np.ndarray, labels: np.ndarray, seen: list[Seen]) -> bool:
    """Whether it is a piece of an utterance, with the labels of these very frames."""
    for utterance in seen:
        windows = np.lib.stride_tricks.sliding_window_view(utterance.regions, (88, 88), axis=(1, 2))
        for first in range(len(utterance.regions) - len(regions) + 1):
            found = (windows[first] == regions[0]).all((2, 3))
            if found.any():
                top, left = np.argwhere(found)[0]
                piece = utterance.regions[first : first + len(regions), top : top + 88, left : left + 88]
                expected = utterance.labels[2 * first : 2 * (first + len(regions))]
                return bool((piece == regions).all() and (expected == labels).all())
    return False


@pytest.mark.long
def test_it_learns_and_loads_as_the_visual_encoder(seen: list[Seen], tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    encoder = small_encoder(TINY_VISUAL)
    objective = WatchObjective(encoder)
    watching = Watching(seen, rows=8, seed=0, frames=15)
    optim = OptimConfig(lr=1e-2, warmup=5, schedule="constant", ema=0.9)
    train(objective, watching, LoopConfig(60, optim, cpu=True), tmp_path / "run")
    settle_norms(encoder, watching, 5)
    objective.eval()
    assert accuracy(objective, [mouth(200 + i) for i in range(4)]) > 0.7  # other faces, other orders; chance: 0.3

    expected = lip_features(seen[0].regions, encoder)
    for dtype, near in ((torch.float32, 1e-5), (torch.float16, 2e-2)):
        path = export_visual(encoder, tmp_path / str(dtype), dtype, {}, TINY_VISUAL)
        assert "stand-in" in path.with_suffix(".training.json").read_text()
        loaded = open_source(tmp_path / str(dtype)).visual()
        assert loaded.config == TINY_VISUAL
        torch.testing.assert_close(lip_features(seen[0].regions, loaded), expected, atol=near, rtol=near)


def test_norms_are_settled_for_the_weights_as_they_are(seen: list[Seen]) -> None:
    encoder = small_encoder(TINY_VISUAL)
    watching = Watching(seen, rows=8, seed=0, frames=10)
    settle_norms(encoder, watching, 3)
    assert encoder.training
    batch = watching(1)
    assert batch is not None
    seen_by_norms: dict[str, torch.Tensor] = {}
    norm = encoder.frontend.frontend3D[1]
    assert isinstance(norm, nn.BatchNorm3d) and norm.momentum == 0.1
    norm.register_forward_hook(lambda _m, _i, out: seen_by_norms.update(out=out))
    encoder.eval()
    WatchObjective(encoder).eval().logits(batch.regions)
    out = seen_by_norms["out"].detach().transpose(0, 1).flatten(1)  # (C, N)
    assert out.mean(1).abs().max() < 0.1 and (out.var(1) - 1).abs().max() < 0.2


def test_every_label_counts_once() -> None:
    objective = WatchObjective(small_encoder(TINY_VISUAL)).eval()
    regions = torch.randint(256, (2, 6, 88, 88), dtype=torch.uint8)
    labels = torch.randint(len(PHONES), (2, 12))
    loss = objective(SeenBatch(regions, labels))
    logits = objective.logits(regions)
    assert int(loss.count) == 24 and logits.shape == (2, 12, len(PHONES))
    expected = -logits.log_softmax(-1).gather(-1, labels[..., None]).sum()
    torch.testing.assert_close(loss.total, expected)
    alone = sum(objective(SeenBatch(regions[i : i + 1], labels[i : i + 1])).total for i in range(2))
    torch.testing.assert_close(alone, loss.total)


def test_the_minis_sizes() -> None:
    encoder = small_encoder()
    assert encoder.config == MINI_VISUAL and sum(p.numel() for p in encoder.parameters()) < 200_000
    assert encoder.state_dict()["frontend.trunk.layer3.0.conv1.weight"].shape == (16, 12, 3, 3)
    same, other = small_encoder(seed=0), small_encoder(seed=1)
    assert torch.equal(same.proj_encoder.weight, encoder.proj_encoder.weight)
    assert not torch.equal(other.proj_encoder.weight, encoder.proj_encoder.weight)


def test_utterances_are_filmed_as_their_speakers_say_them() -> None:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        recordings = Recordings(engine)
        first, second = filmed(recordings, [0, 1])
        speech, phones = recordings.said(0)
    assert len(first.regions) == round(speech.seconds * 25) and len(first.labels) == 2 * len(first.regions)
    middle = phones[len(phones) // 2]
    at = round((middle.start + middle.end) * 25)
    assert PHONES[first.labels[at]] == middle.plain
    assert first.regions.std(0).mean() > 1 and not np.array_equal(first.regions[:20], second.regions[:20])
