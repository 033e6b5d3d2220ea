"""From a recipe to a model ready to be trained, and from the trained model to files that `open_source` opens."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from reference_models import lora as low_rank
from reference_models.acoustic import S2A
from reference_models.config import S2AConfig, Stage1Config
from reference_models.errors import CheckpointError, InputError
from reference_models.hub import MINI, find, folder_of, place
from reference_models.loading import PICKLED, Tensors, check, fingerprint, load_tensors
from reference_models.registry import BASE, FILES, FINE, FIRST, LIPS, OMNI, SPEECH, TTS
from reference_models.seeds import derive_seed
from reference_models.sizes import Config, config_beside, sized, write_config
from reference_models.stage1 import Stage1
from reference_models.training.objectives import S2AObjective, Stage1Objective, scale_weights
from reference_models.training.recipe import Masking, Recipe, RecipeError
from reference_models.training.shards import Example
from reference_models.transformer import SelfAttention, init_weights
from reference_models.variants import VARIANTS

if TYPE_CHECKING:
    from peft import LoraModel

STAGE1: Mapping[str, Stage1Config] = {
    "base": BASE,
    "tts": TTS,
    "vc": SPEECH,
    "tse": SPEECH,
    "se": SPEECH,
    "l2s": LIPS,
    "omni": OMNI,
}
S2A_FILES = {"first": "maskgct_s2a_model_1layer", "fine": "maskgct_s2a_model_full"}
PROVENANCE = ".training.json"


@dataclass(frozen=True)
class Trainee:
    """A model under training.

    arrays: what examples must hold; wrapped: peft's view of it, for a LoRA; base: fingerprint of what it starts from
    """

    recipe: Recipe
    model: Stage1 | S2A
    objective: Stage1Objective | S2AObjective
    arrays: tuple[str, ...]
    wrapped: LoraModel | None = None
    base: str | None = None

    @property
    def trained(self) -> int:
        """Numbers that the optimiser changes."""
        return sum(p.numel() for p in self.objective.parameters() if p.requires_grad)

    def check(self, example: Example, where: Path) -> None:
        """Errors: InputError where sizes of an example, from the data set `where`, are not those of the model"""
        ids, columns = _sizes(self.model.config)
        for name in ("semantic", *self.arrays):
            array = example.arrays.get(name)
            if array is None:
                continue
            found, most = int(array.max(initial=0)), ids.get(name)
            if most is not None and found >= most:
                problem = f"{name} goes up to {found}, the model takes {most} ids"
            elif name in columns and array.shape[1] not in columns[name]:
                problem = f"{name} has {array.shape[1]} numbers a frame, the model takes {columns[name].start}"
            else:
                continue
            raise InputError(
                f"{where} was made for other models: {problem}", fix="tokenize it with models of this size"
            )


def build(recipe: Recipe, start: Path | None = None) -> Trainee:
    """The model of a recipe with its initial weights.

    start: a checkpoint of the base (a folder as `open_source` takes, `mini`, or a file), which `start: base` needs; a
    file may also be an earlier fine-tuning of the same model

    Errors: RecipeError where recipe and `start` contradict each other; CheckpointError, MissingCheckpoint
    """
    if recipe.kind == "s2a":
        return _build_s2a(recipe)
    if recipe.kind != "stage1":
        raise RecipeError(f"{recipe.kind} is trained by `metis-train codec`")
    if recipe.start == "base" and start is None:
        raise RecipeError(
            "this recipe starts from the pre-trained base", fix="give it: --from FOLDER, or --set start=scratch"
        )
    if start is not None and str(start) != MINI and not start.exists():
        raise RecipeError(f"{start}: there is no such file or folder")
    config = sized(STAGE1[recipe.model], recipe.size)
    state: Tensors = {}
    if recipe.start == "base" and start is not None:
        path = start if start.is_file() else find("metis_base", folder_of(start))
        base = config_beside(path, sized(BASE, recipe.size))
        config = dataclasses.replace(config, transformer=base.transformer, codebook_size=base.codebook_size)
        state = load_tensors(path, dtype=torch.float32)
    model = Stage1(config)
    _initialise(model, recipe)
    if state:
        _continue(model, state, recipe)
    if config.adapter == "gated" and "cond_adapter.gate_scale" not in state:
        model.get_parameter("cond_adapter.gate_scale").data.fill_(recipe.gate)
    wrapped = None
    if recipe.lora is not None:
        with _seeded(recipe):
            wrapped = low_rank.attach(model, recipe.lora.rank, alpha=recipe.lora.alpha, dropout=recipe.lora.dropout)
    _compute(model, recipe)
    objective = Stage1Objective(model, text_share=recipe.text_share, **_masking(recipe.masking))
    known = fingerprint(state) if state else None
    return Trainee(recipe, model, objective, arrays_of(recipe), wrapped, known)


def arrays_of(recipe: Recipe) -> tuple[str, ...]:
    """What examples must hold beside semantic tokens; of a mixture, what each data set holds is used."""
    if recipe.kind == "s2a":
        return ("codes",)
    config = STAGE1[recipe.model]
    return tuple(n for n, wanted in (("phones", config.phones), ("condition", config.adapter != "none")) if wanted)


def _build_s2a(recipe: Recipe) -> Trainee:
    if recipe.lora is not None or recipe.start != "scratch":
        raise RecipeError("S2A is trained whole and from nothing")
    model = S2A(sized(FIRST if recipe.model == "first" else FINE, recipe.size))
    _initialise(model, recipe)
    _compute(model, recipe)
    return Trainee(recipe, model, S2AObjective(model, **_masking(recipe.masking)), arrays_of(recipe))


def _sizes(config: Stage1Config | S2AConfig) -> tuple[dict[str, int], dict[str, range]]:
    """What the arrays of an example may hold: how many ids, how many numbers a frame."""
    if isinstance(config, Stage1Config):
        width = config.condition_dim
        ids = {"semantic": config.codebook_size, "phones": config.phone_vocab}
        return ids, {"condition": range(width, width + 1)}
    ids = {"semantic": config.semantic_size, "codes": config.codebook_size}
    return ids, {"codes": range(config.num_quantizers, sys.maxsize)}  # finer ones are not read


def _initialise(model: Stage1 | S2A, recipe: Recipe) -> None:
    """The release's initial weights, drawn again with the recipe's seed, or scaled ones."""
    with _seeded(recipe):
        if recipe.init == "scaled":
            scale_weights(model)
        else:
            init_weights(model)


def _compute(model: Stage1 | S2A, recipe: Recipe) -> None:
    """By which way, which is no property of the weights."""
    model.diff_estimator.recompute = recipe.recompute
    for module in model.modules():
        if isinstance(module, SelfAttention):
            module.how = recipe.attention


@contextmanager
def _seeded(recipe: Recipe) -> Iterator[None]:
    """What torch draws within follows from the recipe's seed; its generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("weights", recipe.seed, recipe.model))
        yield


def _continue(model: Stage1, state: Tensors, recipe: Recipe) -> None:
    """The base's weights; what fine-tuning adds keeps its initial ones, unless it is there: an earlier fine-tuning."""
    own, tuned = model.state_dict(), any(name.startswith(low_rank.ADDED) for name in state)
    wanted = {k: v for k, v in own.items() if tuned or not k.startswith(low_rank.ADDED)}
    check(state, wanted, f"the start of {recipe.model}")
    model.load_state_dict(state, strict=False)


def _masking(masking: Masking) -> dict[str, float]:
    return {k: v for k, v in masking.model_dump().items() if v is not None}


def export(trainee: Trainee, folder: Path, dtype: torch.dtype, facts: Mapping[str, Any]) -> list[Path]:
    """Write the trained weights under official names into `folder`: the layout that `open_source(folder)` reads.

    A LoRA is two files (LoRA and adapter). Beside each stands a JSON file with `facts` and the recipe.
    """
    recipe, model = trainee.recipe, trainee.model
    paths: dict[Path, tuple[Tensors, Config, Config]]
    if trainee.wrapped is None:
        file = FILES[file_name(recipe)]
        paths = {place(file, folder): (model.state_dict(), model.config, file.config)}
    else:
        assert recipe.lora is not None
        lora, adapter = low_rank.extract(trainee.wrapped)
        if recipe.lora.alpha is not None:  # files do not say it, and are read with the official one
            scale = recipe.lora.alpha / (low_rank.OFFICIAL_SCALING * recipe.lora.rank)
            lora = {name: tensor * scale if ".lora_B." in name else tensor for name, tensor in lora.items()}
        stem = folder / f"metis_{recipe.model}" / f"metis_{recipe.model}_lora_{recipe.lora.rank}"
        paths = {stem.with_name(stem.name + ".safetensors"): (lora, model.config, model.config)}
        if adapter:
            paths[stem.with_name(stem.name + "_adapter.safetensors")] = (adapter, model.config, STAGE1[recipe.model])
    for path, (tensors, config, standard) in paths.items():
        write_weights(path, tensors, config, standard, dtype, {**facts, "recipe": recipe.model_dump()})
    return list(paths)


def write_weights(
    path: Path, tensors: Tensors, config: Config, official: Config, dtype: torch.dtype, facts: Mapping[str, Any]
) -> None:
    """A weight file as `open_source` reads it, its configuration where it is not the official one, and its provenance.

    Errors: CheckpointError for numbers that `dtype` does not hold; nothing is written then
    """
    store(tensors, path, dtype)
    write_config(path, config, official)
    described = {**facts, "torch": torch.__version__, "hardware": _hardware(), "dtype": str(dtype)}
    path.with_suffix(PROVENANCE).write_text(json.dumps(described, indent=1, default=str) + "\n", encoding="utf-8")


def _hardware() -> str:
    """What this process can compute with."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), {torch.get_num_threads()} threads a process"


def store(tensors: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype) -> None:
    """Tensors in a file of that suffix, floats in `dtype`. Errors: CheckpointError for numbers that it does not hold"""
    stored = {name: _stored(tensor, dtype) for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in PICKLED:
        torch.save(stored, path)
    else:
        low_rank.save(stored, path)


def file_name(recipe: Recipe) -> str:
    """What the official release calls the file of this model, in `registry.FILES`."""
    name = S2A_FILES[recipe.model] if recipe.kind == "s2a" else VARIANTS[recipe.model].checkpoint
    return str(name)


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    out = tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()
    if not bool(out.isfinite().all()):
        raise CheckpointError(f"the trained weights do not fit {dtype}", fix="export in float32, and look at the loss")
    return out
