"""The command `metis-bench publish`; it joins the others in cli.py."""

from __future__ import annotations

from pathlib import Path

import click

from metis_bench.options import config_option, debug_option, json_option, print_json, split_names


@click.command()
@click.argument("run_names", metavar="[RUN]...", nargs=-1)
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="A new folder, or a site.")
@click.option("--title", default="Leaderboards", show_default=True, help="Of the whole site.")
@click.option(
    "--published",
    metavar="A,B",
    multiple=True,
    callback=split_names,
    help="Show all of these published results, also where no run stands beside them.",
)
@config_option
@json_option
@debug_option
def publish(
    run_names: tuple[str, ...], out: Path, title: str, published: tuple[str, ...], config: str | None, as_json: bool
) -> int:
    """Write a static site of many runs: leaderboards with ties, a card a system, comparisons, every item.

    Runs of several machines share a leaderboard where their protocols are equal, and only there.

    \b
    Example:
      metis-bench publish runs/tts-paper-1a2b3c4d runs/tts-paper-5e6f7a8b --out site --title "Zero-shot TTS"
    """
    from functools import partial

    from metis_bench.config import load_config
    from metis_bench.engine.features import transcript
    from metis_bench.engine.inspect import find_run, run_store
    from metis_bench.report.site import Source
    from metis_bench.report.site import publish as publish_site

    machine = load_config(config)
    folders = [find_run(name, machine) for name in run_names]
    stores = [run_store(folder) for folder in folders]
    sources = [
        Source(f, store.audio_path, partial(transcript, store)) for f, store in zip(folders, stores, strict=True)
    ]
    index = publish_site(sources, out, title=title, published=published)
    print_json({"site": str(index)}) if as_json else click.echo(str(index))
    return 0
