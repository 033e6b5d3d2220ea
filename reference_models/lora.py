"""Low-rank adapters of stage 1, trained by peft (paper §3.3, `Amphion:models/tts/metis/metis.py`, merge_lora_weights).

A fine-tune is two files. LoRA: `model.diff_estimator.layers.N.(self_attn|mlp).X_proj.lora_{A,B}.default.weight`, for
W + (alpha / r) B A, where alpha = 2 r in every official configuration. Adapter: `model.*`, the tensors that the
pre-trained base does not have (in official files `model.cond_adapter.*` only).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from reference_models.errors import CheckpointError
from reference_models.loading import Tensors, check
from reference_models.stage1 import Stage1

if TYPE_CHECKING:
    from peft import LoraModel

TARGETS = r"diff_estimator\.layers\.\d+\.(self_attn\.(q|k|v|o)|mlp\.(gate|up|down))_proj"
ADDED = ("cond_adapter.", "phone_emb.", "diff_estimator.cond_mlp.")  # what fine-tuning adds to the base
PREFIX = "model."  # of every name in LoRA and adapter files: peft's wrapper
OFFICIAL_SCALING = 2.0  # alpha / r


def attach(model: Stage1, rank: int, *, alpha: float | None = None, dropout: float = 0.01) -> LoraModel:
    """Put a new LoRA (no effect yet: B = 0) on all projections of `model`, in place; freeze the rest but what is ADDED.

    alpha: 2 * rank unless given. Returns peft's wrapper, whose state dict has the official names; `model` itself may
    still be called.
    """
    from peft import LoraConfig, LoraModel

    alpha = OFFICIAL_SCALING * rank if alpha is None else alpha
    # peft's type says int, its arithmetic is alpha / r
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, lora_dropout=dropout)  # type: ignore[arg-type]
    wrapped = LoraModel(model, config, "default")
    for name, parameter in model.named_parameters():
        if name.startswith(ADDED):
            parameter.requires_grad_(True)
    return wrapped


def extract(wrapped: LoraModel) -> tuple[Tensors, Tensors]:
    """(LoRA, adapter) under their official names, sharing memory with the model."""
    state: Tensors = wrapped.state_dict()
    lora = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    return lora, {name: tensor for name, tensor in state.items() if name.removeprefix(PREFIX).startswith(ADDED)}


def save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.touch()
    mode = partial.stat().st_mode  # what the user's umask says; safetensors makes private files
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial)
    partial.chmod(mode)
    partial.replace(path)


def projections(model: Stage1) -> dict[str, nn.Linear]:
    """The layers that a LoRA changes, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(TARGETS, name)
    }


def rank_of(lora: Mapping[str, Tensor], where: str | Path) -> int:
    """The one rank of all matrices.

    Errors: CheckpointError where there is no LoRA, or there are several ranks
    """
    ranks = {tensor.shape[0] for name, tensor in lora.items() if ".lora_A." in name and tensor.ndim == 2}
    if not ranks:
        names = ", ".join(list(lora)[:3]) or "nothing"
        raise CheckpointError(f"{where} holds no LoRA (it has {names})", fix="give the LoRA file, not the adapter")
    if len(ranks) > 1:
        raise CheckpointError(f"{where} mixes LoRA ranks {sorted(ranks)}; all matrices must share one")
    return ranks.pop()


def merge(
    model: Stage1,
    lora: Mapping[str, Tensor],
    where: str | Path,
    *,
    rank: int | None = None,
    alpha: float | None = None,
    keep: bool = False,
) -> Tensors:
    """Add a LoRA to the weights of `model`, in place. Needs fp32 weights for full precision.

    The formula of peft, bit for bit, without it: to import it takes longer than to load a mini model.

    rank:  what it must have; None takes what is there. alpha: 2 * rank unless given.
    keep:  return the weights as they were, for `unmerge` (costs their memory); otherwise nothing is returned

    Errors: CheckpointError for another rank, and for missing, unexpected or misshapen matrices; `model` is unchanged
    """
    found = rank_of(lora, where)
    if rank is not None and found != rank:
        raise CheckpointError(
            f"{where} is a LoRA of rank {found}, not {rank}", fix=f"set the rank to {found}, or give the other file"
        )
    check(lora, _blank(model, found), where)
    layers = projections(model)
    kept = {f"{name}.weight": layer.weight.detach().clone() for name, layer in layers.items()} if keep else {}
    scaling = OFFICIAL_SCALING if alpha is None else alpha / found
    with torch.no_grad():
        for name, layer in layers.items():
            a, b = (lora[f"{PREFIX}{name}.lora_{side}.default.weight"].to(layer.weight) for side in "AB")
            layer.weight += (b @ a) * scaling
    return kept


def unmerge(model: Stage1, kept: Mapping[str, Tensor]) -> None:
    """Give `model` the weights back that `merge(keep=True)` returned: the same bits.

    (peft's own unmerging subtracts the product again, which leaves rounding errors.)
    """
    with torch.no_grad():
        for name, layer in projections(model).items():
            layer.weight.copy_(kept[f"{name}.weight"])


def unwrap(state: Mapping[str, Tensor]) -> tuple[Tensors, Tensors]:
    """(base and adapter under stage 1's names, LoRA) of the state dict of peft's whole wrapper."""
    lora = {name: tensor for name, tensor in state.items() if ".lora_" in name}
    rest = {
        name.removeprefix(PREFIX).replace(".base_layer.", "."): tensor
        for name, tensor in state.items()
        if name not in lora
    }
    return rest, lora


def is_wrapped(state: Mapping[str, Tensor]) -> bool:
    """Whether this is the state dict of peft's whole wrapper."""
    return any(".base_layer." in name for name in state)


def _blank(model: Stage1, rank: int) -> Tensors:
    """Names and shapes (on the meta device) of a LoRA for `model`."""
    blank: Tensors = {}
    for name, layer in projections(model).items():
        blank[f"{PREFIX}{name}.lora_A.default.weight"] = torch.empty(rank, layer.in_features, device="meta")
        blank[f"{PREFIX}{name}.lora_B.default.weight"] = torch.empty(layer.out_features, rank, device="meta")
    return blank
