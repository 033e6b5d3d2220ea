"""A CPU-bound suite on one and on two nodes of a Ray cluster, and on this machine alone.

    python benchmarks/executors.py --clips 120

Starts a cluster on this machine: a head that does no work and one or two nodes of one CPU each. Every run generates
(log-MMSE) and scores (DNSMOS, ESTOI) the same clips into a store of its own; the clock runs from the plan to the
results, connecting and asking the nodes included, the report not. Efficiency is the time of one worker over twice the
time of two. All runs must give the same results, but for what was measured. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _rows import Aim, Row, add_option, length_s, whole_number, write

from metis_bench.audio import Audio, encode_wav
from metis_bench.config import Config
from metis_bench.engine import run as engine
from metis_bench.suite.load import load_suite

RATE = 16_000
SUITE = """\
name: executors
task: se
corpora: {{speech: {{corpus: folder, task: se, path: {path}}}}}
systems: [logmmse]
metrics: [dnsmos, estoi]
"""


def make(folder: Path, clips: int, seconds: float) -> None:
    """Clips of modulated tones in noise, in a folder of their own, and a suite beside it."""
    t = np.arange(int(RATE * seconds)) / RATE
    for part in ("clean", "noisy"):
        (folder / "speech" / part).mkdir(parents=True)
    for number in range(clips):
        rng = np.random.default_rng(number)
        clean = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 400) * t) * (1 + np.sin(2 * np.pi * 4 * t))
        for part, noise in (("clean", 0.0), ("noisy", 0.02)):
            samples = (clean + noise * rng.standard_normal(len(t))).astype(np.float32)
            (folder / "speech" / part / f"{number}.wav").write_bytes(encode_wav(Audio(samples, RATE)))
    (folder / "suite.yaml").write_text(SUITE.format(path=folder / "speech"), encoding="utf-8")


def timed(folder: Path, name: str, workers: int, executor: str) -> tuple[float, dict[str, Any]]:
    """Seconds of a run, and its results without what was measured of the machine."""
    config = Config(store=folder / name, runs=folder / f"{name}-runs", workers=workers, executor=executor)
    suite = load_suite(folder / "suite.yaml")
    started = time.perf_counter()
    result = engine.run(suite, config)
    seconds = time.perf_counter() - started
    assert result.exit_code == 0, result.results["failures"]
    results: dict[str, Any] = json.loads((result.folder / "results.json").read_text())
    for system in results["systems"]:
        del system["hardware"]
    return seconds, results


def main() -> None:
    """Print a line a run, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=whole_number, default=120)
    parser.add_argument("--seconds", type=length_s, default=10.0, help="length of a clip")
    add_option(parser)
    args = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    engine.render = lambda folder, _: folder / "report" / "index.html"  # type: ignore[assignment]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cores = os.cpu_count() or 1  # `workers` is what a machine like this one gets: each worker asks for one core
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make(folder, args.clips, args.seconds)
        took: dict[str, float] = {}
        found = []
        cluster.add_node(num_cpus=1)
        for name, workers, executor in (
            ("one node", cores, f"ray:{cluster.address}"),
            ("two nodes", cores, f"ray:{cluster.address}"),
            ("local, two workers", 2, "local"),
        ):
            if name == "two nodes":
                cluster.add_node(num_cpus=1)
            took[name], results = timed(folder, name.replace(" ", "-"), workers, executor)
            found.append(results)
            print(f"{name:20} {took[name]:7.1f} s", flush=True)
    cluster.shutdown()
    print(f"efficiency at two workers: {took['one node'] / took['two nodes'] / 2:.2f}")
    print(f"two nodes against this machine alone: {took['local, two workers'] / took['two nodes']:.2f} x")
    print(f"equal results: {all(results == found[0] for results in found)}")
    same = None if all(results == found[0] for results in found) else "the results differ"
    two, local = took["two nodes"], took["local, two workers"]
    write(
        args.rows,
        [
            Row(
                "a run on two Ray nodes, against one", "s", two, took["one node"], aim=Aim("ratio", ">=", 1.8), why=same
            ),
            Row("a run on two Ray nodes, against two local workers", "s", two, local),
        ],
    )


if __name__ == "__main__":
    main()
