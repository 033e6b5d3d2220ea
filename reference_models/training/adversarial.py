"""The second part of the acoustic codec's training: against discriminators, which makes the sound crisper.

It starts from a codec that was trained without them. After `acoustic_codec.freeze_codes` only the vocoder is trained.
Hinge losses are those of Vocos (arXiv 2306.00814, §3.3), feature matching that of EnCodec (arXiv 2210.13438, eq. 2):
relative to how large the features are. Their weights beside the mel distance are ours.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.seeds import derive_seed
from reference_models.training.acoustic_codec import AcousticCodecObjective, WaveBatch
from reference_models.training.discriminators import DiscriminatorConfig, Discriminators
from reference_models.training.objectives import Loss, Objective

ADVERSARIAL, MATCHING = 0.1, 0.2  # weights
SMALL = 1e-5  # size of a feature below which it counts no more


class AdversarialObjective(Objective):
    """A step of the discriminators, then one of the codec against them."""

    phases = ("discriminator", "generator")

    def __init__(self, codec: AcousticCodecObjective, discriminators: Discriminators) -> None:
        super().__init__()
        self.codec, self.discriminators = codec, discriminators

    def trained(self, phase: str) -> Iterable[nn.Parameter]:
        """See `Objective`."""
        part = self.discriminators if phase == "discriminator" else self.codec
        return (p for p in part.parameters() if p.requires_grad)

    def forward(self, batch: WaveBatch, phase: str = "generator") -> Loss:
        """See `Objective`: counts rows."""
        if phase == "generator":
            return self._deceive(batch)
        with torch.no_grad():
            made, target, _ = self.codec.resynthesis(batch)
        return self._judge(made, target)

    def _judge(self, made: Tensor, target: Tensor) -> Loss:
        """Recordings are to score above 1, what was decoded below -1."""
        real = [seen[-1] for seen in self.discriminators(target)]
        fake = [seen[-1] for seen in self.discriminators(made)]
        loss = _mean([F.relu(1 - scores) for scores in real]) + _mean([F.relu(1 + scores) for scores in fake])  # (B,)
        right = _mean([(scores > 0).float() for scores in real]) + _mean([(scores < 0).float() for scores in fake])
        count = torch.tensor(float(len(loss)), device=loss.device)
        return Loss(loss.sum(), count, {"accuracy": right.sum() / 2})

    def _deceive(self, batch: WaveBatch) -> Loss:
        """The codec's own loss, what its waveforms lack to score 1, and how they look otherwise than recordings."""
        made, target, codebook_loss = self.codec.resynthesis(batch)
        own = self.codec.reconstruction(made, target, codebook_loss)
        with torch.no_grad():
            real = [seen[:-1] for seen in self.discriminators(target)]
        fake = self.discriminators(made)
        adversarial = _mean([F.relu(1 - seen[-1]) for seen in fake])  # (B,)
        pairs = [pair for r, f in zip(real, fake, strict=True) for pair in zip(r, f[:-1], strict=True)]
        matching = torch.stack([_rows((f - r).abs()) / _rows(r.abs()).clamp(min=SMALL) for r, f in pairs]).mean(0)
        total = own.total + (ADVERSARIAL * adversarial + MATCHING * matching).sum()
        stats = {"adversarial": adversarial.detach().sum(), "matching": matching.detach().sum()}
        return Loss(total, own.count, {**own.stats, **stats})


def _rows(x: Tensor) -> Tensor:
    """Means of rows: (B, C, ., .) to (B,)."""
    return x.float().mean((1, 2, 3))


def _mean(scores: Iterable[Tensor]) -> Tensor:
    """Means of rows over judges, each judge counting the same: (B, 1, ., .) each to (B,)."""
    return torch.stack([_rows(x) for x in scores]).mean(0)


def new_discriminators(config: DiscriminatorConfig, seed: int) -> Discriminators:
    """With initial weights that the seed draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("discriminators", seed))
        return Discriminators(config)
