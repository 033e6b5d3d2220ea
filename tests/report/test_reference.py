"""The measured ablations that are shipped: of suites that are there, complete, and of nobody's machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metis_bench.suite.load import load_suite
from tests.conftest import REPO

FOLDER = REPO / "reports" / "reference"
MEASURED = sorted(FOLDER.glob("*.json"))


def test_there_are_some() -> None:
    assert MEASURED and {p.stem for p in FOLDER.glob("ablation-*.md")} == {p.stem for p in MEASURED}


@pytest.mark.parametrize("path", MEASURED, ids=lambda p: p.stem)
def test_a_measured_ablation(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = json.loads(text)
    suite = load_suite(f"suites/ablations/{found['name'].removeprefix('ablation-')}.yaml")
    assert found["facts"]["suite"] == suite.name
    seeds = {s.name.rpartition(".")[0] for s in suite.systems if s.grid}
    assert {arm["arm"] for arm in found["arms"]} == seeds, "every arm, and no other"
    assert all(arm["scored"] == arm["planned"] and arm["n"] == 3 for arm in found["arms"]), "nothing is missing"
    provenance = found["facts"]["provenance"]
    assert provenance["git"]["commit"] and not provenance["git"]["dirty"] and provenance["hardware"]["cpu"]
    assert "/home" not in text and "/root" not in text and str(REPO) not in text, "a path of some machine"
    assert f"`{found['name']}`" in (FOLDER / "README.md").read_text(encoding="utf-8")
