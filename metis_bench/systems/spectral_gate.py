"""Spectral gating by the noisereduce package (Sainburg 2020), the common one-liner of speech enhancement."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from metis_bench.audio import Audio
from metis_bench.corpora.base import Params
from metis_bench.systems._signal import fit, required
from metis_bench.systems.base import Request, System, systems


class SpectralGateParams(Params):
    """Defaults are noisereduce's own.

    stationary:    one threshold a frequency from the whole clip, instead of one that follows the noise over 2 s
    prop_decrease: how much of the gated noise is removed, 0..1
    """

    stationary: bool = False
    prop_decrease: Annotated[float, Field(ge=0, le=1)] = 1.0


@systems.register("spectral-gate")
class SpectralGate(System):
    """noisereduce.reduce_noise, numpy version, in one piece.

    `chunk_size=None`: the package otherwise cuts at 600 000 samples (12.5 s at 48 kHz but 75 s at 8 kHz), so a clip's
    treatment would depend on its sample rate, and it would go through a temporary file.
    """

    kind = "classical"
    tasks = frozenset({"se"})
    needs = frozenset({"source"})
    packages = ("noisereduce",)
    params_type = SpectralGateParams
    params: SpectralGateParams

    def setup(self) -> None:
        """Import noisereduce, which takes seconds because it imports torch (unused here), outside the timing."""
        import noisereduce  # noqa: F401

    def generate(self, request: Request) -> Audio:
        """(T,) at the source's rate, as long as the source."""
        from noisereduce import reduce_noise

        source = required(request.source, "source", request.id)
        if not source.samples.any():  # no signal to gate; noisereduce would divide 0 by 0
            return source
        clean = reduce_noise(
            y=source.samples,
            sr=source.rate,
            stationary=self.params.stationary,
            prop_decrease=self.params.prop_decrease,
            chunk_size=None,
            n_jobs=1,
        )
        return Audio(fit(clean, len(source.samples)), source.rate)
