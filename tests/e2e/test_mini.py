"""Every shipped suite's mini profile, end to end and offline; and that it works from an installed wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from metis_bench.suite.load import shipped_suites
from tests.e2e.conftest import Command

REPO = Path(__file__).resolve().parents[2]
PACKAGES = ("pocketsphinx", "espeakng_loader", "noisereduce", "pyrnnoise", "pyworld")


@pytest.mark.long
@pytest.mark.parametrize("suite", [p.name for p in shipped_suites()])
def test_mini_profile(metis_bench: Command, suite: str) -> None:
    for package in PACKAGES:
        pytest.importorskip(package)
    done = metis_bench("run", f"suites/{suite}", "--set", "stats.resamples=500", "--json")
    assert done.code == 0, done.err
    results = done.json["results"]
    checks = results["oracle_checks"]
    assert checks
    assert all(c["ok"] for c in checks)
    ranked = {s["name"] for s in results["systems"] if s["ranked"]}
    assert ranked
    assert all(c["n"] == c["N"] for c in results["cells"] if c["system"] in ranked)


@pytest.mark.long
def test_the_wheel_holds_suites_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    """Built, unpacked and run from elsewhere: the installed tree must find its own suites, templates and types."""
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(REPO)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "metis_bench/_data/suites/se.yaml" in names
    assert "metis_bench/py.typed" in names
    assert not [n for n in names if n.endswith((".wav", ".onnx", ".pt")) or "/tests/" in n]
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{REPO / 'tests' / 'toys.py'}']\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: suites/se.yaml\nname: mine\ncorpora: {toy: {corpus: toy}}\nsystems: [toy-noise]\nmetrics: [rtf]\n"
        "oracle_order: []\nprofiles: {mini: {corpora: {toy: {corpus: toy, count: 2}}}}\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "METIS_BENCH_HOME": str(tmp_path / "home")}
    where = subprocess.run(
        [sys.executable, "-c", "import metis_bench; print(metis_bench.__file__)"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert str(tmp_path / "site") in where.stdout, "the unpacked wheel is what runs"
    command = [sys.executable, "-m", "metis_bench.cli", "run", "mine.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs").glob("mine-mini-*/report/index.html"))
