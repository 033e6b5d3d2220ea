"""The acoustic codec's recipe: waveforms through residual codebooks and back.

Encoder, quantisers and vocoder are trained together by the distance of mel spectrograms and the codebooks' losses; or
(a small encoder that moves faster than its codebooks can follow) encoder and vocoder first, codebooks from what they
found (`codebooks.fit_residual`), the vocoder once more on the codes. Then, if wanted, against discriminators
(`training.adversarial`). (The release's recipe is not published.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from reference_models.training.codebooks import CodebookCare, fit_residual
from reference_models.training.objectives import Loss, Objective
from reference_models.training.spectra import QUIET, MelDistance

FEWER = 0.25  # of the steps use only the first few codebooks, so that each is as good as it can be alone


@dataclass(frozen=True)
class WaveBatch:
    """Waveforms (B, S) at 24 kHz. draw: 0..1, of the whole step, decides how many codebooks it uses."""

    waves: Tensor
    draw: float = 1.0

    def to(self, device: torch.device) -> WaveBatch:
        """On another device."""
        return WaveBatch(self.waves.to(device), self.draw)

    def books(self, available: int) -> int:
        """How many codebooks to use: all, or in a share `FEWER` of the steps 1 to `available` - 1."""
        return available if self.draw >= FEWER else 1 + int(self.draw / FEWER * (available - 1))


class WaveCrops:
    """Equally long crops of 16-bit recordings (S,) in memory: a function of the step (`batches.Batches`)."""

    def __init__(self, recordings: Sequence[NDArray[np.int16]], rows: int, samples: int, seed: int) -> None:
        self.recordings = [r for r in recordings if len(r) >= samples]
        self.rows, self.samples, self.seed = rows, samples, seed

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> WaveBatch | None:
        """See `Batches`."""
        numbers = range(step * self.rows, (step + 1) * self.rows)[share::shares]
        draw = float(generator("books", self.seed, step).random())
        return WaveBatch(torch.from_numpy(np.stack([self._crop(n) for n in numbers])), draw) if len(numbers) else None

    def _crop(self, number: int) -> NDArray[np.float32]:
        """Also at another loudness: prompts come at all levels."""
        rng = generator("waves", self.seed, number)
        recording = self.recordings[rng.integers(len(self.recordings))]
        start = int(rng.integers(len(recording) - self.samples + 1))
        gain = 10 ** (rng.uniform(-9, 6) / 20) / 32768.0
        return (recording[start : start + self.samples] * gain).clip(-1, 1).astype(np.float32)


class AcousticCodecObjective(Objective):
    """Mel distance of what comes out to what went in, and the codebooks' losses.

    quantized: False leaves the quantisers out: an autoencoder;  quiet: see `MelDistance`
    """

    def __init__(
        self,
        encoder: AcousticEncoder,
        decoder: AcousticDecoder,
        *,
        codebook_weight: float = 1.0,
        rate: int = SAMPLE_RATE,
        quantized: bool = True,
        quiet: float = QUIET,
    ) -> None:
        super().__init__()
        self.quantized = quantized
        self.encoder, self.decoder, self.codebook_weight = encoder, decoder, codebook_weight
        self.distance = MelDistance(rate, quiet=quiet)
        trained = any(p.requires_grad for p in decoder.quantizer.parameters())
        quantizers = cast(list[FactorizedVQ], list(decoder.quantizer.quantizers) if trained else [])
        self.cares = nn.ModuleList(CodebookCare(quantizer) for quantizer in quantizers)

    def forward(self, batch: WaveBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts rows."""
        return self.reconstruction(*self.resynthesis(batch))

    def resynthesis(self, batch: WaveBatch) -> tuple[Tensor, Tensor, Tensor]:
        """What comes out and what went in, (B, S) each, and the codebooks' loss. Codes are decisions: made in fp32."""
        latents = self.encoder(batch.waves[:, None])  # (B, C, F)
        if not self.quantized:
            made = self.decoder.model(latents.transpose(1, 2)).float()  # (B, S)
            return made, batch.waves[:, : made.shape[1]], torch.zeros((), device=made.device)
        available = len(self.decoder.quantizer.quantizers)
        used = batch.books(available) if self.training else available
        with torch.autocast(batch.waves.device.type, enabled=False):
            found = self.decoder.quantizer(latents.float(), used)
        made = self.decoder.model(found.embeddings.transpose(1, 2)).float()  # (B, S)
        return made, batch.waves[:, : made.shape[1]], found.loss

    def reconstruction(self, made: Tensor, target: Tensor, codebook_loss: Tensor) -> Loss:
        """The loss, of `resynthesis`."""
        with torch.autocast(made.device.type, enabled=False):
            distance = self.distance(made, target)  # (B,)
        count = torch.tensor(float(len(distance)), device=distance.device)
        stats = {"distance": distance.detach().sum()}
        if len(self.cares):
            perplexity = torch.stack([cast(CodebookCare, care).perplexity() for care in self.cares]).mean()
            stats["perplexity"] = perplexity * count
        return Loss(distance.sum() + self.codebook_weight * codebook_loss * count, count, stats)


def freeze_codes(encoder: AcousticEncoder, decoder: AcousticDecoder) -> None:
    """Train the vocoder alone: what was trained on the codes goes on fitting them."""
    encoder.requires_grad_(False)
    decoder.quantizer.requires_grad_(False)


@torch.no_grad()
def fit_codes(encoder: AcousticEncoder, decoder: AcousticDecoder, batches: Iterable[WaveBatch], seed: int) -> None:
    """Codebooks for an encoder that was trained without them."""
    latents = [encoder(batch.waves[:, None]) for batch in batches]  # (B, C, F) each
    fit_residual(decoder.quantizer, torch.cat(latents), seed)


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
