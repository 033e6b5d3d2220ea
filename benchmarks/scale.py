"""Large plans: how long planning and resuming take, and what a run keeps in memory.

    python benchmarks/scale.py [--quick]

Makes a corpus of short noisy tones, then measures, each in a process of its own, on the wall clock and in CPU seconds
(on a busy machine only these mean anything):

plan      what `metis-bench plan` does for 100,000 cells: read the corpus, hash and probe every file, make all keys, ask
          the store for each of them (which holds none), and tell each system's state and estimate
run       10,000 cells generated and scored, so that there is a finished run
resume    that run again: the plan, every output and score found in the store, files written, aggregated, sealed
report    its report
memory    the peak of the run's own process with few items and with many, of one system, generated and scored

A cell is an output: one system, one item, one seed. Metrics: SI-SDR and the real-time factor. --quick: a fiftieth of
it, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _rows import Aim, Row, add_option, write

from metis_bench.audio import Audio, encode_wav

ITEMS, SYSTEMS, FINISHED, FEW = 5000, 20, 500, 50
QUICK = (100, 5, 20, 10)
SECONDS_AIM = {"plan": 3.0, "resume": 3.0}
FLAT = 0.9  # few items over many: at most about a tenth more
RATE, SECONDS = 8000, 0.25
SUITE = """\
name: scale
task: se
corpora: {{speech: {{corpus: folder, task: se, path: {path}}}}}
systems: [{systems}]
metrics: [si_sdr, rtf]
"""


def make(folder: Path, items: int, systems: int) -> None:
    """Files, a manifest, a suite."""
    t = np.arange(int(RATE * SECONDS)) / RATE
    lines = []
    for part in ("clean", "noisy"):
        (folder / part).mkdir(parents=True)
    for number in range(items):
        rng = np.random.default_rng(number)
        clean = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 1000) * t)
        for part, noise in (("clean", 0.0), ("noisy", 0.02)):
            samples = (clean + noise * rng.standard_normal(len(t))).astype(np.float32)
            (folder / part / f"{number}.wav").write_bytes(encode_wav(Audio(samples, RATE)))
        files = {"source": f"noisy/{number}.wav", "reference": f"clean/{number}.wav"}
        lines.append(json.dumps({"id": str(number), **files}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    entries = ", ".join(f"{{s{i}: {{system: low-pass, cutoff_hz: {1000 + 100 * i}}}}}" for i in range(systems))
    (folder / "suite.yaml").write_text(SUITE.format(path=folder, systems=entries), encoding="utf-8")


def step(name: str, folder: Path, items: int, systems: int) -> None:
    """Do one thing in this process; print what it took as JSON."""
    from metis_bench.config import Config
    from metis_bench.engine import run as engine
    from metis_bench.engine.outputs import Outputs
    from metis_bench.engine.prepare import plan_cells, prepare, scoring_estimate
    from metis_bench.engine.store import Store
    from metis_bench.suite.load import load_suite

    only = tuple(f"s{i}" for i in range(systems))
    config = Config(store=folder / "store", runs=folder / "runs", workers=2)
    write_report, engine.render = engine.render, lambda folder, _: folder / "report" / "index.html"  # type: ignore[assignment]
    wall, cpu = time.perf_counter(), time.process_time()
    suite = load_suite(folder / "suite.yaml", only_systems=only, limit=items)
    if name == "plan":
        prepared = prepare(suite, config)
        outputs = Outputs(prepared.plan, Store(config.store))
        outputs.look(prepared.plan.rows)
        plan_cells(prepared, outputs, config)
        scoring_estimate(prepared, outputs, config)
        assert len(prepared.plan.rows) == items * systems and prepared.id
    else:
        result = engine.run(suite, config)
        assert result.exit_code == 0
        if name == "report":
            wall, cpu = time.perf_counter(), time.process_time()
            write_report(result.folder, Store(config.store))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, peak]))


def measured(name: str, folder: Path, items: int, systems: int) -> tuple[float, float]:
    """Print a line; returns seconds of wall clock, and the peak of memory in MB."""
    command = [sys.executable, __file__, "--step", name, "--folder", str(folder)]
    command += ["--items", str(items), "--systems", str(systems)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, cpu, peak = json.loads(done.stdout)
    print(f"{name:7} {items * systems:7,} cells: {wall:6.2f} s, {cpu:5.2f} s of CPU, peak {peak:4.0f} MB", flush=True)
    return float(wall), float(peak)


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--step", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--items", "--systems"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="small numbers")
    add_option(parser)
    args = parser.parse_args()
    if args.step:
        step(args.step, Path(args.folder), args.items, args.systems)
        return
    items, systems, finished, few = QUICK if args.quick else (ITEMS, SYSTEMS, FINISHED, FEW)
    rows = []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make(folder, items, systems)
        for name, many in (("plan", items), ("run", finished), ("resume", finished), ("report", finished)):
            wall, _ = measured(name, folder, many, systems)
            aim = Aim("ours", "<=", SECONDS_AIM[name]) if name in SECONDS_AIM else None
            rows.append(Row(f"{name}, {many * systems:,} cells", "s", wall, aim=aim))
        small, large = (measured("memory", folder, count, 1)[1] for count in (few, items))
    print(f"memory of the run's own process: {1024 * (large - small) / (items - few):.1f} kB an item")
    what = f"memory of a run's own process, {items:,} items against {few}"
    write(args.rows, [*rows, Row(what, "MB", large, small, aim=Aim("ratio", ">=", FLAT))])


if __name__ == "__main__":
    main()
