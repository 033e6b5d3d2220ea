"""Rows made with the WORLD vocoder: the copy-synthesis bound, and voice transfer by signal processing alone."""

from __future__ import annotations

from metis_bench.audio import Audio
from metis_bench.errors import ItemError
from metis_bench.systems.base import Request, System, systems
from metis_bench.systems.world_vocoder import analyse, load_pyworld, synthesise, transfer, working_rate


@systems.register("world-copy")
class WorldCopy(System):
    """The reference through WORLD analysis and synthesis: what a perfect model behind this vocoder would score."""

    kind = "bound"
    tasks = frozenset({"tts", "vc"})
    needs = frozenset({"reference"})
    packages = ("pyworld",)

    def setup(self) -> None:
        """Import pyworld, so that the first item is not charged for it."""
        load_pyworld()

    def generate(self, request: Request) -> Audio:
        """The reference, resynthesised at its own rate (16..48 kHz)."""
        if request.reference is None:
            raise ItemError("world-copy needs a reference")
        length = len(request.reference.resampled(working_rate(request.reference.rate)).samples)
        return synthesise(analyse(request.reference), length)


@systems.register("world-vc")
class WorldVc(System):
    """Voice conversion without learning: pitch, vocal tract length and long-term spectrum of the prompt."""

    kind = "classical"
    tasks = frozenset({"vc"})
    needs = frozenset({"source", "prompt"})
    packages = ("pyworld",)

    def setup(self) -> None:
        """Import pyworld, so that the first item is not charged for it."""
        load_pyworld()

    def generate(self, request: Request) -> Audio:
        """The source in the prompt's voice. Raises ItemError when either holds no voiced speech."""
        if request.source is None or request.prompt is None:
            raise ItemError("world-vc needs a source and a prompt")
        return transfer(request.source, request.prompt)
