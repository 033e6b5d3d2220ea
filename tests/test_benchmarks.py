"""The table of all benchmarks: every part gives rows, and what cannot run says why."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import REPO


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    return importlib.import_module("all")


@pytest.fixture
def shared_rows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(REPO / "benchmarks")
    return importlib.import_module("_rows")


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPO / "benchmarks" / "all.py"), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_a_quick_run_prints_one_table_and_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    done = run(
        "--quick",
        "--only",
        "generate-mini",
        "generate-gpu",
        "dnsmos",
        "--speech",
        "no",
        "--json",
        "a.json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "| what | unit | ours | compared with | limit | ratio | aim | met |" in done.stdout
    assert "no GPU on this machine" in done.stdout and "no such folder: no" in done.stdout
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["quick"] and found["hardware"]["cores"] >= 1 and found["created"]
    measured, *absent = found["rows"]
    assert measured["ratio"] == pytest.approx(measured["other"] / measured["ours"])
    assert 0 < measured["limit"] < measured["ours"]
    assert [row["ours"] for row in absent] == [None, None]


def test_what_would_lose_the_numbers_in_the_end_is_told_in_the_beginning(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for bad in ("file/a.json", "."):
        done = run("--only", "generate-gpu", "--json", bad, cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    (tmp_path / "metis-bench.yaml").write_text("workers: 0\n")
    done = run("--only", "generate-gpu", cwd=tmp_path)
    assert done.returncode == 1 and "metis-bench.yaml:1" in done.stderr and "Traceback" not in done.stderr


def test_ratios_and_verdicts_follow_from_the_numbers(shared_rows: ModuleType, tmp_path: Path) -> None:
    row, aim = shared_rows.Row, shared_rows.Aim
    three = aim("ratio", ">=", 3)
    assert row("loop", "s", 2.0, 6.0, aim=three).met is True
    assert row("loop", "s", 2.0, 5.9, aim=three).met is False
    assert row("rate", "1/s", 6.0, 2.0, higher=True).ratio == 3
    assert row("plan", "s", 3.1, aim=aim("ours", "<=", 3)).met is False
    assert row("absent", aim=three, why="no GPU").met is None and row("absent").ratio is None
    rows = [row("loop", "s", 2.0, 6.0, aim=three), row("absent", why="no GPU")]
    shared_rows.write(tmp_path / "rows.json", rows)
    assert shared_rows.read(tmp_path / "rows.json") == rows


def test_a_part_that_fails_is_a_row_and_no_crash(table: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    broken = table.Part("generate", quick=("--size", "gigantic"))
    (row,) = table.measured("broken", broken, True, None)
    assert row.why.startswith("failed (exit code 2)") and "gigantic" in row.why
    lines = table.table([row, table.Row("loop", "s", 2.0, 6.0)], False).splitlines()
    assert "not measured: failed" in lines[2] and lines[3] == "| loop | s | 2 | 6 |  | 3 x |  |  |"


def test_every_benchmark_of_the_folder_is_a_part(table: ModuleType) -> None:
    scripts = {p.stem for p in (REPO / "benchmarks").glob("*.py") if not p.name.startswith("_")} - {"all"}
    assert {part.script for part in table.PARTS.values()} == scripts
    for name in scripts:
        assert f"{name}.py" in (REPO / "benchmarks" / "README.md").read_text()
