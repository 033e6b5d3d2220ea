"""Time the default mode against the official mode (the release, pass for pass), alternately, in one process.

    python benchmarks/generate.py --size mini
    python benchmarks/generate.py --size full --task se --dtype float32 bfloat16
    python benchmarks/generate.py --size full --dtype float32 bfloat16 --batch 1 4 16 --prompt-seconds 3 --seconds 10

What is measured, and how: `reference_models/measuring`; `metis-bench bench` is the same for users. The official mode is
always fp32, and takes the jobs of a batch one by one, as the release does. Medians are printed.

calls: of a transformer. passes: of one sequence (a guided step takes two: two calls in the official mode, one in the
default mode). TFLOP: of linear layers and attention (the last block of the default mode computes less); TFLOP/s: over
the whole time. of limit: of a large matrix product in that precision, measured here. GB: weights of that mode, and the
most that a run takes on top. speed-up: over the official mode; by CPU: the same in CPU seconds of all threads, which
other jobs on the machine disturb less. tokens: whether all acoustic codes are the official ones (fp32), or the share of
tokens that are drawn as fp32 draws them, given the same partly masked tokens and the same noise at every step
(`measuring/agreement.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch
from _rows import Aim, Row, add_option, length_s, whole_number, write

from reference_models.errors import MetisError
from reference_models.measuring import modes
from reference_models.measuring.clock import STAGES
from reference_models.measuring.inputs import DTYPES, SIZES, TASKS
from reference_models.measuring.modes import Bench, Setting

RELEASE = "known of the release, full size, 2 cores with AMX: 0.21 TFLOP/s in fp32, 0.56 TFLOP/s under bf16 autocast"
HEAD = ("mode", "dtype", "batch", *(f"{stage} ms" for stage in STAGES), "total ms", "RTF", "calls", "passes", "TFLOP")
HEAD += ("TFLOP/s", "of limit", "GB", "speed-up", "by CPU", "tokens")


def cells(row: modes.Row) -> list[str]:
    """A row of the table."""

    def number(value: float | None, digits: int, scale: float = 1.0) -> str:
        return "" if value is None else f"{scale * value:.{digits}f}"

    name = f"{row['mode']}{' compiled' if row['compiled'] else ''}"
    if row["failed"] is not None:
        return [name, row["dtype"], str(row["batch"]), row["failed"], *[""] * (len(HEAD) - 4)]
    same = {True: "identical", False: "different", None: ""}[row["tokens"]]
    return [
        *(name, row["dtype"], str(row["batch"])),
        *(number(row["stages"][stage], 0, 1000) for stage in STAGES),
        *(number(row["seconds"], 0, 1000), number(row["rtf"], 3), str(row["calls"]), str(row["passes"])),
        *(number(row["tflop"], 3), number(row["tflop_per_second"], 3), number(row["of_limit"], 2)),
        *(number(row["memory_gb"], 2), number(row["speed_up"], 2), number(row["speed_up_cpu"], 2)),
        same if row["alike"] is None else f"{row['alike']:.2%}",
    ]


def aim_of(how: Setting, device: str, batch: int, dtype: str) -> Aim | None:
    """What was set out for: over the official mode (mini; full size in bf16 on a CPU), as an RTF on one H200."""
    bf16 = dtype == "bfloat16"
    match how.size, device, batch:
        case "mini", "cpu", 1:
            return Aim("ratio", ">=", 3)
        case "mini", "cpu", 8:
            return Aim("ratio", ">=", 6)
        case "full", "cpu", 1 if bf16:
            return Aim("ratio", ">=", 4)
        case "full", "cuda", 1 if bf16:
            return Aim("ours", "<=", 0.06)
        case "full", "cuda", 16 if bf16:
            return Aim("ours", "<=", 0.03)
    return None


def shared(rows: Sequence[modes.Row], bench: Bench) -> list[Row]:
    """For the table of all benchmarks: each default mode beside the official one of its batch, as RTFs."""
    out, how, device = [], bench.setting, bench.device.type
    official = {row["batch"]: row["rtf"] for row in rows if row["mode"] == "official"}
    for row in rows:
        if row["mode"] == "official":
            continue
        batch, dtype = row["batch"], row["dtype"]
        kind = f"{dtype}{' compiled' if row['compiled'] else ''}"
        least = row["tflop"] * 1e12 / bench.limits[dtype] / (batch * how.seconds)
        out.append(
            Row(
                f"generate {how.size} {how.task} on {device}, batch {batch}, {kind}",
                "RTF",
                row["rtf"],
                official[batch],
                least if row["failed"] is None else None,
                aim=aim_of(how, device, batch, dtype),
                why=row["failed"],
            )
        )
    return out


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--task", choices=TASKS, default="tts")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="of the default mode")
    parser.add_argument("--compile", action="store_true", help="the default mode once more, compiled")
    parser.add_argument("--batch", nargs="+", type=whole_number, default=[1])
    parser.add_argument("--seconds", type=length_s, default=2.0, help="to generate")
    parser.add_argument("--prompt-seconds", type=length_s, default=3.0, help="of the prompt; SE has none")
    parser.add_argument("--repeats", type=whole_number, help="timed runs of each (3; full size on a CPU: 1)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=whole_number, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    add_option(parser)
    return parser.parse_args()


def main() -> None:
    """Print a table."""
    args = arguments()
    torch.set_num_threads(args.threads)
    setting = Setting(
        *(args.size, args.task, tuple(args.dtype), args.compile, args.seconds, args.prompt_seconds), device=args.device
    )
    try:
        device = setting.place()
    except MetisError as error:
        raise SystemExit(str(error)) from error
    slow = args.size == "full" and device.type == "cpu"
    bench = Bench(replace(setting, repeats=args.repeats or (1 if slow else 3)))
    rows = [row for size in args.batch for row in bench.rows(size)]
    write(args.rows, shared(rows, bench))
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{args.threads} CPU threads"
    print(f"{args.size} {args.task}, {args.prompt_seconds:g} s prompt, {args.seconds:g} s target; {where}")
    limits = ", ".join(f"{name} {flops / 1e12:.3f} TFLOP/s" for name, flops in bench.limits.items())
    print(f"medians of {bench.setting.repeats}; limits: {limits}\n{RELEASE}\n")
    lines = [list(HEAD), ["---"] * len(HEAD), *map(cells, rows)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))


if __name__ == "__main__":
    try:
        main()
    except MetisError as error:
        sys.exit(f"error: {error}")
