"""Shared fixtures. Everything runs offline."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden and real data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("METIS_BENCH_SHARED", REPO.parent / "shared")).resolve()
    if not (path / "data").is_dir():
        pytest.skip(f"needs the shared test data (METIS_BENCH_SHARED), not found at {path}")
    return path


@pytest.fixture(scope="session")
def real(shared: Path) -> Path:
    """Real recordings in the real layouts."""
    return shared / "data" / "real"


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)
