"""The command `metis-bench watch`; it joins the others in cli.py."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import click

from metis_bench.options import Selection, debug_option, json_option, print_json, selecting_by
from reference_models.options import Number


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False, exists=True))
@selecting_by(click.option("--suite", required=True, metavar="SUITE", help="What to run on each checkpoint."))
@click.option(
    "--param", required=True, metavar="NAME.PARAM", help="System and parameter that take its path: metis-tts.stage1."
)
@click.option("--against", required=True, metavar="BASE", help="The run that it must not be worse than.")
@click.option(
    "--policy",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Margins a metric (docs/gate.md).",
)
@click.option("--pattern", default="*.safetensors", show_default=True, help="What a checkpoint in DIR is called.")
@click.option("--settle", type=Number(), default=5.0, show_default=True, help="Seconds without a change: complete.")
@click.option("--once", is_flag=True, help="Do those that are there, then end with the gravest verdict's exit code.")
@json_option
@debug_option
def watch(
    folder: Path,
    selection: Selection,
    param: str,
    against: str,
    policy: Path,
    pattern: str,
    settle: float,
    once: bool,
    as_json: bool,
) -> int:
    """Run a suite and the gate on each new checkpoint in DIR; keeps history.jsonl and history.html there.

    \b
    Example:
      metis-bench watch ckpts --suite suites/tts.yaml --param metis-tts.stage1 --policy policy.yaml --against runs/base
    """
    from metis_bench import terminal
    from metis_bench.engine.inspect import find_run
    from metis_bench.engine.run import RunResult, run
    from metis_bench.gating import read_policy
    from metis_bench.suite.schema import Suite
    from metis_bench.watching import Entry, Require, Watch, exit_code
    from metis_bench.watching import watch as watch_folder

    _, machine = selection.load()

    def load(override: str) -> Suite:
        return replace(selection, overrides=(*selection.overrides, override)).load()[0]

    def judge(suite: Suite, require: Require) -> RunResult:
        with terminal.progress() as progress:
            return run(suite, machine, progress=progress, require=require)

    def told(entry: Entry) -> None:
        click.echo(f"{entry.verdict}: {entry.checkpoint}: {entry.reason}", err=as_json)

    what = Watch(folder, pattern, param, load, machine, read_policy(policy), find_run(against, machine), settle)
    new = watch_folder(what, once=once, told=told, judge=judge)
    if as_json:
        print_json([asdict(entry) for entry in new])
    return exit_code(new)
