"""kill -9 at random moments, then run again: nothing finished is repeated, and the results are those of a quiet run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

TOYS = str(Path(__file__).parent.parent / "toys.py")
KILLS = 20
COSTS = ("wall_s", "latency_s", "peak_mb", "hardware")  # measured, so never equal twice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    suite = {
        "name": "kill",
        "task": "se",
        "corpora": {"toy": {"corpus": "toy", "count": 20}},
        "systems": [{"slow": {"system": "toy-noise", "delay_s": 0.05}}, {"toy-moody": {"mood": {"item3": "raise"}}}],
        "metrics": ["toy-level"],
        "seeds": [0, 1],
        "stats": {"resamples": 200},
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    (tmp_path / "metis-bench.yaml").write_text(yaml.safe_dump({"plugins": [TOYS], "workers": 2}))
    return tmp_path


def command(folder: Path, store: str, out: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "metis_bench.cli", "run", "suite.yaml", "--store", store, "--out", out, "--json"],
        cwd=folder,
        env={**os.environ, "METIS_BENCH_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell leaves it ignored
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 6, stderr.decode()  # one item fails by design
    return process.returncode


def stamps(store: Path) -> dict[str, int]:
    records = [p for s in ("generation", "feature", "score") for p in (store / s).rglob("*.json")]
    return {str(p.relative_to(store)): p.stat().st_mtime_ns for p in records}


def results_without_costs(run: Path) -> dict[str, object]:
    lines = [json.loads(x) for x in (run / "generations.jsonl").read_text().splitlines()]
    generations = [{k: v for k, v in line.items() if k not in COSTS} for line in lines]
    return {
        "results": (run / "results.json").read_bytes(),
        "scores": (run / "scores.jsonl").read_bytes(),
        "plan": (run / "plan.jsonl").read_bytes(),
        "generations": generations,
    }


@pytest.mark.long
def test_kill_nine_twenty_times(folder: Path) -> None:
    rng = random.Random(1)
    finish(command(folder, "quiet", "quiet-run"))
    seen: dict[str, int] = {}
    for _ in range(KILLS):
        process = command(folder, "killed", "killed-run")
        time.sleep(rng.uniform(0.3, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.1)  # workers die with their parent
        now = stamps(folder / "killed")
        assert {k: now.get(k) for k in seen} == seen, "a finished piece of work was done again"
        seen = now
    finish(command(folder, "killed", "killed-run"))
    final = stamps(folder / "killed")
    assert {k: final.get(k) for k in seen} == seen
    assert results_without_costs(folder / "killed-run") == results_without_costs(folder / "quiet-run")
    left = list((folder / "killed").rglob("*.tmp"))
    assert len(left) <= 2 * KILLS, "at most the one file each worker was writing"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_130_and_resumable(folder: Path, stop: signal.Signals) -> None:
    process = command(folder, "store", "run")
    deadline = time.monotonic() + 60
    while not list((folder / "store").rglob("generation/*/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr.decode()
    assert b"run the same command again to resume" in stderr
    assert b"Traceback" not in stderr
    before = stamps(folder / "store")
    finish(command(folder, "store", "run"))
    after = stamps(folder / "store")
    assert {k: after[k] for k in before} == before
