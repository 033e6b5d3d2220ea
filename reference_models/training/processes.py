"""The processes of a run, as `accelerate launch` starts them: who writes, what each holds, what they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from reference_models.errors import MetisError, MissingPackage
from reference_models.training.objectives import Objective
from reference_models.training.sharding import VERSION, plugin, shard, whole

if TYPE_CHECKING:
    from accelerate import Accelerator

REFUSED = {"DEEPSPEED": "--use_deepspeed", "MEGATRON_LM": "--use_megatron_lm"}


class Processes:
    """All of them, seen from this one. The model is whole in each (data parallel), or in parts (`sharding`)."""

    def __init__(self, cpu: bool = False) -> None:
        """cpu: use no GPU. Errors: MissingPackage; MetisError for ways of launching that are not supported"""
        try:
            import accelerate
        except ImportError:
            raise MissingPackage("training", "accelerate", "train") from None
        self._plugin = plugin()
        unused = accelerate.DistributedDataParallelKwargs(find_unused_parameters=True)  # S2A trains one codebook a step
        # one setting a process: the precision is ours to set, so that runs of one process may differ in it
        self.accelerator: Accelerator = accelerate.Accelerator(
            mixed_precision="no", cpu=cpu, kwargs_handlers=[unused], fsdp_plugin=self._plugin
        )
        kind = str(self.accelerator.distributed_type.value)
        if kind in REFUSED:
            raise MetisError(
                f"{REFUSED[kind]} is not supported", fix=f"--multi_gpu, or --use_fsdp --fsdp_version {VERSION}"
            )

        launched = int(os.environ.get("WORLD_SIZE", "1"))
        if launched > 1 and self.count == 1:
            raise MetisError(
                f"{launched} processes were launched, and none sees a GPU: each would train alone",
                fix="see what nvidia-smi says, or train on CPUs: --cpu behind the other options",
            )

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""
        return int(self.accelerator.process_index)

    @property
    def main(self) -> bool:
        """Whether this one writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """Where this one computes."""
        return self.accelerator.device  # type: ignore[no-any-return]

    @property
    def sharded(self) -> bool:
        """Whether models are in parts."""
        return self._plugin is not None and torch.distributed.is_initialized()

    def prepare(self, objective: Objective) -> tuple[nn.Module, Objective]:
        """(what exchanges gradients, the objective in it). In parts, these are one copy of what is given."""
        if self._plugin is not None and self.sharded:
            parts = shard(objective, self.device, bool(self._plugin.reshard_after_forward))
            return parts, parts
        return self.accelerator.prepare_model(objective.to(self.device)), objective

    @contextmanager
    def alone(self, model: nn.Module) -> Iterator[None]:
        """Backward passes within keep their gradients to themselves: another one of the same step follows."""
        if not self.sharded:
            with self.accelerator.no_sync(model):
                yield
            return
        model.set_requires_gradient_sync(False)  # type: ignore[operator]  # FSDPModule's
        try:
            yield
        finally:
            model.set_requires_gradient_sync(True)  # type: ignore[operator]

    def sum(self, values: Tensor) -> Tensor:
        """Over all of them. Of one alone: as it is, where it is."""
        if self.count == 1:
            return values
        total: Tensor = self.accelerator.reduce(values.to(self.device), reduction="sum")
        return total

    def any(self, *flags: bool) -> list[bool]:
        """Whether any of them says so, for each flag: all must leave the loop at the same step."""
        if self.count == 1:
            return list(flags)
        return [total > 0 for total in self.sum(torch.tensor([float(flag) for flag in flags])).tolist()]

    def agree(self, number: int) -> bool:
        """Whether it is the same in all of them. Where it is not, no process hears that it is."""
        numbers = torch.zeros(self.count, dtype=torch.int64)
        numbers[self.rank] = number
        return len(set(self.sum(numbers).tolist())) == 1

    def backward(self, loss: Tensor) -> None:
        """Gradients, exchanged with the others."""
        self.accelerator.backward(loss)

    def wait(self) -> None:
        """For all others."""
        self.accelerator.wait_for_everyone()


def leave() -> None:
    """The last thing that a command does where it may be one of several processes: all of them end, and none before.

    A process that exits in a group may abort instead, and its launcher then reports a failure.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        Processes().wait()
        torch.distributed.destroy_process_group()


def gradient_norm(parameters: list[Any], largest: float) -> float:
    """The norm of a whole gradient, which is clipped to `largest`. The same in all processes."""
    return float(whole(torch.nn.utils.clip_grad_norm_(parameters, largest)))
