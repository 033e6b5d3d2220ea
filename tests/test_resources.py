"""Data folders are found in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench import resources
from metis_bench.errors import MetisBenchError


def test_checkout() -> None:
    assert (resources.data_dir("reports") / "templates" / "index.html.j2").is_file()


def test_wheel_comes_first_and_absence_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "metis_bench")
    with pytest.raises(MetisBenchError, match=r"data folder 'reports'.*missing"):
        resources.data_dir("reports")
    (tmp_path / "reports").mkdir()
    assert resources.data_dir("reports") == tmp_path / "reports"
    (tmp_path / "metis_bench" / "_data" / "reports").mkdir(parents=True)
    assert resources.data_dir("reports") == tmp_path / "metis_bench" / "_data" / "reports"
