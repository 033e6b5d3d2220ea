"""The command `metis-bench bench`; it joins the others in cli.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from metis_bench.options import config_option, debug_option, print_json, split_names
from reference_models.options import Number

STDOUT = "-"


def _numbers(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[int, ...] | None:
    """A callback: `1,8` and repeated options as whole numbers."""
    names = split_names(context, parameter, value)
    if not all(name.isdecimal() and int(name) > 0 for name in names):
        raise click.BadParameter("expected whole numbers from 1 on, separated by commas")
    return tuple(map(int, names)) or None


@click.command()
@click.option("--only", type=click.Choice(["generation", "scoring"]), help="Measure this part alone.")
@click.option(
    "--size", type=click.Choice(["tiny", "mini", "full"]), default="mini", show_default=True, help="Of the models."
)
@click.option(
    "--task", type=click.Choice(["tts", "vc", "tse", "se", "l2s"]), default="tts", show_default=True, help="Generated."
)
@click.option(
    "--dtype",
    metavar="A,B",
    multiple=True,
    callback=split_names,
    help="Precisions of the default mode (default: float32,bfloat16).",
)
@click.option("--batch", metavar="N,N", multiple=True, callback=_numbers, help="Batch sizes (default: 1,4; GPU: 1,16).")
@click.option("--compile", "compiled", is_flag=True, help="The default mode once more, compiled (takes minutes).")
@click.option("--seconds", type=Number(0.1, 30), default=2.0, show_default=True, help="Of speech to generate.")
@click.option("--prompt-seconds", type=Number(0.1, 30), default=3.0, show_default=True, help="Of the prompt.")
@click.option("--repeats", type=click.IntRange(min=1), metavar="N", help="Timed runs a mode (3; full on a CPU: 1).")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU, to generate (default: all).")
@click.option(
    "--metric", "metrics", metavar="A,B", multiple=True, callback=split_names, help="Score with these (default: all)."
)
@click.option(
    "--clips", metavar="DIR", type=click.Path(path_type=Path), help="Recordings to score (default: synthetic speech)."
)
@click.option("--clip-seconds", type=Number(0.5, 60), metavar="S", help="Length of a clip (synthetic: 5).")
@click.option("--clip-count", type=click.IntRange(min=2), default=6, show_default=True, help="Clips a metric scores.")
@click.option(
    "--json",
    "to",
    metavar="[FILE]",
    is_flag=False,
    flag_value=STDOUT,
    help="Write all numbers there as JSON; without FILE, print them instead of the tables.",
)
@config_option
@debug_option
def bench(
    only: str | None,
    dtype: tuple[str, ...],
    batch: tuple[int, ...] | None,
    metrics: tuple[str, ...],
    clips: Path | None,
    clip_seconds: float | None,
    clip_count: int,
    to: str | None,
    config: str | None,
    **generated: Any,
) -> int:
    """Measure this machine: how fast the reference models generate (random weights) and how fast metrics score.

    Each number stands beside what it is compared with, from the same run: the official mode (the release, pass for
    pass) and what a large matrix product reaches here. Close other programs first. One or two minutes at mini size;
    full size needs 5 to 10 GB of memory and, on a CPU, many minutes.

    \b
    Example:
      metis-bench bench --size full --dtype bfloat16 --batch 1,16 --json machine.json
    """
    from metis_bench import terminal
    from metis_bench.bench import bench as measure
    from metis_bench.bench import exit_code
    from metis_bench.bench.generation import Generating
    from metis_bench.bench.scoring import Scoring
    from metis_bench.bench.show import show
    from metis_bench.config import load_config
    from metis_bench.engine.run import require_writable

    machine = load_config(config)
    generated |= {"dtypes": dtype} if dtype else {}
    generating = None if only == "scoring" else Generating(batches=batch, **generated)
    scoring = None if only == "generation" else Scoring(metrics, clips, clip_count, clip_seconds)
    if to not in (None, STDOUT):
        if Path(to).is_dir():
            raise click.BadParameter(f"{to} is a folder", param_hint="--json")
        require_writable(Path(to).parent, "folder of --json")
    with terminal.progress() as progress:
        found = measure(machine, generating, scoring, progress=progress, say=terminal.say)
    if to == STDOUT:
        print_json(found)
    else:
        show(found)
    if to not in (None, STDOUT):
        Path(to).write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        click.echo(f"written: {to}", err=True)
    return exit_code(found)
