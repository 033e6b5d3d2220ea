"""The golden folder: recordings of the official code with tiny random weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import REPO


@pytest.fixture(scope="session")
def golden() -> Path:
    """METIS_GOLDEN_DIR, by default `golden` in the shared folder; another set of the same format may be named."""
    root = os.environ.get("METIS_BENCH_SHARED", str(REPO.parent / "shared"))
    path = Path(os.environ.get("METIS_GOLDEN_DIR", str(Path(root) / "golden"))).resolve()
    if not (path / "numeric").is_dir():
        pytest.skip(f"needs the golden data (METIS_GOLDEN_DIR), not found at {path}")
    return path


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    """Set the number of threads torch computes with, for this test only."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
