"""What a folder of a training run is of: with another recipe, other data or another base nothing goes on in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reference_models.training.recipe import Recipe, RecipeError

RECIPE, LOCK = "recipe.json", "lock"
MADE_OF = "made_of"  # beside the recipe: the base's fingerprint, the data sets' digests, what simulates conditions
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
ANOTHER = "train into another folder, or remove this one"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other processes out of a run's folder: two would destroy each other's log and checkpoints.

    Errors: RecipeError where one is there, and where `out` cannot be a folder. (Without locks, on Windows and on some
    network file systems, nobody is kept out.)
    """
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out} is a file, and a run needs a folder", fix="give another --out")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RecipeError(f"another process trains in {out}", fix="wait for it, or train elsewhere") from None
        except (ImportError, OSError):
            pass
        yield


def claim(out: Path, recipe: Recipe, made_of: Mapping[str, Any], *, begun: bool, write: bool) -> None:
    """Take `out` for a run, or go on with the one that has `begun` there.

    Errors: RecipeError where that one differs in more than FREE
    """
    if begun:
        differing(out, recipe, made_of)
    if write:
        entries = {**recipe.model_dump(mode="json"), MADE_OF: made_of}
        partial = (out / RECIPE).with_suffix(".partial")
        partial.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        partial.replace(out / RECIPE)


def differing(out: Path, recipe: Recipe, made_of: Mapping[str, Any], *, free: tuple[str, ...] = FREE) -> None:
    """Errors: RecipeError where the run in `out` is another than this one, in a line that says in what"""
    path = out / RECIPE
    if not path.is_file():
        return
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
        theirs_made = theirs.pop(MADE_OF, {})  # runs of earlier versions do not say
        if not isinstance(theirs_made, dict):
            raise ValueError(MADE_OF)
    except (ValueError, AttributeError) as error:
        raise RecipeError(f"{path} is damaged: nobody can tell what run this is", fix=ANOTHER) from error
    ours = recipe.model_dump(mode="json")
    other = next((key for key in ours if key not in free and ours[key] != theirs.get(key, ours[key])), None)
    if other is not None:
        raise RecipeError(f"{out} holds a run with {other}: {theirs[other]}, not {ours[other]}", fix=ANOTHER)
    for key, value in made_of.items():
        if theirs_made.get(key, value) != value:
            raise RecipeError(f"{out} holds a run with another {key}", fix=ANOTHER)
