"""One training run from a recipe: data, model, loop, exported weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reference_models.config import SEMANTIC_RATE
from reference_models.training.batches import Batches, Mixture, TokenBatches
from reference_models.training.loop import LoopConfig, Trained, train
from reference_models.training.models import build, export
from reference_models.training.optim import OptimConfig
from reference_models.training.recipe import Recipe, RecipeError
from reference_models.training.shards import Shards

WEIGHTS = "weights"  # folder of a run with what `open_source` opens


def run(
    recipe: Recipe,
    data: Sequence[str],
    out: Path,
    *,
    start: Path | None = None,
    validation: Path | None = None,
    minutes: float | None = None,
    dtype: str = "float32",
    cpu: bool = False,
) -> tuple[Trained, list[Path]]:
    """Train, or go on, and export to `out/weights`. Returns where the run stands and the files.

    data: folders of shards, `NAME=DIR` for the parts of a mixture; start: see `models.build`; minutes: of this slice
    """
    trainee = build(recipe, start)
    batches = batches_of(recipe, data, trainee.arrays)
    held = None if validation is None else batches_of(replace_seed(recipe), [str(validation)], trainee.arrays)
    with _progress(recipe) as show:
        result = train(
            trainee.objective, batches, loop_config(recipe, minutes, cpu), out, validation=held, progress=show
        )
    if not _is_main():
        return result, []
    facts = {"steps": result.step, "finished": result.finished, "seconds": round(result.seconds, 1), "data": list(data)}
    return result, export(trainee, out / WEIGHTS, getattr(torch, dtype), facts)


def batches_of(recipe: Recipe, data: Sequence[str], arrays: Sequence[str]) -> Batches[Any]:
    """The batches of a recipe. Errors: RecipeError where the names of data sets are not those of the mixture"""
    named: dict[str, list[Path]] = {}
    for entry in data:
        name, equals, folder = entry.partition("=")
        named.setdefault(name if equals else "", []).append(Path(folder if equals else name))
    if not recipe.mixture or set(named) == {""}:
        if set(named) != {""}:
            raise RecipeError("this recipe has no mixture, so data sets have no names", fix="give --data DIR")
        return _token_batches(recipe, named[""], arrays)
    if set(named) != set(recipe.mixture):
        wanted = ", ".join(f"--data {name}=DIR" for name in recipe.mixture)
        raise RecipeError(f"the mixture has {', '.join(recipe.mixture)}, not {', '.join(named)}", fix=wanted)
    parts = [(_token_batches(recipe, named[name], arrays), weight) for name, weight in recipe.mixture.items()]
    return Mixture(parts, recipe.seed)


def _token_batches(recipe: Recipe, folders: Sequence[Path], arrays: Sequence[str]) -> TokenBatches:
    shards = Shards(folders)
    held = [name for name in arrays if name in shards.read(0).arrays] if recipe.mixture else arrays
    longest = round(recipe.max_seconds * SEMANTIC_RATE)
    return TokenBatches(shards, tokens=recipe.batch_tokens, seed=recipe.seed, names=held, longest=longest)


def replace_seed(recipe: Recipe) -> Recipe:
    """The same batches in every validation, whatever the seed of the run."""
    return recipe.model_copy(update={"seed": 0, "mixture": {}})


def loop_config(recipe: Recipe, minutes: float | None = None, cpu: bool = False) -> LoopConfig:
    """What the loop reads of a recipe."""
    return LoopConfig(
        steps=recipe.steps,
        optim=OptimConfig(**recipe.optimiser.model_dump()),
        seed=recipe.seed,
        precision=recipe.precision,
        accumulate=recipe.accumulate,
        log_every=recipe.log_every,
        checkpoint_every=recipe.checkpoint_every,
        validate_every=recipe.validate_every,
        minutes=minutes,
        cpu=cpu,
    )


def _is_main() -> bool:
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


@contextmanager
def _progress(recipe: Recipe) -> Iterator[Callable[[int, int, float], None]]:
    """A bar on stderr with the loss and the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(f"{recipe.kind} {recipe.model}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task("", total=recipe.steps, loss=float("nan"))
        yield lambda step, _steps, loss: bar.update(task, completed=step, loss=loss)
