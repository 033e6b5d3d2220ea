"""The commands `metis-bench compare`, `gate` and `sensitivity`; they join the others in cli.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from metis_bench.options import config_option, debug_option, json_option, print_json, split_names


def _file(flag: str, text: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    return click.option(flag, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help=text)


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("other", metavar="[OTHER]", required=False)
@click.option("--system", "systems", metavar="A,B", multiple=True, callback=split_names, help="Of RUN (default: all).")
@click.option(
    "--against",
    metavar="A,B",
    multiple=True,
    callback=split_names,
    help="Of OTHER (default: the same names; within one run, all others).",
)
@_file("--out", "Write the table there as markdown.")
@config_option
@json_option
@debug_option
def compare(
    run_name: str,
    other: str | None,
    systems: tuple[str, ...],
    against: tuple[str, ...],
    out: Path | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Paired differences between two runs, or between the systems of one, with intervals, p values and the worst items.

    \b
    Example:
      metis-bench compare latest --system my-adapter
      metis-bench compare runs/new runs/old --system my-adapter --out comparison.md
    """
    from metis_bench.comparison import compare as compare_runs
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run
    from metis_bench.files import write_atomic
    from metis_bench.report.comparison import comparison_json, comparison_markdown

    machine = load_config(config)
    run = find_run(run_name, machine)
    found = compare_runs(run, run if other is None else find_run(other, machine), systems, against)
    text = comparison_markdown(found)
    if out is not None:
        write_atomic(out, text.encode())
    print_json(comparison_json(found)) if as_json else click.echo(text, nl=False)
    return 0


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option("--against", required=True, metavar="BASE", help="The run that it must not be worse than.")
@click.option(
    "--policy",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Margins a metric (docs/gate.md).",
)
@_file("--junit", "Write the checks there for a CI server.")
@_file("--out", "Write the summary there as markdown.")
@config_option
@json_option
@debug_option
def gate(
    run_name: str,
    against: str,
    policy: Path,
    junit: Path | None,
    out: Path | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Is RUN worse than BASE? Exit code 0 PASS, 1 FAIL, 3 INVALID, 4 INCONCLUSIVE.

    \b
    Example:
      metis-bench gate latest --against runs/released --policy policy.yaml --junit gate.xml
    """
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run
    from metis_bench.files import write_atomic
    from metis_bench.gating import gate as judge
    from metis_bench.gating import read_policy
    from metis_bench.report.comparison import gate_json, gate_junit, gate_markdown

    machine, rules = load_config(config), read_policy(policy)
    found = judge(find_run(run_name, machine), find_run(against, machine), rules)
    text = gate_markdown(found)
    for place, data in ((out, text.encode()), (junit, gate_junit(found))):
        if place is not None:
            write_atomic(place, data)
    print_json(gate_json(found)) if as_json else click.echo(text, nl=False)
    return found.exit_code


@click.command()
@click.argument("run_name", metavar="RUN")
@_file("--out", "Write the tables there as markdown.")
@config_option
@json_option
@debug_option
def sensitivity(run_name: str, out: Path | None, config: str | None, as_json: bool) -> int:
    """Would the systems stand in another order under another protocol? From what the run kept; nothing is run again.

    \b
    Example:
      metis-bench sensitivity latest
    """
    from functools import partial

    from metis_bench.config import load_config
    from metis_bench.engine.features import transcript
    from metis_bench.engine.inspect import find_run, run_store
    from metis_bench.files import write_atomic
    from metis_bench.report.sensitivity import sensitivity_json, sensitivity_markdown
    from metis_bench.sensitivity import sensitivity as read_otherwise

    run = find_run(run_name, load_config(config))
    found = read_otherwise(run, partial(transcript, run_store(run)))
    text = sensitivity_markdown(found)
    if out is not None:
        write_atomic(out, text.encode())
    print_json(sensitivity_json(found)) if as_json else click.echo(text, nl=False)
    return 0
