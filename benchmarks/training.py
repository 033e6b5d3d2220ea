"""How fast training is: steps, tokens and arithmetic a second, on synthetic tokens, ways of computing side by side.

    python benchmarks/training.py --recipe base --size mini --processes 1 2
    python benchmarks/training.py --recipe tts --size full --precision bf16 --processes 1 8 --exchange ddp fsdp
    accelerate launch --num_processes 8 --multi_gpu benchmarks/training.py --recipe base --size full

Each row is a way: precision, blocks recomputed or not, processes, and how they share the model (ddp: whole in each,
fsdp: in parts). All train the same recipe from nothing with `training.loop`, which measures itself: a row is the median
of its windows of `--steps` steps; the first window of a run warms it up and is left out. Rounds visit the rows in
alternating order. Every process gets `--batch-tokens` padded tokens a step, so more processes do more work a step.
Under `accelerate launch` the processes are those that were launched.

steps/s, tokens/s: over all processes; tokens are of examples, phones included, padding not. padding: share of what goes
through the model that is no token, in these steps. TFLOP/s: linear layers and attention, forward and backward, what is
recomputed not counted; MFU: its share of the bf16 peak of the devices, where that is known (no CPU's is). GB: most
memory of the main process (GPUs only). speed-up: of tokens/s over the first row.

Before that it prints how much of all batches of an epoch is padding, and how large the largest is, which follows from
the lengths alone: `--data` takes those of your shards; else they are log-normal, median 7 s, 1 to 30 s, with about 13
phones a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _rows import Row, add_option, whole_number, write
from numpy.typing import NDArray

from reference_models.config import SEMANTIC_RATE
from reference_models.errors import MetisError
from reference_models.training.batches import TokenBatches, generator
from reference_models.training.logs import METRICS, read_metrics
from reference_models.training.loop import train
from reference_models.training.models import Trainee, build
from reference_models.training.processes import Processes, leave
from reference_models.training.recipe import load
from reference_models.training.run import loop_config
from reference_models.training.shards import Example, Shards

WINDOWS = 3  # measured, of a run
EXCHANGE = {"ddp": {}, "fsdp": {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}}


@dataclass(frozen=True)
class Way:
    """A row of the table. launch: processes and exchange, None where they were launched from outside."""

    precision: str
    recompute: bool
    launch: tuple[int, str] | None = None


class Synthetic:
    """Examples of random tokens: what `TokenBatches` asks of `Shards`."""

    def __init__(self, trainee: Trainee, count: int) -> None:
        rng = generator("synthetic")
        seconds = np.clip(np.exp(rng.normal(np.log(7), 0.6, count)), 1, 30)
        self.frames = np.round(seconds * SEMANTIC_RATE).astype(np.int32)
        self.phones = np.round(seconds * rng.normal(13, 1.5, count).clip(8, 18)).astype(np.int32)
        longest, config = int(self.frames.max()), trainee.model.config
        condition = getattr(config, "condition_dim", 1)
        self.arrays: dict[str, NDArray[Any]] = {  # of the longest one; others are its beginnings
            "semantic": rng.integers(getattr(config, "semantic_size", config.codebook_size), size=longest),
            "codes": rng.integers(config.codebook_size, size=(longest, getattr(config, "num_quantizers", 1))),
            "phones": rng.integers(getattr(config, "phone_vocab", 2) - 1, size=int(self.phones.max())),
            "condition": rng.standard_normal((longest, condition), np.float32),
        }

    def key(self, i: int) -> str:
        """Of example i."""
        return f"synthetic-{i}"

    def read(self, i: int) -> Example:
        """Example i."""
        sizes = {name: self.phones[i] if name == "phones" else self.frames[i] for name in self.arrays}
        return Example(self.key(i), int(self.frames[i]), {n: a[: sizes[n]] for n, a in self.arrays.items()})


def batches_of(trainee: Trainee, args: argparse.Namespace) -> TokenBatches:
    """Of the shards that are given, or synthetic ones."""
    data: Any = Shards(args.data) if args.data else Synthetic(trainee, args.examples)
    longest = round(trainee.recipe.max_seconds * SEMANTIC_RATE)
    return TokenBatches(data, tokens=trainee.recipe.batch_tokens, seed=0, names=trainee.arrays, longest=longest)


def trainee_of(args: argparse.Namespace, way: Way, processes: int) -> Trainee:
    """The recipe, changed for a row."""
    changes = {
        "size": args.size,
        "start": "scratch",
        "precision": way.precision,
        "recompute": str(way.recompute).lower(),
        "batch_tokens": args.batch_tokens * processes,
    }
    return build(load(args.recipe, [*(f"{key}={value}" for key, value in changes.items()), *args.set]))


def padding(batches: TokenBatches) -> tuple[float, int]:
    """Share of an epoch's padded batches that is no token, and the places of the largest. Nothing is read for it."""
    data, tokens, places = batches.data, 0, []
    frames = data.frames if batches.longest is None else np.minimum(data.frames, batches.longest)
    for step in range(len(batches.order.bounds) - 1):
        rows = batches.order.rows(step)
        places.append(0)
        for sizes in (frames, data.phones) if "phones" in batches.names else (frames,):
            tokens += int(sizes[rows].sum())
            places[-1] += int(sizes[rows].max()) * len(rows)
    return 1 - tokens / sum(places), max(places)


def measure(args: argparse.Namespace, way: Way) -> list[dict[str, float]]:
    """Lines of the log of one run in the processes that there are, without the first one."""
    processes = Processes(args.cpu)
    trainee = trainee_of(args, way, processes.count)
    config = loop_config(trainee.recipe, cpu=args.cpu)
    config = replace(config, steps=(1 + WINDOWS) * args.steps, log_every=args.steps, checkpoint_every=0)
    if processes.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        train(trainee.objective, batches_of(trainee, args), config, Path(folder))
        lines = read_metrics(Path(folder) / METRICS)[1:]
    if processes.device.type == "cuda":
        lines = [{**line, "GB": torch.cuda.max_memory_allocated() / 1e9} for line in lines]
    return lines


def measure_all(args: argparse.Namespace, ways: Sequence[Way], to: Path | None = None) -> list[list[dict[str, float]]]:
    """One round over some rows, written to a file by the main process."""
    torch.set_num_threads(args.threads)
    found = [measure(args, way) for way in ways]
    if to is not None and Processes(args.cpu).main:
        to.write_text(json.dumps(found), encoding="utf-8")
    return found


def launched(ways: Sequence[Way]) -> list[list[dict[str, float]]]:
    """`measure_all` in new processes. All ways share their launch."""
    assert ways[0].launch is not None
    processes, exchange = ways[0].launch
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "lines.json"
        several = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
        command = [sys.executable, *(several if processes > 1 else ()), __file__, *sys.argv[1:]]
        command += ["--child", str(to), "--ways", json.dumps([asdict(way) for way in ways])]
        subprocess.run(command, check=True, env={**os.environ, **EXCHANGE[exchange]}, stdout=sys.stderr)
        return json.loads(to.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def rounds(args: argparse.Namespace) -> dict[Way, list[dict[str, float]]]:
    """Lines of all ways, which take turns."""
    here = "WORLD_SIZE" in os.environ  # under a launcher
    launches = [None] if here else [(n, how) for n in args.processes for how in (args.exchange if n > 1 else ["ddp"])]
    variants = list(product(args.precision, [False, True] if args.recompute == "both" else [args.recompute == "on"]))
    groups = [[Way(precision, again, launch) for precision, again in variants] for launch in launches]
    found: dict[Way, list[dict[str, float]]] = {way: [] for group in groups for way in group}
    for number in range(args.rounds):
        for group in groups[:: 1 if number % 2 == 0 else -1]:
            ways = group[:: 1 if number % 2 == 0 else -1]
            lines = measure_all(args, ways) if here else launched(ways)
            for way, more in zip(ways, lines, strict=True):
                found[way] += more
    return found


def table(found: dict[Way, list[dict[str, float]]], outside: int) -> str:
    """Markdown. outside: processes that were launched from outside."""
    columns = {
        "steps/s": ("steps_per_second", "{:.3g}"),
        "tokens/s": ("tokens_per_second", "{:,.0f}"),
        "padding": ("padding", "{:.1%}"),
        "TFLOP/s": ("tflop_per_second", "{:.3g}"),
        "MFU": ("mfu", "{:.1%}"),
        "GB": ("GB", "{:.1f}"),
    }
    rows, first = [], 0.0
    for way, lines in found.items():
        medians = {key: median(line[key] for line in lines) for key, _ in columns.values() if key in lines[0]}
        first = first or medians["tokens_per_second"]
        processes, exchange = way.launch or (outside, "as launched")
        shown = [form.format(medians[key]) if key in medians else "" for key, form in columns.values()]
        how = exchange if processes > 1 else ""
        speed_up = f"{medians['tokens_per_second'] / first:.2f}"
        rows.append([way.precision, "yes" if way.recompute else "", str(processes), how, *shown, speed_up])
    head = ["precision", "recompute", "processes", "exchange", *columns, "speed-up"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def shared(found: dict[Way, list[dict[str, float]]], args: argparse.Namespace) -> list[Row]:
    """For the table of all benchmarks: each way beside the first one."""
    rows, first = [], 0.0
    for way, lines in found.items():
        tokens = median(line["tokens_per_second"] for line in lines)
        first = first or tokens
        again = ", blocks recomputed" if way.recompute else ""
        many = "" if way.launch is None or way.launch[0] == 1 else f", {way.launch[0]} processes ({way.launch[1]})"
        what = f"training {args.recipe} {args.size}, {way.precision}{again}{many}, against the first way"
        rows.append(Row(what, "tokens/s", tokens, first, higher=True))
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="base")
    parser.add_argument("--size", choices=["full", "mini", "tiny"], default="mini")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"])
    parser.add_argument("--recompute", choices=["off", "on", "both"], default="both")
    parser.add_argument("--processes", nargs="+", type=int, default=[1])
    parser.add_argument("--exchange", nargs="+", choices=EXCHANGE, default=["ddp"], help="of several processes")
    parser.add_argument("--batch-tokens", type=whole_number, default=10_000, help="padded tokens a step and process")
    parser.add_argument("--data", nargs="+", type=Path, help="shards instead of synthetic tokens")
    parser.add_argument("--examples", type=whole_number, default=20_000, help="synthetic ones")
    parser.add_argument(
        "--steps", type=whole_number, default=5, help=f"of a window; a run has one to warm up and {WINDOWS} more"
    )
    parser.add_argument("--rounds", type=whole_number, default=2)
    parser.add_argument("--threads", type=whole_number, default=1, help="of a process, on a CPU")
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--padding-only", action="store_true", help="train nothing")
    parser.add_argument("--json", action="store_true")
    add_option(parser)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ways", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the padding of an epoch, and a table."""
    args = arguments()
    if args.child is not None:
        measure_all(args, [Way(way["precision"], way["recompute"]) for way in json.loads(args.ways)], args.child)
        leave()
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    main_process = os.environ.get("RANK", "0") == "0"
    if main_process:
        trainee = trainee_of(args, Way(args.precision[0], False), 1)
        batches = batches_of(trainee, args)
        where = (
            torch.cuda.get_device_name() if torch.cuda.is_available() and not args.cpu else f"{args.threads} threads"
        )
        print(f"{args.recipe}, {args.size}, {trainee.trained / 1e6:.1f} M trained; {where} a process", file=sys.stderr)
        share, largest = padding(batches)
        print(
            f"padding of {len(batches.data.frames):,} examples in {len(batches.order.bounds) - 1:,} batches of "
            f"{args.batch_tokens:,} tokens: {share:.1%}; the largest batch has {largest:,}"
        )
        del trainee, batches
    if args.padding_only:
        return
    found = rounds(args)
    leave()
    if main_process:
        write(args.rows, shared(found, args))
        rows = [{**asdict(way), "lines": lines} for way, lines in found.items()]
        print(json.dumps(rows, indent=1) if args.json else table(found, processes))


if __name__ == "__main__":
    try:
        main()
    except MetisError as error:
        sys.exit(f"error: {error}")
