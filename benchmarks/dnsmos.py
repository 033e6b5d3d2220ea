"""Time our DNSMOS against `speechmos` on the same recordings, in one process, and compare every score.

    python benchmarks/dnsmos.py FOLDER [--count 20] [--threads 0]

Takes `--count` files evenly from FOLDER (sorted, recursive), at 16 kHz. Both sides are warmed up first; then each file
is scored by both, one after the other, in alternating order; the ratio is that of the total times. speechmos needs
librosa.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _rows import Aim, Row, add_option, whole_number, write
from speechmos import dnsmos as official

from metis_bench.audio import F32, load
from metis_bench.errors import AudioError
from metis_bench.metrics import _dnsmos

NAMES = ("sig", "bak", "ovrl", "p808")
Scorer = Callable[[F32], dict[str, float]]


def theirs(audio: F32) -> dict[str, float]:
    """speechmos, as published."""
    result = official.run(audio, _dnsmos.RATE)
    return {name: float(result[f"{name}_mos"]) for name in NAMES}


def pick(folder: Path, count: int) -> list[F32]:
    """`count` recordings of `folder`, evenly spaced; undecodable ones and silence under a frame are passed over."""
    clips = []
    for file in sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".wav", ".flac"}):
        try:
            samples = load(file, _dnsmos.RATE).samples.clip(-1, 1)
        except AudioError:
            continue
        if len(samples) >= _dnsmos.FRAME:
            clips.append(samples)
    return [clips[round(i)] for i in np.linspace(0, len(clips) - 1, min(count, len(clips)))]


def timed(scorer: Scorer, audio: F32) -> tuple[dict[str, float], float]:
    """Scores and seconds."""
    start = time.perf_counter()
    return scorer(audio), time.perf_counter() - start


def main() -> None:
    """Print totals, the ratio and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=whole_number, default=20)
    parser.add_argument("--threads", type=int, default=0)
    add_option(parser)
    args = parser.parse_args()

    def ours(audio: F32) -> dict[str, float]:
        return {name: float(scores.mean()) for name, scores in _dnsmos.dnsmos(audio, args.threads).items()}

    clips = pick(args.folder, args.count)
    for scorer in (theirs, ours):
        scorer(clips[0])
    totals, worst, windows = {"speechmos": 0.0, "metis-bench": 0.0}, 0.0, 0
    for i, audio in enumerate(clips):
        pair: list[tuple[str, Scorer]] = [("speechmos", theirs), ("metis-bench", ours)]
        results = {}
        for name, scorer in pair if i % 2 == 0 else pair[::-1]:
            results[name], seconds = timed(scorer, audio)
            totals[name] += seconds
        a, b = results["speechmos"], results["metis-bench"]
        worst = max(worst, *(abs(a[n] - b[n]) for n in NAMES))
        windows += len(_dnsmos.window_starts(len(_dnsmos.tile(audio))))
    seconds = sum(map(len, clips)) / _dnsmos.RATE
    print(f"{len(clips)} files, {seconds:.1f} s of audio, {windows} windows, {os.cpu_count()} cores")
    for name, total in totals.items():
        print(f"{name:12} {total:7.2f} s   {1000 * total / windows:6.1f} ms a window   RTF {total / seconds:.3f}")
    what = f"DNSMOS of {len(clips)} recordings, {seconds:.0f} s, against speechmos"
    write(args.rows, [Row(what, "s", totals["metis-bench"], totals["speechmos"], aim=Aim("ratio", ">=", 3))])
    print(f"ratio        {totals['speechmos'] / totals['metis-bench']:7.2f} x   largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
