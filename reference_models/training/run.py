"""One training run from a recipe: data, model, loop, exported weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from reference_models.checkpoints import open_source
from reference_models.config import SEMANTIC_RATE
from reference_models.training.batches import Batches, Mixture, TokenBatches
from reference_models.training.checkpoint import latest
from reference_models.training.claim import MADE_OF, alone, claim
from reference_models.training.conditions import OnTheFly, voices_of
from reference_models.training.logs import METRICS, read_metrics
from reference_models.training.loop import CHECKPOINTS, LoopConfig, Trained, train
from reference_models.training.models import Trainee, build, export
from reference_models.training.optim import OptimConfig
from reference_models.training.processes import Processes
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
    validation: Sequence[str] = (),
    minutes: float | None = None,
    dtype: str = "float32",
    cpu: bool = False,
    simulation: Simulation | None = None,
) -> tuple[Trained, list[Path]]:
    """Train, or go on, and export to `out/weights`. Returns where the run stands and the files.

    data, validation: folders of shards, `NAME=DIR` for the parts of a mixture; start: see `models.build`; minutes: of
    this slice; simulation: for data that holds audio instead of conditions
    """
    main = Processes(cpu).main  # first: how it was launched is refused before anything is built
    trainee, config = build(recipe, start), loop_config(recipe, minutes, cpu)
    with alone(out) if main else nullcontext():
        sets = opened(recipe, data)
        made_of = _made_of(trainee, sets, simulation)
        claim(out, recipe, made_of, begun=latest(out / CHECKPOINTS) is not None, write=main)
        batches = batches_of(trainee, sets, simulation)
        fixed = replace(trainee, recipe=recipe.model_copy(update={"seed": 0}))
        held = {  # the same batches whatever the seed of the run
            name: _token_batches(fixed, name or recipe.model, Shards(folders), simulation)
            for name, folders in _named(validation).items()
        }
        with falling(f"{recipe.kind} {recipe.model}", recipe.steps, shown=main) as show:
            result = train(trainee.objective, batches, config, out, validation=held, progress=show)
        if not main:
            return result, []
        facts: dict[str, Any] = {"steps": result.step, "finished": result.finished, "seconds": round(result.seconds, 1)}
        facts |= {
            "trained": trainee.trained,
            "data": [unplaced(entry) for entry in data],
            MADE_OF: made_of,
            "metrics": _last(read_metrics(out / METRICS)),
        }
        return result, export(trainee, out / WEIGHTS, getattr(torch, dtype), facts)


def _made_of(trainee: Trainee, sets: Mapping[str, Shards], simulation: Simulation | None) -> dict[str, Any]:
    made: dict[str, Any] = {"base": trainee.base, "data": digests(sets)}
    if simulation is not None:
        folders = {"noise": simulation.noise, "rooms": simulation.rooms}
        made |= {"converter": simulation.converter, **{n: f and f.resolve().name for n, f in folders.items()}}
    return made


def digests(sets: Mapping[str, Shards]) -> dict[str, str]:
    """What a run keeps of its data sets, to know them again."""
    return {name: shards.digest for name, shards in sets.items()}


def placed(entry: str, folder: Path) -> str:
    """`[NAME=]DIR` as `[NAME=]folder/DIR`."""
    name, equals, data = entry.rpartition("=")
    return f"{name}{equals}{folder / data}"


def unplaced(entry: str) -> str:
    """`NAME=DIR` without the folders above DIR: what is published says nothing about a machine."""
    name, equals, folder = entry.rpartition("=")
    return f"{name}{equals}{Path(folder).resolve().name}"


def _last(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The last value of everything that was logged."""
    return {name: value for line in lines for name, value in line.items()}


def opened(recipe: Recipe, data: Sequence[str]) -> dict[str, Shards]:
    """The data sets of a recipe by name, "" where it has no mixture.

    Errors: RecipeError where the names are not those of the mixture, InputError for unfit data
    """
    named, wanted = _named(data), list(recipe.mixture) or [""]
    if set(named) != set(wanted):
        if not recipe.mixture:
            raise RecipeError("this recipe has no mixture, so data sets have no names", fix="give --data DIR")
        given = ", ".join(filter(None, named)) or "data without a name"
        raise RecipeError(
            f"the mixture has {', '.join(wanted)}, not {given}", fix=", ".join(f"--data {name}=DIR" for name in wanted)
        )
    return {name: Shards(named[name], recipe.examples) for name in wanted}


def batches_of(trainee: Trainee, sets: Mapping[str, Shards], simulation: Simulation | None = None) -> Batches[Any]:
    """The batches of a recipe. Errors: RecipeError, InputError for data that the model cannot take"""
    recipe = trainee.recipe
    if not recipe.mixture:
        return _token_batches(trainee, recipe.model, sets[""], simulation)
    parts = [(_token_batches(trainee, name, sets[name], simulation), weight) for name, weight in recipe.mixture.items()]
    return Mixture(parts, recipe.seed)


def _named(data: Sequence[str]) -> dict[str, list[Path]]:
    """Folders by name, "" where there is none."""
    named: dict[str, list[Path]] = {}
    for entry in data:
        name, equals, folder = entry.partition("=")
        named.setdefault(name if equals else "", []).append(Path(folder if equals else name))
    return named


def _token_batches(trainee: Trainee, task: str, shards: Shards, simulation: Simulation | None) -> TokenBatches:
    """Of one data set: what its task needs, simulated where it holds audio instead of conditions."""
    recipe, where = trainee.recipe, shards.paths[0].parent
    trainee.check(shards.read(0), where)
    held = set(shards.read(0).arrays)
    prepare: Callable[[Example, int], Example] = lambda example, _seed: example  # noqa: E731
    if "condition" in trainee.arrays and "condition" not in held and "audio" in held and task in SIMULATED:
        if simulation is None:
            raise RecipeError(
                f"{where} holds audio, but no conditions for {task}",
                fix="give --weights FOLDER (w2v-BERT) to simulate on the fly, or tokenize with --task",
            )
        prepare = simulation.of(task, shards)
        held |= {"condition"}
    wanted = _wanted(trainee, task, held)
    for name in wanted:
        if name not in held:
            raise RecipeError(f"{where} holds no {name}, which {task} needs", fix="tokenize with --want or --task")
    longest = round(recipe.max_seconds * SEMANTIC_RATE)
    return TokenBatches(
        shards,
        tokens=recipe.batch_tokens,
        seed=recipe.seed,
        names=wanted,
        longest=longest,
        prepare=prepare,
    )


def _wanted(trainee: Trainee, task: str, held: Collection[str]) -> Sequence[str]:
    """Arrays that examples must hold: all that the model takes. Omni takes more than any one of its tasks has."""
    if trainee.recipe.model != "omni":
        return trainee.arrays
    if task == "omni":  # a data set without a name
        return [name for name in trainee.arrays if name in held]
    if task == "tts":
        return ["phones"]
    return ["condition", *(name for name in ("phones",) if name in held)]


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
