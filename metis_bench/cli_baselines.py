"""The commands of `metis-bench baselines`; they join the others in cli.py."""

from __future__ import annotations

from pathlib import Path

import click

from metis_bench.options import config_option, debug_option, json_option, print_json

TASKS = ("tts", "vc", "tse", "se", "l2s")
task_choice = click.Choice(TASKS)
name_argument = click.argument("name")


def _say(text: str) -> None:
    """Progress, on stderr."""
    click.echo(text, err=True)


@click.group()
def baselines() -> None:
    """Competitors, each in its own environment: what there is, what it needs here, and adapters of your own.

    \b
    Example:
      metis-bench baselines list --task tts
      metis-bench baselines doctor f5-tts
      metis-bench baselines new my-model --task tts
    """


@baselines.command("list")
@click.option("--task", type=task_choice, help="Only those of this task.")
@config_option
@json_option
@debug_option
def list_baselines(task: str | None, config: str | None, as_json: bool) -> int:
    """Every baseline: tasks, licences, and whether it is ready here or what it lacks first.

    \b
    Example:
      metis-bench baselines list --task vc
    """
    from metis_bench import terminal
    from metis_bench.baselines.overview import listing
    from metis_bench.baselines.told import list_rows
    from metis_bench.config import load_config

    load_config(config)
    rows = listing(task)
    if as_json:
        print_json(rows)
        return 0
    terminal.show_rows("baselines", list_rows(rows))
    click.echo("all that one needs: metis-bench baselines doctor NAME")
    return 0


@baselines.command()
@name_argument
@config_option
@json_option
@debug_option
def show(name: str, config: str | None, as_json: bool) -> int:
    """All about one baseline: licences, settings, how it compares with the paper's row, notes, and its places here.

    \b
    Example:
      metis-bench baselines show maskgct
    """
    from metis_bench.baselines.overview import describe
    from metis_bench.baselines.told import details
    from metis_bench.config import load_config

    load_config(config)
    facts = describe(name)
    print_json(facts) if as_json else click.echo(details(facts), nl=False)
    return 0


@baselines.command()
@name_argument
@click.option("--no-smoke", is_flag=True, help="Only look: do not load the model nor make an item with it.")
@config_option
@json_option
@debug_option
def doctor(name: str, no_smoke: bool, config: str | None, as_json: bool) -> int:
    """Climb the ladder of one baseline, from its manifest to one item made; every missing rung has its fix.

    Exit code 0 ready, 5 something is missing, 2 the manifest is wrong.

    \b
    Example:
      metis-bench baselines doctor seed-vc
    """
    from metis_bench.baselines.ladder import examine
    from metis_bench.baselines.told import ladder
    from metis_bench.config import load_config

    load_config(config)
    report = examine(name, smoke=not no_smoke, tell=_say)
    print_json(report.to_json()) if as_json else click.echo(ladder(report), nl=False)
    return report.exit_code


@baselines.command()
@name_argument
@click.option("--print", "only_print", is_flag=True, help="Print the commands and run none.")
@click.option("--clone", is_flag=True, help="Also clone its repository, at the adapter's commit.")
@config_option
@json_option
@debug_option
def env(name: str, only_print: bool, clone: bool, config: str | None, as_json: bool) -> int:
    """Make the environment of one baseline from a package index (uv, else venv and pip), and say what stays to be done.

    \b
    Example:
      metis-bench baselines env xtts-v2 --print
    """
    from metis_bench.baselines import create
    from metis_bench.baselines.told import environment
    from metis_bench.config import load_config

    load_config(config)
    plan = create.plan(name, clone=clone, elsewhere=only_print)
    if not only_print:
        create.carry_out(plan, _say)
    if as_json:
        print_json({**plan.to_json(), "made": not only_print})
    else:
        click.echo(environment(plan, made=not only_print), nl=False)
    return 0


@baselines.command()
@name_argument
@click.argument("ids", metavar="[WEIGHT]...", nargs=-1)
@config_option
@json_option
@debug_option
def fetch(name: str, ids: tuple[str, ...], config: str | None, as_json: bool) -> int:
    """Fetch the weights of one baseline (or only some of them), under the licence that is shown first.

    Exit code 5 when some are left that no program may fetch.

    \b
    Example:
      metis-bench baselines fetch f5-tts
    """
    from metis_bench import terminal
    from metis_bench.baselines.fetching import fetch_weights
    from metis_bench.baselines.told import fetched
    from metis_bench.config import load_config

    load_config(config)
    with terminal.progress() as progress:
        rows = fetch_weights(name, ids, tell=_say, progress=progress)
    print_json({"name": name, "weights": rows}) if as_json else click.echo(fetched(rows), nl=False)
    return 0 if all(row["state"] in ("fetched", "kept", "optional", "not asked for") for row in rows) else 5


@baselines.command("import")
@name_argument
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--note", metavar="TEXT", help="How they were made, for readers of reports.")
@click.option("--commit", metavar="HASH", help="Of the code that made them.")
@click.option("--by", metavar="WHO", help="Who brings them (default: your user name).")
@click.option("--allow", is_flag=True, help="Take broken, silent and stereo files too.")
@config_option
@json_option
@debug_option
def import_outputs(
    name: str,
    folder: Path,
    note: str | None,
    commit: str | None,
    by: str | None,
    allow: bool,
    config: str | None,
    as_json: bool,
) -> int:
    """Bring the outputs of a baseline that cannot be run from here: DIR/<item id>.wav (flac, mp3, ogg), checked first.

    \b
    Example:
      metis-bench baselines import uniaudio outputs/ --note "run.sh, seed 888" --commit c1146a8
    """
    from metis_bench import terminal
    from metis_bench.baselines.importing import Told, bring
    from metis_bench.baselines.told import imported
    from metis_bench.config import load_config

    load_config(config)
    with terminal.progress() as progress:
        brought = bring(name, folder, Told(note, commit, by), allow=allow, progress=progress)
    print_json(brought.to_json()) if as_json else click.echo(imported(name, brought), nl=False)
    return 0


@baselines.command()
@name_argument
@click.option("--task", "tasks", type=task_choice, multiple=True, required=True, help="What it does; may be repeated.")
@click.option("--folder", metavar="DIR", type=click.Path(path_type=Path), help="Beside others (default: ./baselines).")
@config_option
@json_option
@debug_option
def new(name: str, tasks: tuple[str, ...], folder: Path | None, config: str | None, as_json: bool) -> int:
    """Write an adapter for a model of your own that already runs, and say where the model goes.

    \b
    Example:
      metis-bench baselines new my-model --task tts
    """
    from metis_bench.baselines.scaffold import scaffold
    from metis_bench.baselines.told import scaffolded
    from metis_bench.config import load_config

    load_config(config)
    made = scaffold(name, tasks, folder)  # type: ignore[arg-type]  # click has checked the tasks
    if as_json:
        print_json({"name": made.name, "folder": str(made.folder), "config": made.config, "next": made.next})
    else:
        click.echo(scaffolded(made), nl=False)
    return 0


@baselines.command()
@click.argument("name", required=False)
@click.option("--preset", metavar="NAME", help="Of the baseline (default: its first).")
@config_option
@json_option
@debug_option
def conformance(name: str | None, preset: str | None, config: str | None, as_json: bool) -> int:
    """Does a baseline keep the contract: the same item in another order and a fresh worker, the same bits?

    Without NAME: adapters that misbehave in every known way, to see that this machine holds them.

    \b
    Example:
      metis-bench baselines conformance my-model
    """
    from metis_bench import terminal
    from metis_bench.baselines.conformance import endure, examine
    from metis_bench.baselines.machine import known
    from metis_bench.config import load_config

    load_config(config)
    checks = []
    for check in endure() if name is None else examine(known(name), {"preset": preset}):
        checks.append({"check": check.name, "ok": check.ok, "detail": check.detail})
        _say(f"{check.name}: {'ok' if check.ok else 'FAILED'}")
    if as_json:
        print_json(checks)
    else:
        terminal.show_rows("conformance", checks)
    return 0 if all(check["ok"] for check in checks) else 6
