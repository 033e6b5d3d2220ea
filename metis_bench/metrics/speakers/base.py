"""What a speaker encoder is to SIM: an extractor of embeddings, registered by name."""

from __future__ import annotations

from metis_bench.metrics.base import Extractor
from metis_bench.registry import Registry


class SpeakerEncoder(Extractor):
    """Register with `@encoders.register("name")`. The feature is a list of floats, compared by their cosine."""

    kind = "speaker encoder"


encoders: Registry[SpeakerEncoder] = Registry("speaker encoder", "metis_bench.metrics.speakers")
