"""The acoustic codec's training: distances, crops, and that it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.checkpoints import open_source
from reference_models.codecs.acoustic import AcousticDecoder
from reference_models.config import AcousticCodecConfig, BackboneConfig
from reference_models.hub import place
from reference_models.registry import FILES
from reference_models.training.acoustic_codec import AcousticCodecObjective, WaveBatch, WaveCrops, new_codec, states
from reference_models.training.codebooks import fit_residual
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, train
from reference_models.training.models import write_weights
from reference_models.training.optim import OptimConfig
from reference_models.training.spectra import MelDistance

RATE = 24_000
SMALL = AcousticCodecConfig(4, (8, 5, 4, 3), 16, 2, 32, 4, BackboneConfig(32, 64, 1))


def tones(number: int, seconds: float = 1.0) -> np.ndarray:
    rng = np.random.RandomState(number)
    t = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * rng.uniform(100, 2000) * t + rng.uniform(6)) for _ in range(3))
    return np.round(wave * 3000).astype(np.int16)


def test_distances() -> None:
    distance = MelDistance(RATE)
    x = torch.from_numpy(np.stack([tones(0), tones(1)])).float() / 32768
    assert distance(x, x).max() < 1e-4
    near, far = distance(x + 1e-4 * torch.randn_like(x), x), distance(x.flip(0), x)
    assert (near < far).all() and (distance(x * 0.5, x) > 0.5).all()
    torch.testing.assert_close(distance(x[:1], x[1:]), distance(x, x.flip(0))[:1])  # rows are on their own


def test_mel_of_a_tone_is_where_it_should_be() -> None:
    distance = MelDistance(RATE)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)[None]
    peak = int(distance.mel(tone, 1024).mean(1)[0].argmax())
    filters = distance.get_buffer("filters_1024")[:, peak]
    assert filters[round(1000 / (RATE / 1024))] > 0.3 * filters.max()


def test_crops_are_a_function_of_the_step() -> None:
    crops = WaveCrops([tones(i) for i in range(4)] + [np.zeros(10, np.int16)], rows=6, samples=4800, seed=0)
    whole, part = crops(2), crops(2, 1, 3)
    assert whole is not None and part is not None and whole.waves.shape == (6, 4800)
    assert torch.equal(whole.waves[1::3], part.waves) and whole.waves.abs().max() <= 1
    assert not torch.equal(whole.waves, crops(3).waves)  # type: ignore[union-attr]


def test_it_learns_and_loads_as_the_official_codec(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    objective = AcousticCodecObjective(*new_codec(SMALL, seed=0))
    unseen = WaveBatch(torch.stack([torch.from_numpy(tones(50 + i)).float() / 32768 for i in range(4)]))
    with torch.no_grad():
        untrained = float(objective.eval()(unseen).stats["distance"])
    crops = WaveCrops([tones(i) for i in range(8)], rows=4, samples=9600, seed=0)
    optim = OptimConfig(lr=3e-3, warmup=5, schedule="constant")
    train(objective.train(), crops, LoopConfig(60, optim, log_every=10, cpu=True), tmp_path / "run")
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["perplexity"] > 4
    with torch.no_grad():
        assert float(objective.eval()(unseen).stats["distance"]) < 0.75 * untrained

    wave = torch.from_numpy(tones(20)).float()[None, None] / 32768
    with torch.no_grad():
        codes, _ = objective.decoder.quantize(objective.encoder(wave))
        made = objective.decoder.decode(codes)
    for dtype in (torch.float32, torch.float16):
        folder = tmp_path / str(dtype)
        for name, tensors in states(objective).items():
            write_weights(place(FILES[name], folder), tensors, SMALL, FILES[name].config, dtype, {})
        source = open_source(folder)
        encoder, decoder = source.acoustic_encoder(), source.acoustic_decoder()
        loaded, _ = decoder.quantize(encoder(wave))
        same = (loaded == codes).float().mean()
        assert same == 1 if dtype == torch.float32 else same > 0.8
        torch.testing.assert_close(decoder.decode(codes), made, atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=0)


def test_fewer_codebooks_are_used_at_times() -> None:
    crops = WaveCrops([tones(0)], rows=2, samples=4800, seed=0)
    batches = [crops(step) for step in range(400)]
    used = [batch.books(4) for batch in batches if batch is not None]
    assert used.count(4) == pytest.approx(300, abs=35) and all(used.count(n) > 15 for n in (1, 2, 3))
    shares = [crops(7, share, 2) for share in range(2)]  # every process uses as many as the others
    assert all(share is not None and share.draw == batches[7].draw for share in shares)  # type: ignore[union-attr]
    assert WaveBatch(torch.zeros(1, 1), 0.0).books(1) == 1


def test_only_training_uses_fewer_codebooks() -> None:
    objective = AcousticCodecObjective(*new_codec(SMALL, seed=0))
    waves, used = torch.from_numpy(tones(3)).float()[None, :9600] / 32768, []
    objective.decoder.quantizer.register_forward_pre_hook(lambda _module, inputs: used.append(inputs[1]))
    for draw in (0.0, 0.9):
        loss = objective(WaveBatch(waves, draw))
        assert float(loss.count) == 1 and loss.total.requires_grad
    objective.eval()(WaveBatch(waves, 0.0))
    assert used == [1, 2, 2]


def test_codebooks_learn_only_where_there_are_gradients() -> None:
    objective = AcousticCodecObjective(*new_codec(SMALL, seed=0))
    batch = WaveBatch(torch.from_numpy(tones(3)).float()[None, :9600] / 32768)
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    with torch.no_grad():
        objective.resynthesis(batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in objective.state_dict().items())
    objective.resynthesis(batch)
    assert not torch.equal(before["cares.0.chosen"], objective.state_dict()["cares.0.chosen"])


def test_codebooks_from_data() -> None:
    """Four small codebooks of a stack explain what is spread over clusters, each more than the ones before it."""
    generator = torch.Generator().manual_seed(0)
    centres, finer = torch.randn(32, 16, generator=generator) * 3, torch.randn(32, 16, generator=generator)
    which = torch.randint(32, (2, 4000), generator=generator)
    x = (centres[which[0]] + finer[which[1]] + 5).T[None]  # (1, C, N), far from the origin
    wide = dataclasses.replace(SMALL, codebook_dim=16, num_quantizers=3)
    stack = AcousticDecoder(wide).quantizer.requires_grad_(False)
    fit_residual(stack, x, seed=0)
    left = [float((x - stack(x, used).embeddings).square().mean()) for used in range(1, wide.num_quantizers + 1)]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.1 * float((x - x.mean((0, 2), keepdim=True)).square().mean())
    again = AcousticDecoder(wide).quantizer
    fit_residual(again, x, seed=0)
    assert torch.equal(stack(x).codes, again(x).codes)


def test_an_autoencoder_leaves_the_codebooks_alone() -> None:
    encoder, decoder = new_codec(SMALL, seed=0)
    decoder.quantizer.requires_grad_(False)
    smooth = AcousticCodecObjective(encoder, decoder, quantized=False)
    batch = WaveBatch(torch.from_numpy(tones(0)).float()[None, :9600] / 32768)
    smooth(batch).total.backward()
    assert not len(smooth.cares) and all(p.grad is None for p in decoder.quantizer.parameters())
    assert all(p.grad is not None for p in encoder.parameters())
    coded = AcousticCodecObjective(encoder, decoder)
    assert float(coded.eval()(batch).stats["distance"]) != float(smooth.eval()(batch).stats["distance"])


def test_what_is_quiet_does_not_count() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (1e-5 * torch.randn(1, RATE, generator=rng) for _ in range(2))
    assert MelDistance(RATE, quiet=1.0).forward(x, y) < 0.01 < 0.1 < MelDistance(RATE)(x, y)
