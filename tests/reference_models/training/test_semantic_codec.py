"""Codebooks that stay in use, and the semantic codec's training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reference_models.checkpoints import open_source
from reference_models.codecs.quantize import FactorizedVQ
from reference_models.config import BackboneConfig, SemanticCodecConfig
from reference_models.hub import place
from reference_models.registry import FILES
from reference_models.training.codebooks import CodebookCare
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, train
from reference_models.training.models import write_weights
from reference_models.training.optim import OptimConfig
from reference_models.training.semantic_codec import FeatureBatch, FeatureCrops, SemanticCodecObjective, new_codec

SMALL = SemanticCodecConfig(feature_dim=12, codebook_size=32, codebook_dim=4, backbone=BackboneConfig(16, 32, 1))


def clusters(rows: int, frames: int, seed: int = 0) -> torch.Tensor:
    """(rows, frames, 12) around 32 points."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(32, 12, generator=torch.Generator().manual_seed(99))
    which = torch.randint(32, (rows, frames), generator=generator)
    return points[which] + 0.02 * torch.randn(rows, frames, 12, generator=generator)


def test_codes_start_from_data_and_the_dead_are_moved() -> None:
    torch.manual_seed(0)
    quantizer = FactorizedVQ(12, 64, 4, 0.25)
    care = CodebookCare(quantizer)
    x = clusters(4, 50).transpose(1, 2)
    quantizer(x)
    inside = quantizer.in_project(x).transpose(1, 2).flatten(0, 1)
    nearest = torch.cdist(quantizer.codebook.weight.detach(), inside.detach()).min(1).values
    assert nearest.max() < 2e-3  # as exact as cdist is: every code is a point of the batch
    with torch.no_grad():
        quantizer.codebook.weight[10:] = 1e3 * quantizer.codebook.weight[:1]  # all but ten at one place
    for _ in range(200):
        quantizer(clusters(4, 50).transpose(1, 2))
    assert int(care.moves) > 30 and float(care.perplexity()) > 15
    before = quantizer.codebook.weight.clone()
    care.eval()
    quantizer(clusters(4, 50, seed=5).transpose(1, 2))
    assert torch.equal(before, quantizer.codebook.weight)  # outside training nothing is touched


def test_crops_are_a_function_of_the_step() -> None:
    features = [*clusters(3, 40), torch.zeros(5, 12)]
    crops = FeatureCrops(features, rows=4, frames=16, seed=1)
    whole = crops(7)
    assert whole is not None and whole.features.shape == (4, 16, 12)
    parts = [crops(7, share, 2) for share in (0, 1)]
    assert torch.equal(whole.features[1::2], parts[1].features)  # type: ignore[union-attr]
    assert not torch.equal(whole.features, crops(8).features)  # type: ignore[union-attr]
    assert crops(0, 9, 10) is None


@pytest.mark.parametrize("again", [False, True])
def test_it_learns_to_code_features(tmp_path: Path, again: bool) -> None:
    """Also in two slices; the exported codec gives the codes of the trained one."""
    pytest.importorskip("accelerate")
    objective = SemanticCodecObjective(new_codec(SMALL, seed=0))
    batches = FeatureCrops(list(clusters(20, 60)), rows=8, frames=32, seed=0)
    optim = OptimConfig(lr=5e-3, warmup=5, schedule="constant")
    if again:
        train(objective, batches, LoopConfig(250, optim, minutes=0.0, cpu=True), tmp_path)
    train(objective, batches, LoopConfig(250, optim, log_every=10, precision="bf16", cpu=True), tmp_path)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert lines[-1]["error"] < 0.75 * lines[0]["error"] and lines[-1]["perplexity"] > 20

    file = FILES["semantic_codec"]
    objective.eval()
    features = clusters(1, 50, seed=9)
    codes = objective.codec.encode(features)
    for dtype in (torch.float32, torch.float16):
        folder = tmp_path / str(dtype)
        write_weights(place(file, folder), objective.codec.state_dict(), SMALL, file.config, dtype, {})
        loaded = open_source(folder).semantic_codec().encode(features)
        assert (loaded == codes).float().mean() > (0.999 if dtype == torch.float32 else 0.9)


def test_the_loss_counts_frames() -> None:
    objective = SemanticCodecObjective(new_codec(SMALL, seed=0))
    objective.eval()
    batch = FeatureBatch(clusters(3, 20))
    loss = objective(batch)
    assert int(loss.count) == 60 and loss.total.item() > float(loss.stats["error"]) > 0
    assert loss.total.requires_grad
