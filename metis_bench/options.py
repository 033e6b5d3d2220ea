"""Options that several commands share, and the `Selection` of a suite that `run`, `plan` and `prepare` read."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from metis_bench.config import Config
    from metis_bench.suite.schema import Suite


def split_names(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """A callback: `a,b` and repeated options as one tuple."""
    names = tuple(n.strip() for v in value for n in v.split(",") if n.strip())
    if value and not names:
        raise click.BadParameter("expected one or more names, separated by commas")
    return names


def _set_debug(_: click.Context, __: click.Parameter, value: bool) -> None:
    if value:
        os.environ["METIS_BENCH_DEBUG"] = "1"


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
debug_option = click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks.")
config_option = click.option(
    "--config", metavar="FILE", help="Machine config (default: ./metis-bench.yaml, then the user's)."
)
store_option = click.option(
    "--store", metavar="DIR|URL", help="Content store (default: from the config, else the user's cache)."
)


@dataclass(frozen=True)
class Selection:
    """What `run`, `plan` and `prepare` share: which suite, how much of it, and on which machine."""

    suite: str
    profile: str | None
    overrides: tuple[str, ...]
    systems: tuple[str, ...]
    corpora: tuple[str, ...]
    limit: int | None
    config: str | None
    store: str | None
    workers: int | None

    def load(self, executor: str | None = None) -> tuple[Suite, Config]:
        """The resolved suite and the machine (whose plug-ins may register what the suite names)."""
        from metis_bench.config import load_config
        from metis_bench.suite.load import load_suite

        config = load_config(self.config, store=self.store, workers=self.workers, executor=executor)
        suite = load_suite(
            self.suite,
            self.profile,
            overrides=self.overrides,
            only_systems=self.systems,
            only_corpora=self.corpora,
            limit=self.limit,
        )
        return suite, config


Command = Callable[..., int]


def selecting_by(suite: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that adds the options of a Selection, and hands them over as one. suite: the parameter for it."""
    options = (
        suite,
        click.option("--profile", metavar="NAME", help="Profile of the suite (default: mini, where there is one)."),
        click.option(
            "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Override a suite value, e.g. seeds=[0]."
        ),
        click.option(
            "--system", "systems", metavar="A,B", multiple=True, callback=split_names, help="Only these systems."
        ),
        click.option(
            "--corpus", "corpora", metavar="A,B", multiple=True, callback=split_names, help="Only these corpora."
        ),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N items of each set."),
        config_option,
        store_option,
        click.option(
            "--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes (default: all cores)."
        ),
    )

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def collected(**values: Any) -> int:
            names = [f.name for f in fields(Selection)]
            return function(selection=Selection(**{n: values.pop(n) for n in names}), **values)

        command: Command = collected
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


selecting = selecting_by(click.argument("suite"))


def print_json(value: Any) -> None:
    """What `--json` prints, on stdout. Errors: ValueError for a number that JSON has no word for"""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
