"""One training run from a recipe: data, model, loop, exported weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from reference_models.checkpoints import open_source
from reference_models.config import SEMANTIC_RATE
from reference_models.training.batches import Batches, Mixture, TokenBatches
from reference_models.training.checkpoint import latest
from reference_models.training.conditions import OnTheFly, voices_of
from reference_models.training.logs import METRICS, read_metrics
from reference_models.training.loop import CHECKPOINTS, LoopConfig, Trained, accelerator, train
from reference_models.training.models import Trainee, build, export
from reference_models.training.optim import OptimConfig
from reference_models.training.progress import falling
from reference_models.training.recipe import Recipe, RecipeError
from reference_models.training.shards import Example, Shards
from reference_models.training.simulate import Heard, make_world

SIMULATED = ("vc", "tse", "se")
WEIGHTS = "weights"  # folder of a run with what `open_source` opens
RECIPE = "recipe.json"  # of a run
FREE = (  # what may change from slice to slice of a run
    "description",
    "source",
    "hours",
    "steps",
    "accumulate",
    "recompute",
    "attention",
    "log_every",
    "checkpoint_every",
    "validate_every",
)


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
    trainee, config = build(recipe, start), loop_config(recipe, minutes, cpu)
    main = bool(accelerator(config).is_main_process)
    _claim(out, recipe, main)
    batches = batches_of(trainee, data, simulation)
    fixed = replace(trainee, recipe=recipe.model_copy(update={"seed": 0, "examples": None}))
    held = {  # the same batches whatever the seed of the run
        name: _token_batches(fixed, name or recipe.model, folders, simulation)
        for name, folders in _named(validation).items()
    }
    with falling(f"{recipe.kind} {recipe.model}", recipe.steps, shown=main) as show:
        result = train(trainee.objective, batches, config, out, validation=held, progress=show)
    if not main:
        return result, []
    facts: dict[str, Any] = {"steps": result.step, "finished": result.finished, "seconds": round(result.seconds, 1)}
    facts |= {
        "trained": trainee.trained,
        "data": [_unplaced(entry) for entry in data],
        "metrics": _last(read_metrics(out / METRICS)),
    }
    return result, export(trainee, out / WEIGHTS, getattr(torch, dtype), facts)


def _claim(out: Path, recipe: Recipe, main: bool) -> None:
    """Errors: RecipeError where `out` holds an unfinished run of a recipe that differs in more than FREE"""
    path, ours = out / RECIPE, recipe.model_dump(mode="json")
    if path.is_file() and latest(out / CHECKPOINTS) is not None:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        other = [key for key in ours if key not in FREE and ours[key] != theirs.get(key, ours[key])]
        if other:
            raise RecipeError(
                f"{out} holds a run with {other[0]}: {theirs[other[0]]}, not {ours[other[0]]}",
                fix="train into another folder, or remove this one",
            )
    if main:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(ours, indent=1) + "\n", encoding="utf-8")


def placed(entry: str, folder: Path) -> str:
    """`[NAME=]DIR` as `[NAME=]folder/DIR`."""
    name, equals, data = entry.rpartition("=")
    return f"{name}{equals}{folder / data}"


def _unplaced(entry: str) -> str:
    """`NAME=DIR` without the folders above DIR: what is published says nothing about a machine."""
    name, equals, folder = entry.rpartition("=")
    return f"{name}{equals}{Path(folder).resolve().name}"


def _last(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The last value of everything that was logged."""
    return {name: value for line in lines for name, value in line.items()}


def batches_of(trainee: Trainee, data: Sequence[str], simulation: Simulation | None = None) -> Batches[Any]:
    """The batches of a recipe.

    Errors: RecipeError where the names of data sets are not those of the mixture, InputError for unfit data
    """
    recipe, named = trainee.recipe, _named(data)
    if not recipe.mixture or set(named) == {""}:
        if set(named) != {""}:
            raise RecipeError("this recipe has no mixture, so data sets have no names", fix="give --data DIR")
        return _token_batches(trainee, recipe.model, named[""], simulation)
    if set(named) != set(recipe.mixture):
        wanted = ", ".join(f"--data {name}=DIR" for name in recipe.mixture)
        raise RecipeError(f"the mixture has {', '.join(recipe.mixture)}, not {', '.join(named)}", fix=wanted)
    parts = [
        (_token_batches(trainee, name, named[name], simulation), weight) for name, weight in recipe.mixture.items()
    ]
    return Mixture(parts, recipe.seed)


def _named(data: Sequence[str]) -> dict[str, list[Path]]:
    """Folders by name, "" where there is none."""
    named: dict[str, list[Path]] = {}
    for entry in data:
        name, equals, folder = entry.partition("=")
        named.setdefault(name if equals else "", []).append(Path(folder if equals else name))
    return named


def _token_batches(trainee: Trainee, task: str, folders: Sequence[Path], simulation: Simulation | None) -> TokenBatches:
    """Of one data set: what its task needs, simulated where it holds audio instead of conditions."""
    recipe, shards = trainee.recipe, Shards(folders, trainee.recipe.examples)
    trainee.check(shards.read(0), folders[0])
    held = set(shards.read(0).arrays)
    prepare: Callable[[Example, int], Example] = lambda example, _seed: example  # noqa: E731
    if "condition" in trainee.arrays and "condition" not in held and "audio" in held and task in SIMULATED:
        if simulation is None:
            raise RecipeError(
                f"{folders[0]} holds audio, but no conditions for {task}",
                fix="give --weights FOLDER (w2v-BERT) to simulate on the fly, or tokenize with --task",
            )
        prepare = simulation.of(task, shards)
        held |= {"condition"}
    wanted = _wanted(trainee, task, held)
    for name in wanted:
        if name not in held:
            raise RecipeError(f"{folders[0]} holds no {name}, which {task} needs", fix="tokenize with --want or --task")
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
