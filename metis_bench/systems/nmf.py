"""Target speaker extraction by spectra: the target's are learnt from the enrolment, the rest from the mixture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt

from metis_bench.audio import Audio
from metis_bench.corpora.base import Params
from metis_bench.systems._signal import fit, istft, required, stft
from metis_bench.systems.base import Request, System, systems

F64 = NDArray[np.float64]
FLOOR = 1e-10  # keeps quotients finite where there is digital silence


class NmfParams(Params):
    """target, other: spectra a voice is made of; iterations: of each factorisation; window_ms: STFT, 50 % overlap."""

    target: PositiveInt = 40
    other: PositiveInt = 20
    iterations: PositiveInt = 100
    window_ms: PositiveFloat = 64.0


@systems.register("nmf-tse")
class NmfTse(System):
    """Semi-supervised non-negative matrix factorisation, and the mask of what the enrolled voice explains.

    A low bar: spectra alone tell real talkers apart only roughly.
    Source: Smaragdis, Raj & Shashanka 2007, "Supervised and semi-supervised separation of sounds from single-channel
    mixtures" (Kullback-Leibler divergence, magnitudes, phase of the mixture).
    """

    kind = "classical"
    tasks = frozenset({"tse"})
    needs = frozenset({"source", "prompt"})
    deterministic = False  # factors start at random
    params_type = NmfParams
    params: NmfParams

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate."""
        source = required(request.source, "source", request.id)
        prompt = required(request.prompt, "prompt", request.id).resampled(source.rate)
        hop = max(1, round(source.rate * self.params.window_ms / 2000))
        rng = np.random.RandomState(request.seed)
        mixture = stft(source.samples, hop)
        voice, _ = factorise(_columns(stft(prompt.samples, hop)), None, self.params.target, self.params.iterations, rng)
        spectra, gains = factorise(_columns(mixture), voice, self.params.other, self.params.iterations, rng)
        ours = voice @ gains[: self.params.target]
        mask = (ours / (spectra @ gains + FLOOR)).T  # (frames, bins)
        return Audio(fit(istft(mixture * mask, hop, len(source.samples)), len(source.samples)), source.rate)


def _columns(spectrum: NDArray[np.complex128]) -> F64:
    """(frames, bins) complex to (bins, frames) magnitudes."""
    return np.asarray(np.abs(spectrum).T + FLOOR)


def factorise(
    magnitudes: F64, known: F64 | None, free: int, iterations: int, rng: np.random.RandomState
) -> tuple[F64, F64]:
    """(bins, K) spectra of unit sum and (K, frames) gains whose product is close to `magnitudes` (bins, frames).

    known: (bins, L) spectra of unit sum that stay as they are and come first; `free` more are learnt, so K = L + free.
    Multiplicative updates: Lee & Seung 2001, theorem 2.
    """
    bins, frames = magnitudes.shape
    kept = 0 if known is None else known.shape[1]
    spectra = rng.uniform(0.5, 1.5, (bins, kept + free))
    spectra /= spectra.sum(axis=0)
    if known is not None:
        spectra[:, :kept] = known
    gains = rng.uniform(0.5, 1.5, (kept + free, frames)) * magnitudes.sum() / (frames * (kept + free))
    for _ in range(iterations):
        gains *= spectra.T @ (magnitudes / (spectra @ gains + FLOOR))
        ratio = magnitudes / (spectra @ gains + FLOOR)
        spectra[:, kept:] *= ratio @ gains[kept:].T / (gains[kept:].sum(axis=1) + FLOOR)
        scale = spectra[:, kept:].sum(axis=0) + FLOOR
        spectra[:, kept:] /= scale
        gains[kept:] *= scale[:, None]
    return spectra, gains
