"""`metis-train`: recipes from waveforms to weights. Imports of torch wait until a command needs them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reference_models.errors import MetisError, MissingCheckpoint, MissingPackage, nearest
from reference_models.options import Number

USAGE, PREREQUISITE, FAILED, INTERRUPTED = 2, 5, 6, 130  # as metis-bench's
RANK = 32  # of a LoRA where nothing says another
TASKS = ("tts", "vc", "tse", "se", "l2s", "omni")


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_running = _options(
    click.option("--data", multiple=True, required=True, metavar="[NAME=]DIR", help="Shards; NAME for a mixture."),
    click.option("--validation", multiple=True, metavar="[NAME=]DIR", help="Shards: validation loss, one for each."),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder; an unfinished run goes on."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe."),
    click.option("--minutes", type=Number(), help="Stop after so many minutes, with a checkpoint."),
    click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), default="float32", show_default=True,
                 help="Of the exported weights."),
    click.option("--cpu", is_flag=True, help="Do not use a GPU."),
    click.option("--weights", type=click.Path(path_type=Path), help="Folder with w2v-BERT, to simulate on the fly."),
    click.option("--noise", type=click.Path(path_type=Path), help="Folder of noises; without: synthetic."),
    click.option("--rooms", type=click.Path(path_type=Path), help="Folder of impulse responses; without: synthetic."),
    click.option("--converter", default="world", show_default=True, help="Timbre of vc; see docs/training.md."),
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train Metis: tokenize speech, pre-train, fine-tune.

    With several GPUs: accelerate launch -m reference_models.training.cli COMMAND ... (docs/training.md)
    """


@cli.command()
def ls() -> None:
    """All recipes."""
    from reference_models.training.recipe import load, names

    width = max(map(len, names())) + 2
    for name in names():
        click.echo(f"{name:{width}}{load(name).description}")


@cli.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe.")
def show(recipe: str, overrides: tuple[str, ...]) -> None:
    """A recipe with all its values, as YAML."""
    import yaml

    from reference_models.training.recipe import load

    click.echo(yaml.safe_dump(load(recipe, overrides).model_dump(mode="json"), sort_keys=False).rstrip())


@cli.command()
@click.argument("sources", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Where shards go.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Checkpoints: a folder, or `mini`; without: the Hugging Face cache.",
)
@click.option("--language", help="Of sources that do not say it.")
@click.option("--want", multiple=True, type=click.Choice(["semantic", "codes", "phones"]), help="Instead of all three.")
@click.option("--audio", is_flag=True, help="Store the speech, to simulate while training and to train codecs.")
@click.option(
    "--task",
    type=click.Choice(["tts", "vc", "tse", "se", "l2s"]),
    help="Add simulated (l2s: seen) conditions; tts: a prompt.",
)
@click.option("--copies", type=click.IntRange(1), default=1, show_default=True, help="Simulations of an utterance.")
@click.option("--noise", type=click.Path(path_type=Path), help="Folder of noises; without: synthetic.")
@click.option("--rooms", type=click.Path(path_type=Path), help="Folder of impulse responses; without: synthetic.")
@click.option("--converter", default="world", show_default=True, help="Timbre of vc; see docs/training.md.")
@click.option("--part", type=(int, int), default=(0, 1), show_default=True, help="N OF: one of several machines.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def tokenize(sources: tuple[str, ...], out: Path, want: tuple[str, ...], **options: Any) -> None:
    """Speech to shards. SOURCES: folder:PATH, jsonl:PATH, libritts:PATH or emilia:PATH."""
    from reference_models.training.progress import counting
    from reference_models.training.tokenize import EVERYTHING, tokenize_sources

    with counting("tokenize") as show:
        report = tokenize_sources(
            sources, out, want=want or EVERYTHING, progress=lambda r: show(r.done, r.total), **options
        )
    click.echo(f"{report.examples} examples ({report.seconds / 3600:.2f} h) in {out}, {report.skipped} were there")
    if report.failures:
        click.echo(f"{len(report.failures)} of {report.total} could not be used: {out / 'failures.jsonl'}", err=True)
        raise SystemExit(FAILED)


@cli.command()
@click.argument("recipe", default="base")
@_running
def pretrain(recipe: str, **options: Any) -> None:
    """Masked generative pre-training (recipe `base`, or another that starts from nothing)."""
    _train(recipe, None, (), **options)


@cli.command()
@click.option("--task", required=True, type=click.Choice(TASKS))
@click.option("--recipe", help="Instead of the task's own.")
@click.option("--method", type=click.Choice(["full", "lora"]), help="Default: the recipe's, which is full as a rule.")
@click.option("--rank", type=click.IntRange(1), help="Of the LoRA: 32 unless the recipe says it.")
@click.option("--from", "start", type=click.Path(path_type=Path), help="The base: a folder, a file, or `mini`.")
@_running
def finetune(
    task: str, recipe: str | None, method: str | None, rank: int | None, start: Path | None, **options: Any
) -> None:
    """Fine-tune the base for a task, whole or by a LoRA."""
    from reference_models.training.recipe import load

    if recipe is not None and (own := load(recipe).model) in TASKS and own != task:
        raise click.UsageError(f"the recipe {recipe} is of --task {own}")
    changes = [f"model={task}"]
    if method == "full":
        if rank is not None:
            raise click.UsageError("--rank is of a LoRA, and --method full trains all weights")
        changes.append("lora=null")
    elif rank is not None or (method == "lora" and load(recipe or task).lora is None):
        changes.append(f"lora.rank={rank or RANK}")
    _train(recipe or task, start, tuple(changes), **options)


@cli.command()
@click.argument("model", type=click.Choice(["first", "fine"]))
@click.option("--recipe", help="Instead of s2a-first or s2a-fine.")
@_running
def s2a(model: str, recipe: str | None, **options: Any) -> None:
    """Semantic to acoustic tokens: the model of codebook 0, or that of the others."""
    _train(recipe or f"s2a-{model}", None, (), **options)


@cli.command()
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder; an unfinished build goes on.")
@click.option("--minutes", type=Number(), help="Stop after so many minutes, with a checkpoint.")
@click.option("--scale", type=Number(), default=1.0, show_default=True, help="Of steps and data, to see that it runs.")
@click.option("--stage", multiple=True, help="Only this one; may be given several times.")
@click.option("--from", "family", type=click.Path(path_type=Path),
              help="With --stage: on top of the weights of this folder, or of `mini`, the shipped ones.")  # fmt: skip
def mini(work: Path, minutes: float | None, scale: float, stage: tuple[str, ...], family: Path | None) -> None:
    """Train the whole mini family from nothing: hours on two cores. Or stages, on top of what is trained."""
    from reference_models.hub import folder_of
    from reference_models.mini.build import STAGES, Work, adopt, build

    for name in stage:
        if name not in STAGES:
            raise click.BadParameter(f"there is no stage '{name}'{nearest(name, STAGES)}", param_hint="--stage")
    made = Work(work, minutes, scale)
    if (given := folder_of(family)) is not None:
        if not stage or not given.is_dir():
            problem = f"{given} is no folder" if stage else "say with --stage what to train on top of it"
            raise click.BadParameter(problem, param_hint="--from")
        adopt(made, given)
    build(made, list(stage))
    click.echo(f"weights: {work / 'weights'} (`checkpoint:` of the systems metis-mini-*)")


@cli.command()
@click.option("--work", required=True, type=click.Path(path_type=Path, exists=True), help="Of `metis-train mini`.")
@click.option("--to", type=click.Path(path_type=Path), help="Default: where the package keeps its weights.")
@click.option("--results", type=click.Path(path_type=Path, exists=True), help="`benchmarks/mini_family.py --json`.")
def pack(work: Path, to: Path | None, results: Path | None) -> None:
    """Write the mini family as it is shipped: half precision, a card each."""
    from reference_models.hub import SHIPPED
    from reference_models.mini.package import pack as write

    measured = None if results is None else json.loads(results.read_text(encoding="utf-8"))
    click.echo(f"{write(work, to or SHIPPED, results=measured) / 1e6:.1f} MB in {to or SHIPPED}")


@cli.command()
@click.argument("suite", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder that holds the data sets.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("ablation-runs"),
    show_default=True,
    help="Where runs go; finished ones are not trained again.",
)
@click.option("--only", multiple=True, metavar="PATTERN", help="Runs, as in 'tts-*'; may be given several times.")
@click.option("--minutes", type=Number(), help="Stop after so many minutes, with a checkpoint.")
@click.option("--cpu", is_flag=True, help="Do not use a GPU.")
def ablate(suite: Path, **options: Any) -> None:
    """Train all runs that SUITE (suites/ablations/*.yaml) compares; `metis-bench run SUITE` evaluates them."""
    from reference_models.training.ablate import ablate as train_all

    unfinished = 0
    for ended in train_all(suite, **options):
        loss = ended.metrics.get("validation_loss")
        shown = "" if loss is None else f"  validation loss {loss:.4f}"
        state = f"{ended.steps} steps, {ended.seconds / 60:.1f} min" if ended.finished else "not finished"
        click.echo(f"{ended.name:32}{ended.trained / 1e6:8.3f} M trained  {state}{shown}")
        unfinished += not ended.finished
    if unfinished:
        click.echo(f"{unfinished} runs are not finished; the same command goes on", err=True)
        raise SystemExit(INTERRUPTED)


def _train(
    recipe: str,
    start: Path | None,
    more: tuple[str, ...],
    *,
    data: tuple[str, ...],
    validation: tuple[str, ...],
    out: Path,
    overrides: tuple[str, ...],
    minutes: float | None,
    dtype: str,
    cpu: bool,
    weights: Path | None,
    noise: Path | None,
    rooms: Path | None,
    converter: str,
) -> None:
    from reference_models.training.processes import leave
    from reference_models.training.recipe import load
    from reference_models.training.run import Simulation, run

    loaded = load(recipe, (*more, *overrides))
    simulation = None if weights is None else Simulation(weights, noise, rooms, converter)
    result, paths = run(
        loaded, data, out, start=start, validation=validation, minutes=minutes, dtype=dtype, cpu=cpu,
        simulation=simulation,
    )  # fmt: skip
    for path in paths:
        click.echo(path)
    leave()
    if result.interrupted:
        click.echo(f"stopped at step {result.step} of {loaded.steps}; the same command goes on", err=True)
        raise SystemExit(INTERRUPTED)


def main(arguments: list[str] | None = None) -> None:
    """The command: errors of ours are one screen and an exit code, never a traceback."""
    try:
        cli.main(args=arguments, prog_name="metis-train", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except MetisError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(PREREQUISITE if isinstance(error, (MissingPackage, MissingCheckpoint)) else USAGE)


if __name__ == "__main__":
    main()
