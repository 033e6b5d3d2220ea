"""Results that others published, as data (`baselines/published/<name>/`): shown beside ours, never ranked with them."""

from __future__ import annotations

from metis_bench.published.attach import attach
from metis_bench.published.load import find, load, names

__all__ = ["attach", "find", "load", "names"]
