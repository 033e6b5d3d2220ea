"""The table of docs/baselines.md is what the manifests say."""

from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench.baselines.manifest import read
from metis_bench.baselines.table import BEGIN, END, line, rewrite, shipped

PAGE = Path(__file__).resolve().parents[2] / "docs" / "baselines.md"


@pytest.mark.parametrize("name", shipped())
def test_every_baseline_is_in_the_docs(name: str) -> None:
    expected = line(read(shipped()[name]).manifest)
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert expected in lines, "run: python -m metis_bench.baselines.table docs/baselines.md"


def test_rewriting_touches_only_the_table() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = rewrite(page, shipped())
    assert new.startswith(f"before\n{BEGIN}\n| name |")
    assert new.endswith(f"|\n{END}\nafter\n")
    assert "old" not in new
    assert rewrite(new, shipped()) == new
