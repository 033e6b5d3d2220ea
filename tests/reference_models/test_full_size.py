"""One task at official size, from files, in a process of its own. Needs 6 GB of disk and 10 GB of memory: opt-in."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

from reference_models.config import SAMPLE_RATE
from tests.conftest import REPO

MOST_BYTES = 20e9


@pytest.mark.long
@pytest.mark.skipif(
    os.environ.get("METIS_BENCH_FULL_SIZE") != "1",
    reason="writes 4 GB of weights and needs 10 GB of memory: set METIS_BENCH_FULL_SIZE=1",
)
def test_official_size_loads_strictly_and_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    full_size = importlib.import_module("full_size")
    (result,) = full_size.run(["se"], full_size.Options(seconds=0.5, fast=True), tmp_path)
    assert result.samples == pytest.approx(0.5 * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)
    assert 2e9 < result.peak < MOST_BYTES
    assert not any(tmp_path.iterdir())  # the weights are gone
