"""Run every benchmark of this folder, one after the other, and print one table: ours, what it is compared with, limit.

    python benchmarks/all.py [--speech LIBRISPEECH] [--only NAME] [--json FILE]
    python benchmarks/all.py --quick

Each benchmark is a process of its own, and compares within one run of its own. One that cannot run here (no GPU, no
corpus, an extra that is not installed) or that fails is a row that says why. An hour or more on two cores, on a quiet
machine; --quick only shows that everything works: its sizes are not those of the aims, which are not judged then.

ours, compared with: in the row's unit; the other side is the official mode (the release, pass for pass), the loop over
the public packages, or what the row names. limit: the same arithmetic at the rate of a large matrix product. ratio: how
many times as good ours is. aim: what was set out for (benchmarks/README.md); met: whether this run meets it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from _rows import Row, read

from metis_bench import provenance
from metis_bench.config import find_config, load_config
from metis_bench.corpora.base import corpora
from metis_bench.engine.run import require_writable
from metis_bench.errors import MetisBenchError, MissingPrerequisite, install_command
from reference_models.memory import free_mb

HERE = Path(__file__).resolve().parent
BF16_UNITS = ("avx512_bf16", "amx_bf16", "bf16")  # in /proc/cpuinfo; the last one: Arm
FULL_GB = 14  # of free memory: full size in fp32 and bf16, and what is random about it
HEAD = ("what", "unit", "ours", "compared with", "limit", "ratio", "aim", "met")
TINY = ("--size", "tiny", "--seconds", "0.1", "--prompt-seconds", "0.1", "--repeats", "1", "--threads", "1")


@dataclass(frozen=True)
class Part:
    """A benchmark. standard, quick: its arguments (quick None: not in a quick run); lacks: why it cannot run here."""

    script: str
    standard: tuple[str, ...] = ()
    quick: tuple[str, ...] | None = ()
    lacks: Callable[[], str | None] = lambda: None
    speech: bool = False  # its first argument is the folder of LibriSpeech


def no_gpu() -> str | None:
    """Why nothing can be measured on a GPU."""
    return None if load_config().gpus() else "no GPU on this machine"


def no_bf16() -> str | None:
    """Why bf16 cannot be fast on this CPU, or full size does not fit."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        flags = set()
    if not flags & set(BF16_UNITS):
        return f"this CPU has no units for bf16 ({', '.join(BF16_UNITS)})"
    return too_small()


def too_small() -> str | None:
    """Why full size does not fit into the memory."""
    free = free_mb()
    if free is None or free > 1000 * FULL_GB:
        return None
    return f"{free / 1000:.0f} GB of memory are free, and full size takes up to {FULL_GB}"


def without(module: str, extra: str) -> Callable[[], str | None]:
    """Why what needs a package cannot run."""

    def lacks() -> str | None:
        return None if importlib.util.find_spec(module) else f"needs {module}: {install_command(extra)}"

    return lacks


def speech_folder(given: Path | None) -> Path:
    """Where LibriSpeech lies: --speech, or as the machine's config says. Raises MissingPrerequisite."""
    if given is not None:
        if not given.is_dir():
            raise MissingPrerequisite(f"no such folder: {given}")
        return given.resolve()
    cls = corpora.get("librispeech")
    found = load_config().corpus_root("librispeech", cls.default_folder, cls.how_to_get)
    assert found is not None
    return found


BOTH = ("--dtype", "float32", "bfloat16")
PARTS = {
    "generate-mini": Part("generate", ("--size", "mini", *BOTH, "--batch", "1", "8", "--device", "cpu"), TINY),
    "generate-cpu": Part(
        "generate",
        ("--size", "full", *BOTH, "--seconds", "0.5", "--prompt-seconds", "1", "--device", "cpu"),
        None,
        no_bf16,
    ),
    "generate-gpu": Part(
        "generate",
        ("--size", "full", *BOTH, "--compile", "--batch", "1", "16", "--seconds", "10", "--device", "cuda"),
        (*TINY, "--device", "cuda"),
        no_gpu,
    ),
    "full-size": Part("full_size", (), None, too_small),
    "dnsmos": Part("dnsmos", ("--count", "20"), ("--count", "2"), speech=True),
    "score": Part("score", ("--count", "60"), ("--count", "2"), without("resemblyzer", "embedded"), speech=True),
    "memory": Part("memory", (), ("--items", "2", "4"), without("resemblyzer", "embedded")),
    "scale": Part("scale", (), ("--quick",)),
    "executors": Part("executors", (), ("--clips", "4", "--seconds", "1"), without("ray", "cluster")),
    "report": Part("report", (), ("--systems", "2", "--items", "20", "--seeds", "1", "--clusters", "5")),
    "startup": Part("startup", (), ("--rounds", "1"), without("whisper", "asr")),
    "sensitivity": Part("sensitivity", (), ("--systems", "2", "--items", "20")),
    "intervals": Part("intervals", ("--runs", "1000"), ("--runs", "5")),
    "baselines": Part("baselines", (), ("--items", "3")),
    "training": Part(
        "training",
        ("--recompute", "off"),
        ("--size", "tiny", "--steps", "1", "--rounds", "1", "--examples", "60", "--batch-tokens", "3000", "--cpu"),
        without("accelerate", "train"),
    ),
    "mini-family": Part("mini_family", (), None, without("pocketsphinx", "embedded")),
}


def environment() -> dict[str, str]:
    """Ours, with the machine's config and these packages wherever the benchmark runs."""
    config = find_config(None)
    named = {} if config is None else {"METIS_BENCH_CONFIG": str(config.resolve())}
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **named, "PYTHONPATH": path}


def measured(name: str, part: Part, quick: bool, speech: Path | None) -> list[Row]:
    """The rows of one benchmark, or the one that says why there are none."""
    given = part.quick if quick else part.standard
    if given is None:
        return [Row(name, why="not in a quick run")]
    if (reason := part.lacks()) is not None:
        return [Row(name, why=reason)]
    try:
        first = [str(speech_folder(speech))] if part.speech else []
    except MetisBenchError as error:
        return [Row(name, why=error.message)]
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        to = Path(folder) / "rows.json"
        command = [sys.executable, str(HERE / f"{part.script}.py"), *first, *given, "--rows", str(to)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment())
        if done.returncode == 0 and to.is_file():
            return read(to)
    said = [line.strip() for line in done.stderr.splitlines()]
    lines = [line for line in said if line and not line.startswith("fix:")] or ["it said nothing"]
    how = f"exit code {done.returncode}" if done.returncode >= 0 else f"killed by signal {-done.returncode}"
    return [Row(name, why=f"failed ({how}): {lines[-1][:200]}")]


def cells(row: Row, quick: bool) -> list[str]:
    """A row of the table."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    aim = "" if row.aim is None else str(row.aim)
    if row.why is not None:
        return [row.what, row.unit, row.why if row.ours else f"not measured: {row.why}", "", "", "", aim, ""]
    met = {True: "yes", False: "no", None: ""}[row.met]
    ratio = "" if row.ratio is None else f"{number(row.ratio)} x"
    values = [number(value) for value in (row.ours, row.other, row.limit)]
    return [row.what, row.unit, *values, ratio, aim, "not judged" if quick and met else met]


def as_json(row: Row, quick: bool) -> dict[str, Any]:
    """With what follows from its numbers."""
    return {**asdict(row), "ratio": row.ratio, "met": None if quick or row.why else row.met}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything works")
    parser.add_argument("--speech", type=Path, metavar="DIR", help="LibriSpeech (default: where the config says)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows there")
    return parser.parse_args()


def table(rows: Sequence[Row], quick: bool) -> str:
    """Markdown."""
    lines = [list(HEAD), ["---"] * len(HEAD), *(cells(row, quick) for row in rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def main() -> None:
    """Print the table; ends with 1 where a benchmark failed."""
    args = arguments()
    try:
        load_config()  # now, rather than after an hour
        if args.json is not None:
            require_writable(args.json.resolve().parent, "folder of --json")
            args.json.open("a", encoding="utf-8").close()
    except (MetisBenchError, OSError) as error:
        sys.exit(f"error: {error}")
    made, machine = provenance.collect(), provenance.hardware()
    rows: list[Row] = []
    failed = False
    for name in args.only or PARTS:
        started = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        found = measured(name, PARTS[name], args.quick, args.speech)
        failed = failed or any((row.why or "").startswith("failed") for row in found)
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        rows += found
    gpus = machine["gpus"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, GPUs: {gpus or 'none'}"
    print(f"{where}; torch {made['packages']['torch']}; {made['created']}{'; quick' if args.quick else ''}\n")
    print(table(rows, args.quick))
    if args.json is not None:
        facts = {name: made[name] for name in ("created", "python", "platform", "git")}
        whole = {**facts, "torch": made["packages"]["torch"], "hardware": machine, "quick": args.quick}
        args.json.write_text(
            json.dumps({**whole, "rows": [as_json(row, args.quick) for row in rows]}, indent=1), encoding="utf-8"
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
