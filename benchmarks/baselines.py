"""What the baseline layer costs: the start of a worker, and its part in every item.

    python benchmarks/baselines.py [--items 500]

An adapter that does nothing but return 10 ms of a constant ramp is run item by item through `host.Host`, as every
competitor is. Its own time, as the worker reports it, is subtracted; what is left is the protocol, the wav file it
writes included. "as a system" adds what the harness does around it: input files, reading, checking.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from _rows import Row, add_option, whole_number, write

from metis_bench.baselines.conformance import requests
from metis_bench.baselines.host import Host, Made
from metis_bench.baselines.manifest import read
from metis_bench.systems.baseline import BaselineParams, BaselineSystem, class_of

ADAPTER = """
def load(ctx):
    return Ramp()

class Ramp:
    def run(self, item):
        return [i / 160 for i in range(160)], 16000
"""
MANIFEST = """
schema: 1
name: ramp
title: A ramp
tasks: [tts]
status: runnable
upstream: {url: none}
licence: {code: MIT, weights: none}
device: {gpu: none}
"""


def system(folder: Path) -> BaselineSystem:
    """The baseline, written to a folder."""
    (folder / "ramp").mkdir()
    (folder / "ramp" / "adapter.py").write_text(ADAPTER, encoding="utf-8")
    (folder / "ramp" / "system.yaml").write_text(MANIFEST, encoding="utf-8")
    made = class_of(read(folder / "ramp"))(BaselineParams())
    assert isinstance(made, BaselineSystem)
    return made


def starts(ramp: BaselineSystem, count: int = 10) -> list[float]:
    """Seconds from nothing to a loaded worker."""
    out = []
    for _ in range(count):
        host = Host(ramp.launch())
        began = time.perf_counter()
        host.start()
        out.append(time.perf_counter() - began)
        host.close()
    return out


def protocol(ramp: BaselineSystem, items: int) -> float:
    """Seconds an item beside the adapter's own."""
    host = Host(ramp.launch())
    host.start()
    own, began = 0.0, time.perf_counter()
    for number in range(items):
        (made,) = host.make([{"id": str(number), "seed": number, "out": str(host.work / str(number))}])
        assert isinstance(made, Made)
        own += made.seconds
    took = time.perf_counter() - began
    host.close()
    return (took - own) / items


def whole(ramp: BaselineSystem, items: int) -> float:
    """Seconds an item through the system."""
    ramp.setup()
    (request, *_) = requests("tts")
    began = time.perf_counter()
    for _ in range(items):
        ramp.generate(request)
    took = time.perf_counter() - began
    ramp.close()
    return took / items


def main() -> None:
    """Print the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=whole_number, default=500)
    add_option(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ramp = system(Path(folder))
        start, item = 1000 * statistics.median(starts(ramp)), 1000 * protocol(ramp, args.items)
        print(f"start of a worker: {start:.0f} ms (median of 10)")
        print(f"protocol: {item:.2f} ms an item, over {args.items}")
        system_item = 1000 * whole(ramp, args.items)
        print(f"as a system: {system_item:.2f} ms an item")
    costs = {"start of a worker": start, "protocol, an item": item, "as a system, an item": system_item}
    write(args.rows, [Row(f"competitor in a process of its own: {what}", "ms", ms) for what, ms in costs.items()])


if __name__ == "__main__":
    main()
