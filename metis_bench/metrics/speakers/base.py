"""What a speaker encoder is to SIM: an extractor of embeddings, registered by name."""

from __future__ import annotations

from typing import ClassVar

from metis_bench.metrics.base import Extractor
from metis_bench.registry import Registry
from metis_bench.systems.base import require_package


class SpeakerEncoder(Extractor):
    """Register with `@encoders.register("name")`. The feature is a list of floats, compared by their cosine.

    packages, extra: what it needs installed
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "embedded"

    def check(self) -> None:
        """Raise MissingPrerequisite when a package is missing. Cheap."""
        for package in self.packages:
            require_package(package, f"speaker encoder '{self.name}'", self.extra)


encoders: Registry[SpeakerEncoder] = Registry("speaker encoder", "metis_bench.metrics.speakers")
