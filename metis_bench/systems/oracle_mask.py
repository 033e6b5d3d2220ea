"""Ideal ratio mask: the best a magnitude mask can do when it knows the clean speech. An oracle, never ranked."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat

from metis_bench.audio import Audio
from metis_bench.corpora.base import Params
from metis_bench.errors import ItemError
from metis_bench.systems._signal import fit, istft, required, stft
from metis_bench.systems.base import Request, System, systems

MAX_LENGTH_DIFFERENCE_S = 0.010  # rounding of a resampler or codec; more means that the pair is not aligned


class OracleMaskParams(Params):
    """window_ms: STFT window (50 % overlap, square-root Hann on both sides)."""

    window_ms: PositiveFloat = 32.0


@systems.register("oracle-mask")
class OracleMask(System):
    """sqrt(S^2 / (S^2 + N^2)) with N = source - reference, applied to the noisy STFT (noisy phase).

    Source: Wang, Narayanan & Wang 2014, "On training targets for supervised speech separation", eq. 2 with beta 0.5.
    The reference is resampled to the source's rate; the pair has to be aligned and at the same level.
    """

    kind = "oracle"
    tasks = frozenset({"se", "tse"})
    needs = frozenset({"source", "reference"})
    params_type = OracleMaskParams
    params: OracleMaskParams

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate. Raises ItemError when the lengths differ by more than 10 ms."""
        source = required(request.source, "source", request.id)
        reference = required(request.reference, "reference", request.id)
        if abs(source.seconds - reference.seconds) > MAX_LENGTH_DIFFERENCE_S:
            raise ItemError(
                f"item '{request.id}': the source lasts {source.seconds:.3f} s but its reference "
                f"{reference.seconds:.3f} s; an ideal mask needs an aligned pair"
            )
        length = len(source.samples)
        hop = max(1, round(source.rate * self.params.window_ms / 2000))
        noisy = stft(source.samples, hop)
        clean = stft(fit(reference.resampled(source.rate).samples, length), hop)
        speech, noise = np.abs(clean) ** 2, np.abs(noisy - clean) ** 2
        mask = np.sqrt(speech / np.maximum(speech + noise, np.finfo(np.float64).tiny))
        return Audio(istft(noisy * mask, hop, length), source.rate)
