"""Many small differences over one recipe, trained one after another: what an ablation suite compares.

The key `training` of a suite (suites/ablations/*.yaml) lists runs; each entry is one run, or a grid of them:

    training:
      - base.{seed}: {recipe: mini-ablation-base, data: [tokens], set: {seed: "{seed}"}, grid: {seed: [0, 1, 2]}}
      - lora-{rank}.{seed}:
          recipe: mini-ablation-tts
          from: base.{seed}                            # an earlier run, or a checkpoint as `finetune --from` takes
          data: [tokens]                               # folders in DATA; [NAME=]FOLDER
          validation: [tokens-held]
          set: {lora.rank: "{rank}", seed: "{seed}"}   # changes of the recipe
          grid: {rank: [4, 16], seed: [0, 1, 2]}

`metis-train ablate` trains them into WORK/NAME; the suite's systems name the weights that are there then.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reference_models.errors import InputError, nearest
from reference_models.grid import expand
from reference_models.training.claim import ANOTHER, FREE, differing
from reference_models.training.loop import CHECKPOINTS
from reference_models.training.models import PROVENANCE
from reference_models.training.recipe import Recipe, RecipeError, load
from reference_models.training.run import WEIGHTS, digests, opened, placed, run, unplaced

KEY = "training"


class AblationRun(BaseModel):
    """One run. See the module's text."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: str
    data: list[str] = Field(min_length=1)
    changes: dict[str, Any] = Field({}, alias="set")
    start: str | None = Field(None, alias="from")
    validation: list[str] = []

    def load(self) -> Recipe:
        """The recipe with its changes. Errors: RecipeError"""
        return load(self.recipe, [f"{key}={json.dumps(value)}" for key, value in self.changes.items()])


@dataclass(frozen=True)
class Ablated:
    """How a run ended. metrics: the last value of everything that was logged; trained: numbers that were trained."""

    name: str
    finished: bool
    steps: int
    seconds: float
    trained: int
    metrics: Mapping[str, float]


def runs_of(suite: Path) -> dict[str, AblationRun]:
    """The runs of a suite by name, in order. Errors: RecipeError naming the file and the entry"""
    try:
        document = yaml.safe_load(suite.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{suite} cannot be read: {error}") from error
    entries = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise RecipeError(f"{suite} has no list '{KEY}' of runs", fix="see docs/training.md, Ablations")
    found: dict[str, AblationRun] = {}
    for entry in entries:
        ((template, body),) = entry.items()
        try:
            for name, values, _ in expand(template, body):
                if name in found:
                    raise InputError(f"the run '{name}' stands twice")
                found[name] = AblationRun.model_validate(values)
        except (InputError, ValidationError) as error:
            reason = error.message if isinstance(error, InputError) else _first(error)
            raise RecipeError(f"{suite}: {KEY}: {template}: {reason}") from None
    return found


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and len(entry) == 1 and isinstance(next(iter(entry.values())), dict)


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    keys = ", ".join(field.alias or name for name, field in AblationRun.model_fields.items())
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']} (keys: {keys}, grid)"


def ablate(
    suite: Path,
    data: Path,
    work: Path,
    *,
    only: Sequence[str] = (),
    minutes: float | None = None,
    cpu: bool = False,
) -> list[Ablated]:
    """Train all runs of a suite that are not finished yet, each into `work/NAME`; goes on where it was stopped.

    data: folder of data sets; only: patterns (`tts-*.0`) of runs, which bring the runs they start from; minutes: of
    this slice. SIGINT and SIGTERM end it, with a checkpoint. Two processes may train different runs in one `work`.

    Errors: RecipeError for an unknown run, recipe or start; whatever a run fails with
    """
    runs, began = runs_of(suite), time.monotonic()
    ended: list[Ablated] = []
    for name in _chosen(runs, only, suite):
        left = None if minutes is None else minutes - (time.monotonic() - began) / 60
        stopped = any(not e.finished for e in ended)  # by the clock or by a signal: then no other begins
        if (stopped or (left is not None and left <= 0)) and not _facts(work / name).get("finished"):
            ended.append(Ablated(name, False, 0, 0.0, 0, {}))
            continue
        ended.append(_train(name, runs, data, work, left, cpu))
    return ended


def _chosen(runs: Mapping[str, AblationRun], only: Sequence[str], suite: Path) -> list[str]:
    """Names in the suite's order, each behind the run that it starts from."""
    for pattern in only:
        if not fnmatch.filter(runs, pattern):
            raise RecipeError(f"{suite} has no run '{pattern}'{nearest(pattern, runs)}")
    chosen: list[str] = []
    for name in runs:
        if only and not any(fnmatch.fnmatch(name, pattern) for pattern in only):
            continue
        chain = [name]
        while (before := runs[chain[-1]].start) in runs and before not in chain:
            chain.append(str(before))
        chosen += [step for step in reversed(chain) if step not in chosen]
    return chosen


def _train(
    name: str, runs: Mapping[str, AblationRun], data: Path, work: Path, minutes: float | None, cpu: bool
) -> Ablated:
    spec, out = runs[name], work / name
    recipe = spec.load()
    seen, held = ([placed(entry, data) for entry in entries] for entries in (spec.data, spec.validation))
    if (facts := _facts(out)).get("finished"):
        _refuse_another(out, facts, recipe, seen)
    else:
        run(recipe, seen, out, start=_start(spec, runs, work), validation=held, minutes=minutes, cpu=cpu)
        facts = _facts(out)
    if facts["finished"]:
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)  # nobody goes on from it, and grids are large
    return Ablated(name, facts["finished"], facts["steps"], facts["seconds"], facts["trained"], facts["metrics"])


def _refuse_another(out: Path, facts: Mapping[str, Any], recipe: Recipe, data: Sequence[str]) -> None:
    """Errors: RecipeError where the finished run in `out` is none of this recipe and these data. Training it anew would
    lose it, and taking it for what the suite describes would be wrong. Data that are gone cannot be compared."""
    if (names := [unplaced(entry) for entry in data]) != facts["data"]:
        raise RecipeError(f"{out} holds a run on {', '.join(facts['data'])}, not {', '.join(names)}", fix=ANOTHER)
    there = all(Path(entry.rpartition("=")[2]).is_dir() for entry in data)
    made_of = {"data": digests(opened(recipe, data))} if there else {}
    differing(out, recipe, made_of, free=tuple(key for key in FREE if key != "steps"))


def _start(spec: AblationRun, runs: Mapping[str, AblationRun], work: Path) -> Path | None:
    if spec.start is None:
        return None
    return work / spec.start / WEIGHTS if spec.start in runs else Path(spec.start)


def _facts(out: Path) -> dict[str, Any]:
    """What a run wrote beside its weights; nothing where there are none."""
    path = next(iter(sorted((out / WEIGHTS).rglob(f"*{PROVENANCE}"))), None)
    return {} if path is None else dict(json.loads(path.read_text(encoding="utf-8")))
