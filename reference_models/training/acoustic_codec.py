"""The acoustic codec's recipe: waveforms through residual codebooks and back.

Encoder, quantisers and vocoder are trained together by the distance of mel spectrograms and the codebooks' losses. (The
release's recipe is not published; a GAN, as in DAC and Vocos, would make the sound crisper.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder
from reference_models.codecs.quantize import FactorizedVQ
from reference_models.config import SAMPLE_RATE, AcousticCodecConfig
from reference_models.seeds import derive_seed
from reference_models.training.batches import generator
from reference_models.training.codebooks import CodebookCare
from reference_models.training.objectives import Loss, Objective
from reference_models.training.spectra import MelDistance

FEWER = 0.25  # of the steps use only the first few codebooks, so that each is as good as it can be alone


@dataclass(frozen=True)
class WaveBatch:
    """Waveforms (B, S) at 24 kHz."""

    waves: Tensor

    def to(self, device: torch.device) -> WaveBatch:
        """On another device."""
        return WaveBatch(self.waves.to(device))


class WaveCrops:
    """Equally long crops of 16-bit recordings (S,) in memory: a function of the step (`batches.Batches`)."""

    def __init__(self, recordings: Sequence[NDArray[np.int16]], rows: int, samples: int, seed: int) -> None:
        self.recordings = [r for r in recordings if len(r) >= samples]
        self.rows, self.samples, self.seed = rows, samples, seed

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> WaveBatch | None:
        """See `Batches`."""
        numbers = range(step * self.rows, (step + 1) * self.rows)[share::shares]
        return WaveBatch(torch.from_numpy(np.stack([self._crop(n) for n in numbers]))) if len(numbers) else None

    def _crop(self, number: int) -> NDArray[np.float32]:
        """Also at another loudness: prompts come at all levels."""
        rng = generator("waves", self.seed, number)
        recording = self.recordings[rng.integers(len(self.recordings))]
        start = int(rng.integers(len(recording) - self.samples + 1))
        gain = 10 ** (rng.uniform(-9, 6) / 20) / 32768.0
        return (recording[start : start + self.samples] * gain).clip(-1, 1).astype(np.float32)


class AcousticCodecObjective(Objective):
    """Mel distance of what comes out to what went in, and the codebooks' losses."""

    def __init__(
        self,
        encoder: AcousticEncoder,
        decoder: AcousticDecoder,
        *,
        codebook_weight: float = 1.0,
        rate: int = SAMPLE_RATE,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.codebook_weight = encoder, decoder, codebook_weight
        self.distance = MelDistance(rate)
        self.cares = nn.ModuleList(CodebookCare(cast(FactorizedVQ, q)) for q in decoder.quantizer.quantizers)

    def forward(self, batch: WaveBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts seconds. Codes are decisions, so they are made in fp32."""
        latents = self.encoder(batch.waves[:, None])  # (B, C, F)
        used = self._used()
        with torch.autocast(batch.waves.device.type, enabled=False):
            found = self.decoder.quantizer(latents.float(), used)
        made = self.decoder.model(found.embeddings.transpose(1, 2)).float()  # (B, S)
        with torch.autocast(batch.waves.device.type, enabled=False):
            distance = self.distance(made, batch.waves[:, : made.shape[1]])  # (B,)
        count = torch.tensor(float(len(distance)), device=distance.device)
        perplexity = torch.stack([cast(CodebookCare, care).perplexity() for care in self.cares]).mean()
        stats = {"distance": distance.detach().sum(), "perplexity": perplexity * count}
        return Loss(distance.sum() + self.codebook_weight * found.loss * count, count, stats)

    def _used(self) -> int | None:
        """How many codebooks this step uses; torch's generator is seeded for every step."""
        if not self.training or float(torch.rand(())) >= FEWER:
            return None
        return int(torch.randint(1, len(self.cares), ())) if len(self.cares) > 1 else None


def new_codec(config: AcousticCodecConfig, seed: int) -> tuple[AcousticEncoder, AcousticDecoder]:
    """With initial weights that the seed draws."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("acoustic codec", seed))
        return AcousticEncoder(config), AcousticDecoder(config)


def states(objective: AcousticCodecObjective) -> dict[str, dict[str, Any]]:
    """The tensors of both files, by their names in `registry.FILES`."""
    return {
        "acoustic_codec_encoder": objective.encoder.state_dict(),
        "acoustic_codec_decoder": objective.decoder.state_dict(),
    }
