"""The codec against discriminators: their losses, who is trained when, and that codes can be left as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference_models.training.acoustic_codec import (
    AcousticCodecObjective,
    WaveBatch,
    WaveCrops,
    freeze_codes,
    new_codec,
)
from reference_models.training.adversarial import (
    ADVERSARIAL,
    MATCHING,
    AdversarialObjective,
    new_discriminators,
)
from reference_models.training.discriminators import DiscriminatorConfig, PeriodDiscriminator, SpectrumDiscriminator
from reference_models.training.logs import read_metrics
from reference_models.training.loop import LoopConfig, train
from reference_models.training.optim import OptimConfig
from tests.reference_models.training.test_acoustic_codec import RATE, SMALL, tones

JUDGES = DiscriminatorConfig(periods=(2, 3), windows=(256,), channels=2)
CODES = ("encoder.", "decoder.quantizer.")


def adversarial(*, vocoder_only: bool = False) -> AdversarialObjective:
    codec = new_codec(SMALL, seed=0)
    if vocoder_only:
        freeze_codes(*codec)
    return AdversarialObjective(AcousticCodecObjective(*codec), new_discriminators(JUDGES, seed=0))


def batch(rows: int = 2) -> WaveBatch:
    return WaveBatch(torch.stack([torch.from_numpy(tones(i)).float()[:9600] / 32768 for i in range(rows)]))


def test_a_period_is_seen_side_by_side() -> None:
    picture = PeriodDiscriminator(3, 2).picture(torch.arange(11.0)[None])
    assert picture.tolist() == [[[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]]


def test_a_tone_is_seen_at_its_frequency() -> None:
    tone = torch.cos(2 * torch.pi * 3000 * torch.arange(4800) / RATE)[None]
    picture = SpectrumDiscriminator(256, 2).picture(tone)  # (1, 2, frames, bins)
    assert picture.shape == (1, 2, 4800 // 64 + 1, 129)
    assert int(picture.square().sum((0, 1, 2)).argmax()) == round(3000 / RATE * 256)


def test_the_official_discriminators_judge_every_row_alone() -> None:
    judges = new_discriminators(DiscriminatorConfig(channels=4), seed=0).eval()
    waves = batch(2).waves
    assert len(judges.judges) == 8
    for together, alone in zip(judges(waves), judges(waves[1:]), strict=True):
        assert together[-1].shape[:2] == (2, 1)
        torch.testing.assert_close(together[-1][1:], alone[-1], atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_losses() -> None:
    objective = adversarial().eval()
    b = batch()
    made, target, codebooks = objective.codec.resynthesis(b)

    def scores(waves: Tensor) -> list[Tensor]:
        return [seen[-1] for seen in objective.discriminators(waves)]

    judged = objective(b, "discriminator")
    real = torch.stack([(1 - s).clamp(min=0).mean((1, 2, 3)) for s in scores(target)]).mean(0)
    fake = torch.stack([(1 + s).clamp(min=0).mean((1, 2, 3)) for s in scores(made)]).mean(0)
    torch.testing.assert_close(judged.total, (real + fake).sum())
    assert float(judged.count) == 2 and 0 <= float(judged.stats["accuracy"]) <= 2

    deceived = objective(b, "generator")
    own = objective.codec.reconstruction(made, target, codebooks)
    to_one = torch.stack([(1 - s).clamp(min=0).mean((1, 2, 3)) for s in scores(made)]).mean(0).sum()
    torch.testing.assert_close(deceived.stats["adversarial"], to_one)
    matching = deceived.stats["matching"]
    torch.testing.assert_close(deceived.total, own.total + ADVERSARIAL * to_one + MATCHING * matching)
    same = objective._deceive(WaveBatch(made))  # what is decoded of it is nearer to it than to the recording
    assert float(matching) > 0 and float(same.stats["matching"]) != float(matching)


def test_each_phase_trains_its_own_and_frozen_codes_are_nobodys() -> None:
    objective = adversarial()
    phases = [{id(p) for p in objective.trained(phase)} for phase in objective.phases]
    assert not phases[0] & phases[1] and phases[0] | phases[1] == {id(p) for p in objective.parameters()}
    vocoder = adversarial(vocoder_only=True)
    trained = {id(p) for p in vocoder.trained("generator")}
    assert trained == {id(p) for p in vocoder.codec.decoder.model.parameters()} and not len(vocoder.codec.cares)
    loss = vocoder(batch(), "generator")
    loss.total.backward()
    assert all(p.grad is not None for p in vocoder.trained("generator"))
    assert all(p.grad is None for p in vocoder.codec.encoder.parameters())


def test_discriminators_learn_to_tell(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    objective = adversarial(vocoder_only=True)
    before = {name: tensor.clone() for name, tensor in objective.codec.state_dict().items()}
    crops = WaveCrops([tones(i) for i in range(8)], rows=4, samples=4800, seed=0)
    optim = OptimConfig(lr=2e-3, betas=(0.8, 0.99), warmup=1, schedule="constant")
    train(objective, crops, LoopConfig(30, optim, log_every=10, cpu=True), tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert lines[0]["discriminator_loss"] > 1.9 and lines[-1]["discriminator_loss"] < 1.6  # 2: they know nothing
    assert lines[-1]["discriminator_accuracy"] > 0.65
    assert lines[-1]["generator_distance"] < lines[0]["generator_distance"]
    changed = {n for n, tensor in objective.codec.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed and not [name for name in changed if name.startswith(CODES)]
