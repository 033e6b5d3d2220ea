"""Commands and exit codes only; every command wraps one function of the package. Data on stdout, the rest on stderr."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import click

from metis_bench import __version__
from metis_bench.cli_baselines import baselines
from metis_bench.cli_bench import bench
from metis_bench.cli_compare import compare, gate, sensitivity
from metis_bench.cli_export import export
from metis_bench.cli_listen import listen
from metis_bench.cli_publish import publish
from metis_bench.cli_watch import watch
from metis_bench.errors import MetisBenchError
from metis_bench.options import (
    Selection,
    config_option,
    debug_option,
    json_option,
    print_json,
    selecting,
    split_names,
)

INTERRUPTED, BROKEN = 130, 70


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="metis-bench")
def cli() -> None:
    """Benchmark speech generation: YAML suites in, honest leaderboards out.

    \b
    metis-bench run suites/se.yaml            the mini profile: offline, on a laptop, in minutes
    metis-bench plan suites/tts.yaml          what would run, what is cached, what is missing
    metis-bench show latest ITEM              texts, alignment and scores of one item

    Exit codes: 0 ok, 1 gate failed, 2 usage or suite error, 3 invalid comparison, 4 inconclusive,
    5 prerequisite missing, 6 some items failed, 130 interrupted (run again to resume).
    """


cli.add_command(listen)
cli.add_command(compare)
cli.add_command(gate)
cli.add_command(sensitivity)
cli.add_command(watch)
cli.add_command(publish)
cli.add_command(export)
cli.add_command(baselines)
cli.add_command(bench)


@cli.command()
@selecting
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Run folder (default: runs/<suite>-<profile>-<hash>)."
)
@click.option(
    "--executor", metavar="NAME", help="Where work is done: local (default), ray or ray:ADDRESS (docs/scale.md)."
)
@json_option
@debug_option
def run(selection: Selection, out: Path | None, executor: str | None, as_json: bool) -> int:
    """Run a suite to its report. Running again resumes: nothing in the store is done twice.

    \b
    Example:
      metis-bench run suites/se.yaml --profile paper --system noisy,rnnoise --limit 20
    """
    from metis_bench import terminal
    from metis_bench.engine.run import run as run_suite

    suite, machine = selection.load(executor)
    with terminal.progress() as progress:
        result = run_suite(suite, machine, out=out, progress=progress)
    if as_json:
        paths = {"run": str(result.folder), "report": str(result.report)}
        print_json({**paths, "exit_code": result.exit_code, "results": result.results})
    else:
        terminal.show_results(result)
    return result.exit_code


@cli.command()
@selecting
@json_option
@debug_option
def plan(selection: Selection, as_json: bool) -> int:
    """Show what `run` would do: cells cached, to run, or blocked, with hours of audio and an estimate.

    \b
    Example:
      metis-bench plan suites/tts.yaml --profile paper
    """
    from metis_bench import terminal
    from metis_bench.engine.outputs import Outputs
    from metis_bench.engine.prepare import plan_cells, prepare, scoring_estimate
    from metis_bench.engine.store import Store

    suite, machine = selection.load()
    with terminal.progress() as progress:
        prepared = prepare(suite, machine, progress)
    outputs = Outputs(prepared.plan, Store(machine.store))
    outputs.look(prepared.plan.rows)
    cells, scoring_s = plan_cells(prepared, outputs, machine), scoring_estimate(prepared, outputs, machine)
    if as_json:
        blocked = [{"what": b.what, "name": b.name, "reason": b.reason, "fix": b.fix} for b in prepared.blocked]
        warnings = prepared.plan.warnings()
        facts = {"id": prepared.id, "cells": cells, "scoring_estimate_s": scoring_s}
        print_json({**facts, "blocked": blocked, "warnings": warnings})
    else:
        terminal.show_plan(prepared, cells, scoring_s)
    return 5 if prepared.blocked else 0


@cli.command()
@selecting
@click.option("--yes", is_flag=True, help="Download what may be downloaded without asking.")
@click.option("--verify", is_flag=True, help="Compare every file with what was there when it was first prepared.")
@json_option
@debug_option
def prepare(selection: Selection, yes: bool, verify: bool, as_json: bool) -> int:
    """Download, make or check the corpora of a suite: counts, and every audio file decoded once.

    What may be downloaded is shown first, with its size and licence. What may not is told: what to get, under which
    licence, and where to put it.

    \b
    Example:
      metis-bench prepare suites/se.yaml --profile paper
    """
    from metis_bench import terminal
    from metis_bench.engine.fetch import fetch_all, wanted
    from metis_bench.engine.inspect import verify_corpora

    suite, machine = selection.load()
    files = wanted(suite, machine)
    if files:
        terminal.show_downloads(files)
        if yes or (sys.stdin.isatty() and click.confirm("Download?", default=True, err=True)):
            with terminal.progress() as progress:
                fetch_all(files, progress)
        else:
            click.echo("nothing was downloaded; add --yes to do it", err=True)
    report = verify_corpora(suite, machine, verify=verify)
    print_json(report) if as_json else terminal.show_corpora(report)
    return 6 if any(s["problems"] for s in report["sets"]) else 0


@cli.command()
@click.argument("task", type=click.Choice(["se", "tse"]))
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where files and manifest go."
)
@click.option("--noise", metavar="DIR", type=click.Path(path_type=Path), help="Recorded noises (default: synthetic).")
@click.option("--rooms", metavar="DIR", type=click.Path(path_type=Path), help="Impulse responses (default: synthetic).")
@click.option("--snr", "snr_db", type=(float, float), metavar="FROM TO", help="dB (default: se -5 20, tse -5 5).")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another set.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N utterances.")
@json_option
@debug_option
def simulate(task: Literal["se", "tse"], sources: tuple[str, ...], out: Path, as_json: bool, **how: Any) -> int:
    """Make a test set for enhancement or extraction from clean speech of your own, by the paper's simulation.

    SOURCES: folder:PATH, jsonl:PATH, libritts:PATH or emilia:PATH. A suite reads the result as
    {corpus: folder, task: se, path: DIR}.

    \b
    Example:
      metis-bench simulate se folder:my_speech --out noisy_set --snr 0 10
    """
    from metis_bench import terminal
    from metis_bench.corpora.simulated import make_set

    with terminal.progress() as progress:
        made = make_set(task, sources, out, progress=progress, **how)
    if as_json:
        print_json({"items": made.items, "seconds": made.seconds, "failures": [list(f) for f in made.failures]})
    else:
        click.echo(f"{made.items} items ({made.seconds / 60:.1f} min) in {out}")
    for key, reason in made.failures:
        click.echo(f"left out: {key}: {reason}", err=True)
    return 6 if made.failures else 0


@cli.command()
@click.argument("run_name", metavar="RUN")
@click.argument("item")
@config_option
@json_option
@debug_option
def show(run_name: str, item: str, config: str | None, as_json: bool) -> int:
    """Everything about one item of a run: texts, alignment, scores, errors. RUN: a folder, its name, or 'latest'.

    \b
    Example:
      metis-bench show latest fileid_181
    """
    from metis_bench import terminal
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run, item_record

    record = item_record(find_run(run_name, load_config(config)), item)
    print_json(record) if as_json else terminal.show_item(record)
    return 0


@cli.command()
@click.argument("run_name", metavar="RUN")
@config_option
@json_option
@debug_option
def report(run_name: str, config: str | None, as_json: bool) -> int:
    """Write a finished run's report again (HTML, markdown, CSV); nothing is generated or scored.

    \b
    Example:
      metis-bench report latest
    """
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run, run_store
    from metis_bench.engine.run import render

    folder = find_run(run_name, load_config(config))
    index = render(folder, run_store(folder))
    print_json({"run": str(folder), "report": str(index)}) if as_json else click.echo(str(index))
    return 0


@cli.command()
@click.argument("run_name", metavar="RUN")
@click.option(
    "--training",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True),
    help="Runs of `metis-train ablate`: adds losses.",
)
@click.option(
    "--against", metavar="ARM,ARM", multiple=True, callback=split_names, help="Compare with these (default: the first)."
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Write NAME.html, .md and .json there.")
@config_option
@json_option
@debug_option
def ablation(
    run_name: str, training: Path | None, against: tuple[str, ...], out: Path | None, config: str | None, as_json: bool
) -> int:
    """What each factor of a run's grids does, over trainings and over items, and whether that is more than noise.

    \b
    Example:
      metis-bench ablation latest --training ablation-runs
    """
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import find_run
    from metis_bench.files import write_atomic
    from metis_bench.report.ablation import ablation as compare
    from metis_bench.report.ablation import to_json, to_markdown
    from metis_bench.report.curves import write

    found = compare(find_run(run_name, load_config(config)), training, against)
    if out is not None:
        for suffix, text in ((".md", to_markdown(found)), (".json", to_json(found))):
            write_atomic(out / f"{found.name}{suffix}", text.encode())
        write(found, out)
    click.echo(to_json(found) if as_json else to_markdown(found), nl=False)
    return 0


@cli.command("ls")
@click.argument("what", type=click.Choice(["suites", "systems", "metrics", "corpora", "runs"]), default="suites")
@config_option
@json_option
@debug_option
def list_things(what: str, config: str | None, as_json: bool) -> int:
    """List suites, systems, metrics, corpora or runs.

    \b
    Example:
      metis-bench ls systems
    """
    from metis_bench import terminal
    from metis_bench.config import load_config
    from metis_bench.engine.inspect import listing

    rows = listing(what, load_config(config))
    print_json(rows) if as_json else terminal.show_rows(what, rows)
    return 0


@cli.command()
@config_option
@json_option
@debug_option
def doctor(config: str | None, as_json: bool) -> int:
    """Check this machine: packages by extra, GPUs, config, corpora, store. Every problem comes with its fix.

    \b
    Example:
      metis-bench doctor
    """
    from metis_bench import terminal
    from metis_bench.doctor import examine

    rows = examine(config)
    print_json(rows) if as_json else terminal.show_rows("checks", rows)
    return 5 if any(r["status"] == "missing" for r in rows) else 0


def _fail(error: MetisBenchError) -> int:
    if os.environ.get("METIS_BENCH_DEBUG"):
        raise error
    click.echo(f"metis-bench: {error}", err=True)
    return error.exit_code


def _told_by_the_system(error: OSError) -> MetisBenchError:
    """A disk that is full, a folder that may not be written: the machine's fault, and it says where."""
    place = error.filename2 or error.filename
    return MetisBenchError(f"cannot be read or written: {error.strerror or error}", where=place)


def main(argv: list[str] | None = None) -> None:
    """The console script. Never shows a traceback unless --debug is given."""
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's stop is as resumable as Ctrl-C
    try:
        code = cli.main(args=argv, standalone_mode=False)
    except MetisBenchError as error:
        code = _fail(error)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("metis-bench: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of stdout left (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = _fail(_told_by_the_system(error))
    except Exception as error:  # a bug of ours: one line and a code of its own, the rest with --debug
        if os.environ.get("METIS_BENCH_DEBUG"):
            raise
        kind = type(error).__name__
        click.echo(
            f"metis-bench: internal error: {kind}: {error}\n  fix: run again with --debug and report it", err=True
        )
        code = BROKEN
    finally:
        signal.signal(signal.SIGTERM, former)
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
