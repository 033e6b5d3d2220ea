"""The commands of `metis-bench listen`; they join the others in cli.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from metis_bench.options import config_option, debug_option, json_option, print_json, split_names

Decorator: TypeAlias = Callable[[Callable[..., int]], Callable[..., int]]


def _loudness(_: click.Context, __: click.Parameter, value: str) -> float | None:
    """A callback: dBov, or 'none'."""
    if value == "none":
        return None
    try:
        level = float(value)
    except ValueError:
        level = 1.0
    if not -60 <= level <= 0:
        raise click.BadParameter(f"'{value}' is neither 'none' nor a level from -60 to 0 dBov")
    return level


def _names(flag: str, name: str, text: str) -> Decorator:
    return click.option(flag, name, metavar="A,B", multiple=True, callback=split_names, help=text)


def _count(flag: str, default: int | None, text: str, least: int = 1) -> Decorator:
    shown = default is not None
    return click.option(
        flag, type=click.IntRange(least, 10_000), metavar="N", default=default, show_default=shown, help=text
    )


@click.group()
def listen() -> None:
    """Listening tests: write a blinded page from a run, and turn the ratings into scores with intervals.

    \b
    Example:
      metis-bench listen build latest --test qmos --out mos
      metis-bench listen import mos/key.json ratings/*.json --out mos/results
    """


@listen.command()
@click.argument("run_name", metavar="RUN")
@click.option("--test", required=True, type=click.Choice(["qmos", "smos", "cmos"]), help="What listeners rate.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="An empty or new folder.")
@_names("--system", "systems", "Systems to rate (default: all that rank).")
@_names("--set", "sets", "Test sets to take items from (default: all).")
@click.option("--reference", metavar="SYSTEM", help="CMOS: what every system is compared with.")
@_count("--items", 20, "Items, drawn at random.")
@_count("--raters", 24, "Forms: one order of clips for each rater.")
@_count("--per-rater", None, "Rated clips in a form, in balanced parts (default: all).")
@_count("--anchors", 2, "Items heard as anchors by every rater.", 0)
@_count("--checks", 3, "Attention checks in every form.", 0)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another test.")
@click.option("--loudness", default="none", show_default=True, metavar="DB", callback=_loudness, help="dBov (P.56).")
@click.option("--inline", is_flag=True, help="One HTML file with all audio in it.")
@click.option("--submit", metavar="URL", help="Where the page can send ratings (POST, JSON).")
@click.option("--title", default="Listening test", show_default=True, help="Shown to listeners.")
@config_option
@json_option
@debug_option
def build(run_name: str, out: Path, config: str | None, as_json: bool, **asked: Any) -> int:
    """Write a test from a run: DIR/publish goes to the listeners, DIR/key.json stays with you.

    \b
    Example:
      metis-bench listen build latest --test cmos --reference base-model --items 20 --out cmos
    """
    from metis_bench import terminal
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run
    from metis_bench.listen.build import Options
    from metis_bench.listen.build import build as build_test

    folder = find_run(run_name, load_config(config))
    with terminal.progress() as progress:
        built = build_test(folder, out, Options(**asked), progress)
    if as_json:
        print_json(built.to_json())
        return 0
    least, most = built.exposure
    often = f"{least}" if least == most else f"{least} or {most}"
    click.echo(f"{out}: test {built.test}, {built.forms} forms of {built.per_rater} clips; each rated {often} times")
    click.echo(
        f"  publish {out / 'publish'}; keep {out / 'key.json'} to yourself; a link for each rater: {out / 'raters.csv'}"
    )
    for note in built.notes:
        click.echo(f"note: {note}", err=True)
    return 0


@listen.command("import")
@click.argument("key", type=click.Path(path_type=Path))
@click.argument("files", metavar="RATINGS...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write results.json and results.md there.")
@click.option("--against", metavar="SYSTEM", help="Differences to this one (default: the best).")
@_count("--allow-failed", 0, "Attention checks that a rater may fail.", 0)
@json_option
@debug_option
def import_ratings(
    key: Path, files: tuple[Path, ...], out: Path | None, against: str | None, allow_failed: int, as_json: bool
) -> int:
    """Turn the ratings of a test into means with intervals. KEY: the key.json that `listen build` wrote.

    Exit code 3 when no rater counts: there is no comparison.

    \b
    Example:
      metis-bench listen import mos/key.json ratings/*.json --out mos/results
    """
    from metis_bench.errors import UsageError
    from metis_bench.files import write_atomic
    from metis_bench.listen.key import load_key, load_ratings
    from metis_bench.listen.results import results
    from metis_bench.listen.told import to_json, to_markdown

    meant = load_key(key)
    found = results(meant, load_ratings(files, meant), against=against, allow=allow_failed)
    if out is not None:
        try:
            for suffix, text in ((".md", to_markdown(found)), (".json", to_json(found))):
                write_atomic(out / f"results{suffix}", text.encode())
        except OSError as error:
            raise UsageError(f"cannot write to {out}: {error.strerror}") from None
    click.echo(to_json(found) if as_json else to_markdown(found), nl=False)
    return 0 if found["raters"]["kept"] else 3
