"""The command `metis-bench export`; it joins the others in cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metis_bench.options import config_option, debug_option, json_option, print_json, split_names

NAMES = ("latex", "csv", "parquet", "markdown", "hf", "model-index")  # those of exporting.FORMATS: importing is slow


def _pairs(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """A callback: `SET=OWNER/NAME` as a dict."""
    pairs = [text.partition("=") for text in value]
    if any(not name or dataset.count("/") != 1 or dataset != dataset.strip(" /") for name, _, dataset in pairs):
        raise click.BadParameter("expected SET=OWNER/NAME")
    return {name: dataset for name, _, dataset in pairs}


def _address(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """A callback: what a model card may link to."""
    if value is not None and not value.startswith(("https://", "http://")):
        raise click.BadParameter("expected an address that begins with https:// or http://")
    return value


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option("--format", "format_name", type=click.Choice(NAMES), required=True, help="What to write.")
@click.option(
    "--out",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file (latex, markdown) or a folder.",
)
@click.option("--system", "systems", metavar="A,B", multiple=True, callback=split_names, help="Only these systems.")
@click.option("--set", "sets", metavar="A,B", multiple=True, callback=split_names, help="Only these sets or corpora.")
@click.option(
    "--column",
    "columns",
    metavar="A,B",
    multiple=True,
    callback=split_names,
    help="Only these columns or families (latex: default the headline columns).",
)
@click.option("--published", is_flag=True, help="With what others printed, apart from the measured values.")
@click.option(
    "--dataset",
    "datasets",
    metavar="SET=OWNER/NAME",
    multiple=True,
    callback=_pairs,
    help="hf, model-index: the benchmark on the hub that a set or corpus is.",
)
@click.option("--url", metavar="URL", callback=_address, help="hf, model-index: where the report is published.")
@config_option
@json_option
@debug_option
def export(run_name: str, format_name: str, out: Path, config: str | None, as_json: bool, **what: Any) -> int:
    """Write a run's results for papers, tables and model cards; prints the files written.

    \b
    Example:
      metis-bench export latest --format latex --out table.tex --set seedtts-en --column wer,sim
      metis-bench export latest --format model-index --out cards --system metis-tts
    """
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run
    from metis_bench.exporting import Part
    from metis_bench.exporting import export as write

    done = write(find_run(run_name, load_config(config)), format_name, out, Part(**what))
    for line in done.left_out:
        click.echo(f"left out: {line}", err=True)
    files = [str(file) for file in done.files]
    print_json(files) if as_json else click.echo("\n".join(files))
    return 0
