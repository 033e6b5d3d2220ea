"""One training run from a recipe: data, model, loop, exported weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from reference_models.checkpoints import open_source
from reference_models.config import SEMANTIC_RATE
from reference_models.training.batches import Batches, Mixture, TokenBatches
from reference_models.training.conditions import OnTheFly, voices_of
from reference_models.training.loop import LoopConfig, Trained, train
from reference_models.training.models import build, export
from reference_models.training.optim import OptimConfig
from reference_models.training.progress import falling
from reference_models.training.recipe import Recipe, RecipeError
from reference_models.training.shards import Example, Shards
from reference_models.training.simulate import Heard, make_world

SIMULATED = ("vc", "tse", "se")
WEIGHTS = "weights"  # folder of a run with what `open_source` opens


@dataclass(frozen=True)
class Simulation:
    """What turns clean speech into conditions while training. weights: folder with w2v-BERT; noise, rooms: folders of
    recordings, None: synthetic; converter: see `perturb.make_converter`; device: of w2v-BERT."""

    weights: Path
    noise: Path | None = None
    rooms: Path | None = None
    converter: str = "world"
    device: str = "cpu"

    def of(self, task: str, shards: Shards) -> OnTheFly:
        """`prepare` of the batches of a data set whose speech is also the other talkers."""
        world = make_world(voices_of(shards), noise=self.noise, rooms=self.rooms, converter=self.converter)
        return OnTheFly(cast(Heard, task), open_source(self.weights, device=self.device).features(), world)


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
    simulation: Simulation | None = None,
) -> tuple[Trained, list[Path]]:
    """Train, or go on, and export to `out/weights`. Returns where the run stands and the files.

    data: folders of shards, `NAME=DIR` for the parts of a mixture; start: see `models.build`; minutes: of this slice;
    simulation: for data that holds audio instead of conditions
    """
    trainee = build(recipe, start)
    batches = batches_of(recipe, data, trainee.arrays, simulation)
    held = None
    if validation is not None:  # the same batches whatever the seed of the run
        fixed = recipe.model_copy(update={"seed": 0, "mixture": {}})
        held = batches_of(fixed, [str(validation)], trainee.arrays, simulation)
    with falling(f"{recipe.kind} {recipe.model}", recipe.steps) as show:
        result = train(
            trainee.objective, batches, loop_config(recipe, minutes, cpu), out, validation=held, progress=show
        )
    if not _is_main():
        return result, []
    facts = {"steps": result.step, "finished": result.finished, "seconds": round(result.seconds, 1), "data": list(data)}
    return result, export(trainee, out / WEIGHTS, getattr(torch, dtype), facts)


def batches_of(
    recipe: Recipe, data: Sequence[str], arrays: Sequence[str], simulation: Simulation | None = None
) -> Batches[Any]:
    """The batches of a recipe. Errors: RecipeError where the names of data sets are not those of the mixture"""
    named: dict[str, list[Path]] = {}
    for entry in data:
        name, equals, folder = entry.partition("=")
        named.setdefault(name if equals else "", []).append(Path(folder if equals else name))
    if not recipe.mixture or set(named) == {""}:
        if set(named) != {""}:
            raise RecipeError("this recipe has no mixture, so data sets have no names", fix="give --data DIR")
        return _token_batches(recipe, recipe.model, named[""], arrays, simulation)
    if set(named) != set(recipe.mixture):
        wanted = ", ".join(f"--data {name}=DIR" for name in recipe.mixture)
        raise RecipeError(f"the mixture has {', '.join(recipe.mixture)}, not {', '.join(named)}", fix=wanted)
    parts = [
        (_token_batches(recipe, name, named[name], arrays, simulation), weight)
        for name, weight in recipe.mixture.items()
    ]
    return Mixture(parts, recipe.seed)


def _token_batches(
    recipe: Recipe, task: str, folders: Sequence[Path], arrays: Sequence[str], simulation: Simulation | None
) -> TokenBatches:
    """Of one data set: what it holds, simulated where it holds audio instead of conditions."""
    shards = Shards(folders)
    held = set(shards.read(0).arrays)
    prepare: Callable[[Example, int], Example] = lambda example, _seed: example  # noqa: E731
    if "condition" in arrays and "condition" not in held and "audio" in held and task in SIMULATED:
        if simulation is None:
            raise RecipeError(
                f"{folders[0]} holds audio, but no conditions for {task}",
                fix="give --weights FOLDER (w2v-BERT) to simulate on the fly, or tokenize with --task",
            )
        prepare = simulation.of(task, shards)
        held |= {"condition"}
    wanted = [name for name in arrays if name in held] if recipe.mixture else arrays
    longest = round(recipe.max_seconds * SEMANTIC_RATE)
    return TokenBatches(
        shards, tokens=recipe.batch_tokens, seed=recipe.seed, names=wanted, longest=longest, prepare=prepare
    )


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
