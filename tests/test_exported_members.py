"""The public API is what it says it is."""

from __future__ import annotations

import metis_bench


def test_all_is_sorted_and_importable() -> None:
    names = metis_bench.__all__
    assert names == sorted(names)
    for name in names:
        assert getattr(metis_bench, name) is not None
    assert set(metis_bench._HOME) == set(names) - {"__version__"}
