"""Recipes: small YAML files that say how a model is trained, each a difference from another one.

A recipe is looked up by name among the shipped ones, or by path; `extends` names the one it changes. Sections are
merged key by key. See `docs/training.md`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reference_models.config import Attention
from reference_models.errors import MetisError

FOLDERS = (Path(__file__).parent / "recipes", Path(__file__).parent.parent / "mini" / "recipes")
Kind: TypeAlias = Literal["stage1", "s2a", "semantic_codec", "acoustic_codec"]
Model: TypeAlias = Literal["base", "tts", "vc", "tse", "se", "l2s", "omni", "first", "fine", "codec"]
DEPTH = 8  # of `extends`


class RecipeError(MetisError):
    """A recipe that cannot be read or makes no sense."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Section):
    """A low-rank fine-tune (paper §3.3). alpha: twice the rank unless given."""

    rank: int = Field(gt=0)
    alpha: float | None = None
    dropout: float = Field(0.01, ge=0, lt=1)


class Masking(_Section):
    """See `objectives.corrupt_rows`; None: the release's value for the model."""

    prompt_share: float = Field(0.8, ge=0, le=1)
    longest_prompt: float | None = Field(None, ge=0, lt=1)
    unguided: float = Field(0.15, ge=0, lt=1)


class Optimiser(_Section):
    """See `optim.OptimConfig`."""

    lr: float = Field(1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(0.01, ge=0)
    warmup: int = Field(32_000, ge=0)
    schedule: Literal["constant", "inverse_sqrt", "cosine"] = "inverse_sqrt"
    final: float = Field(0.05, ge=0, le=1)
    clip: float = Field(1.0, ge=0)
    ema: float = Field(0.0, ge=0, lt=1)


class Recipe(_Section):
    """One training run.

    kind, model:  which class, and which of its configurations
    size:         full, tiny, or mini (`sizes`)
    start:        from a checkpoint of the base, or from nothing
    hours:        of speech in the paper's data set (documentation; the data is given at the command line)
    examples:     of each data set, only the first so many
    mixture:      shares of the steps that data sets get, by name
    batch_tokens: padded tokens of a step over all processes and micro-batches, phones included
    max_seconds:  longer examples are cut, where they have no text
    gate:         where the gate of an adapter starts (release: 0)
    text_share:   rows of frame-level tasks that see their text, where a model takes both (Omni works with and without)
    attention:    how attention is computed: eager is faster on a CPU in bf16, for rows below some 400 tokens
    """

    description: str
    source: str
    kind: Kind
    model: Model
    size: Literal["full", "mini", "tiny"] = "full"
    start: Literal["base", "scratch"] = "scratch"
    lora: Lora | None = None
    hours: float | None = None
    examples: int | None = Field(None, gt=0)
    mixture: dict[str, float] = {}
    masking: Masking = Masking()
    optimiser: Optimiser = Optimiser()
    init: Literal["release", "scaled"] = "release"
    gate: float = 0.0
    text_share: float = Field(0.5, ge=0, le=1)
    attention: Attention = "sdpa"
    steps: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    accumulate: int = Field(1, gt=0)
    max_seconds: float = Field(30.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    recompute: bool = False
    seed: int = Field(0, ge=0)
    log_every: int = Field(50, gt=0)
    checkpoint_every: int = Field(5000, gt=0)
    validate_every: int = Field(0, ge=0)
    options: dict[str, float | int | str | bool] = {}  # of codec objectives


def names() -> list[str]:
    """All shipped recipes."""
    found = [path.stem for folder in FOLDERS for path in folder.glob("*.yaml")]
    return sorted(name for name in found if not name.startswith("_"))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or path, changed by `key=value` and `section.key=value`.

    Errors: RecipeError naming the file, the key, and the nearest valid one
    """
    path = _find(name, Path.cwd())
    values = _read(path, 0)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise RecipeError(f"'{override}' is not of the form key=value", fix="as in --set optimiser.lr=1e-3")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"'{override}': {text} is no YAML ({error})", fix="as in --set lora={rank: 16}") from None
        _put(values, key.split("."), value, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from None


def _find(name: str, beside: Path) -> Path:
    if name.endswith((".yaml", ".yml")):
        path = (beside / name).resolve()
        if path.is_file():
            return path
        raise RecipeError(f"there is no recipe {path}")
    for folder in FOLDERS:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return path
    near = difflib.get_close_matches(name, names(), 3) or names()
    raise RecipeError(f"there is no recipe '{name}'", fix=f"did you mean {', '.join(near)}? or give a path to a .yaml")


def _read(path: Path, depth: int) -> dict[str, Any]:
    """A file merged over what it extends."""
    if depth > DEPTH:
        raise RecipeError(f"{path}: 'extends' goes round in a circle, or is more than {DEPTH} deep")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path} is no recipe: it must be a mapping of keys to values")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    return _merged(_read(_find(str(parent), path.parent), depth + 1), values)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(under)
    for key, value in over.items():
        known = out.get(key)
        out[key] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return out


def _put(values: dict[str, Any], keys: Sequence[str], value: Any, override: str) -> None:
    for key in keys[:-1]:
        if values.get(key) is None:
            values[key] = {}
        values = values[key]
        if not isinstance(values, dict):
            raise RecipeError(f"'{override}': {key} has no keys")
    values[keys[-1]] = value


def _explain(error: ValidationError) -> str:
    """The first finding, with the nearest valid key."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}"
    sections: dict[str, type[BaseModel]] = {"lora": Lora, "masking": Masking, "optimiser": Optimiser}
    section = sections.get(str(first["loc"][0]), Recipe) if len(first["loc"]) > 1 else Recipe
    near = difflib.get_close_matches(str(first["loc"][-1]), section.model_fields, 1)
    return f"{where} is not a key" + (
        f"; did you mean {near[0]}?" if near else f"; keys: {', '.join(section.model_fields)}"
    )
