"""A model in parts: every process holds a slice of each weight, its gradient and its optimiser state (FSDP2).

`accelerate launch --use_fsdp --fsdp_version 2` asks for it. The slicing is torch's `fully_shard`, applied here and not
by `Accelerator.prepare`: the gains of a block's norms are computed before the blocks (`Transformer.gains`), so they
must not go to sleep with it; and Accelerate shards on accelerators only, while this way runs on CPUs (gloo), too, where
tests compare it with a single process. Checkpoints hold whole tensors: any number of processes goes on with them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.errors import MetisError
from reference_models.training.objectives import Objective
from reference_models.transformer import Block

VERSION = 2
WRAPPED = Block.__name__  # what `--fsdp_transformer_layer_cls_to_wrap` may name


def plugin() -> Any | None:
    """What the launcher says about FSDP (`accelerate.FullyShardedDataParallelPlugin`); None: it does not want it.

    Errors: MetisError naming the flag for what is not done here
    """
    from accelerate import FullyShardedDataParallelPlugin

    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return None
    version, policy = os.environ.get("FSDP_VERSION", "1"), os.environ.get("FSDP_AUTO_WRAP_POLICY", "").upper()
    named = os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", WRAPPED)
    refused = {  # flag: (its value, whether that is fine, what to do)
        "--fsdp_version": (version, version == str(VERSION), f"give --fsdp_version {VERSION}"),
        "--fsdp_auto_wrap_policy": (policy, policy != "SIZE_BASED_WRAP", "leave it out: blocks are sharded one by one"),
        "--fsdp_transformer_layer_cls_to_wrap": (named, named == WRAPPED, f"leave it out, or name {WRAPPED}"),
        "--fsdp_offload_params": _flag("FSDP_OFFLOAD_PARAMS", "leave it out, and use more GPUs or recompute=true"),
        "--fsdp_activation_checkpointing": _flag("FSDP_ACTIVATION_CHECKPOINTING", "leave it out; give recompute=true"),
        "--fsdp_ignored_modules": _flag("FSDP_IGNORED_MODULES", "leave it out"),
        "--use_parallelism_config": _flag("ACCELERATE_USE_PARALLELISM_CONFIG", "leave it out"),
    }
    for name, (value, fine, fix) in refused.items():
        if not fine:
            raise MetisError(f"{name} {value} is not supported", fix=fix)
    return FullyShardedDataParallelPlugin(fsdp_version=VERSION)


def _flag(name: str, fix: str) -> tuple[str, bool, str]:
    value = os.environ.get(name, "false").lower()
    return value, value == "false", fix


def shard(objective: Objective, device: torch.device, reshard_after_forward: bool) -> Objective:
    """A copy of an objective on `device`, in parts. Blocks are gathered one after the other, the rest at once.

    Errors: MetisError for an objective that keeps statistics beside its weights, which would differ from part to part
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if next(objective.buffers(), None) is not None:
        raise MetisError(
            f"{type(objective).__name__} cannot be sharded: it has buffers", fix="train it without --use_fsdp"
        )
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    sharded = copy.deepcopy(objective).to(device)
    for module in sharded.modules():
        if isinstance(module, Block):  # without its norms, see above
            fully_shard([module.self_attn, module.mlp], mesh=mesh, reshard_after_forward=reshard_after_forward)
    fully_shard(sharded, mesh=mesh)
    return sharded


def asleep(model: nn.Module) -> None:
    """Every process holds nothing but its parts again.

    The outermost group stays gathered after a forward pass without a backward one, and would not see changed weights.
    """
    for module in model.modules():
        reshard = getattr(module, "reshard", None)  # FSDPModule's
        if reshard is not None:
            reshard()


def in_parts(value: object) -> bool:
    """Whether it is a DTensor. (Importing the class takes a second, which runs of one process need not wait.)"""
    return hasattr(value, "full_tensor")


def local(tensor: Any) -> Tensor:
    """What this process holds of it, sharing memory."""
    return tensor.to_local() if in_parts(tensor) else tensor  # type: ignore[no-any-return]


def whole(tree: Any, keep: bool = True) -> Any:
    """Nested dicts and lists with gathered tensors, on the CPU where they were in parts. All processes take part.

    keep: False gives nothing for what was in parts: of several processes one needs it, others save the memory
    """
    if in_parts(tree):
        full = tree.full_tensor()
        return full.cpu() if keep else full.new_empty(0)
    if isinstance(tree, Mapping):
        return {key: whole(value, keep) for key, value in tree.items()}
    if isinstance(tree, list):
        return [whole(value, keep) for value in tree]
    return tree


def parted(tensor: Tensor, like: Any) -> Tensor:
    """A whole tensor, in parts if `like` is: its weight, or the weight that it is about. Others stay as they are."""
    if not in_parts(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def parted_state(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """A whole optimiser state as `load_state_dict` of this optimiser takes it."""
    weights = dict(enumerate(p for group in optimiser.param_groups for p in group["params"]))
    parts = {
        number: {key: parted(value, weights.get(number)) for key, value in entries.items()}
        for number, entries in state["state"].items()
    }
    return {**state, "state": parts}
