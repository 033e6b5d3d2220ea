"""How much memory a run takes for few and for many items: its own process, and its largest worker.

    python benchmarks/memory.py [--items 60 6000]

Items are one-second clips, all different, scored with si_sdr, estoi and sim. Each size is a run in a new process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _rows import Aim, Row, add_option, whole_number, write

from metis_bench.audio import Audio, encode_wav

RATE = 16_000
FLAT = 0.9  # few items over many: at most about a tenth more
SUITE = """\
name: memory
task: se
corpora: {{speech: {{corpus: folder, task: se, path: {path}}}}}
systems: [noisy]
metrics: [si_sdr, estoi, sim: {{model: ge2e, pair: reference}}]
"""


def make(folder: Path, count: int) -> None:
    """Tones in noise, and a manifest."""
    t = np.arange(RATE) / RATE
    lines = []
    for number in range(count):
        rng = np.random.default_rng(number)
        clean = 0.1 * np.sin(2 * np.pi * rng.uniform(100, 1000) * t) * (1 + np.sin(2 * np.pi * 4 * t))
        noisy = clean + 0.02 * rng.standard_normal(RATE)
        for part, samples in (("clean", clean), ("noisy", noisy)):
            path = folder / part / f"{number}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_wav(Audio(samples.astype(np.float32), RATE)))
        lines.append(
            json.dumps({"id": str(number), "source": f"noisy/{number}.wav", "reference": f"clean/{number}.wav"})
        )
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "suite.yaml").write_text(SUITE.format(path=folder), encoding="utf-8")


def measured(folder: Path) -> None:
    """Run the suite in this process and print the peaks, in MB."""
    from metis_bench.config import Config
    from metis_bench.engine.run import run
    from metis_bench.suite.load import load_suite

    run(load_suite(folder / "suite.yaml"), Config(store=folder / "store", runs=folder / "runs", workers=2))
    own, worker = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{own:.0f} {worker:.0f}")


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=whole_number, nargs="+", default=[60, 6000])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    add_option(parser)
    args = parser.parse_args()
    if args.folder:
        measured(args.folder)
        return
    peaks = []
    for count in args.items:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            command = [sys.executable, __file__, "--folder", folder]
            own, worker = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        print(f"{count:6} items: the run's own process {own} MB, its largest worker {worker} MB", flush=True)
        peaks.append((float(own), float(worker)))
    (few, small), (many, large) = peaks[0], peaks[-1]
    what = f"memory of a run, {args.items[-1]} items against {args.items[0]}"
    flat = Aim("ratio", ">=", FLAT)
    write(
        args.rows,
        [
            Row(f"{what}: its own process", "MB", many, few, aim=flat),
            Row(f"{what}: its largest worker", "MB", large, small, aim=flat),
        ],
    )


if __name__ == "__main__":
    main()
