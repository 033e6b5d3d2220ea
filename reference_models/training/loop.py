"""The training loop: Accelerate, gradient accumulation, exact resume, logs. Everything random follows from the step."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from reference_models.errors import CheckpointError, MetisError, MissingPackage
from reference_models.seeds import derive_seed
from reference_models.training.batches import Batches
from reference_models.training.checkpoint import Checkpoint, latest, read, write
from reference_models.training.logs import Logs, Sums
from reference_models.training.objectives import Loss, Objective
from reference_models.training.optim import MovingAverage, OptimConfig, adamw, lr_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["fp32", "bf16"]
CHECKPOINTS = "checkpoints"  # folder of a run


@dataclass(frozen=True)
class LoopConfig:
    """How to train. accumulate: micro-batches of a step; *_every: steps; minutes: stop then, with a checkpoint."""

    steps: int
    optim: OptimConfig = field(default_factory=OptimConfig)
    seed: int = 0
    precision: Precision = "fp32"
    accumulate: int = 1
    log_every: int = 50
    checkpoint_every: int = 5000
    checkpoint_minutes: float = 10.0
    validate_every: int = 0
    validate_batches: int = 8
    minutes: float | None = None
    cpu: bool = False


@dataclass(frozen=True)
class Trained:
    """Where a run stands. step: steps done; finished: all of them; seconds: of all slices; interrupted: by a signal."""

    step: int
    finished: bool
    seconds: float
    interrupted: bool


def train(
    objective: Objective,
    batches: Batches[Any],
    config: LoopConfig,
    out: Path,
    *,
    validation: Mapping[str, Batches[Any]] | None = None,
    progress: Callable[[int, int, float], None] = lambda _step, _steps, _loss: None,
) -> Trained:
    """Train from where `out` stands (from the start in an empty folder) to `config.steps`; `objective` ends trained.

    validation: data sets by name; what is measured on them is logged as validation_NAME_loss, without a name for ""

    Writes `out/metrics.jsonl` and `out/checkpoints/`. A killed run goes on with the same losses. The result does not
    depend on the number of processes or micro-batches, but for rounding. Ends early, with a checkpoint, after
    `config.minutes` and on SIGINT or SIGTERM.
    """
    return _Run(objective, batches, config, out, validation, progress).run()


class _Run:
    """One process of a run."""

    def __init__(
        self,
        objective: Objective,
        batches: Batches[Any],
        config: LoopConfig,
        out: Path,
        validation: Mapping[str, Batches[Any]] | None,
        progress: Callable[[int, int, float], None],
    ) -> None:
        self.config, self.out, self.batches, self.validation, self.progress = (
            config,
            out,
            batches,
            validation or {},
            progress,
        )
        self.accelerator = accelerator(config)
        self.plain = objective.to(self.accelerator.device)
        self.objective: nn.Module = self.accelerator.prepare_model(objective)
        self.optimisers = {phase: adamw(objective.trained(phase), config.optim) for phase in objective.phases}
        self.named = {name: p for name, p in objective.named_parameters() if p.requires_grad}
        self.average = MovingAverage(self.named, config.optim.ema) if config.optim.ema else None
        self.step, self.seconds, self.sums = 0, 0.0, Sums()
        self.counted, self.logged = 0.0, time.monotonic()  # since the last line of the log: tokens or frames; its time
        self.interrupted = False

    @property
    def main(self) -> bool:
        """Whether this process writes."""
        return bool(self.accelerator.is_main_process)

    def run(self) -> Trained:
        """See `train`."""
        found = latest(self.out / CHECKPOINTS)
        if found is not None:
            self._restore(read(found))
        began, before, last_saved = time.monotonic(), self.seconds, time.monotonic()
        with Logs(self.out if self.main else None, self.step) as logs, self._stopping():
            for batch in self._ahead():
                self._train_step(batch)
                self.step += 1
                self.seconds = before + time.monotonic() - began
                if self.step % self.config.log_every == 0 or self.step == self.config.steps:
                    self._log(logs)
                if self._validates():
                    logs.write(self.step, self._validate())
                spent = (time.monotonic() - began) / 60
                stop = self._any(self.interrupted or (self.config.minutes is not None and spent >= self.config.minutes))
                late = self._any(time.monotonic() - last_saved > 60 * self.config.checkpoint_minutes)
                if stop or late or self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                    self._save()
                    last_saved = time.monotonic()
                if stop:
                    break
        if self.average is not None:
            self._load_average()
        self.accelerator.wait_for_everyone()
        return Trained(self.step, self.step >= self.config.steps, self.seconds, self.interrupted)

    def _train_step(self, micro: Sequence[Any]) -> None:
        """All phases of one step over its micro-batches (None: this process has no row in it)."""
        rank = self.accelerator.process_index
        for number, (phase, optimiser) in enumerate(self.optimisers.items()):
            torch.manual_seed(derive_seed("dropout", self.config.seed, self.step, rank, number))
            for group in optimiser.param_groups:
                group["lr"] = self.config.optim.lr * lr_factor(self.config.optim, self.step, self.config.steps)
            losses = []
            for i, batch in enumerate(micro):
                last = i == len(micro) - 1
                with nullcontext() if last else self.accelerator.no_sync(self.objective):
                    loss = self._loss(batch, phase)
                    self.accelerator.backward(loss.total)
                losses.append(loss)
            count = self._sum(torch.stack([loss.count.float() for loss in losses]).sum())
            parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
            # DDP averages gradients of sums over processes; what is wanted is their sum over all that is counted
            if parameters:
                torch._foreach_mul_([p.grad for p in parameters], self.accelerator.num_processes / max(1.0, count))
            norm = float(self.accelerator.clip_grad_norm_(parameters, self.config.optim.clip or math.inf))
            if not math.isfinite(norm):  # before it gets into the weights, and they into a checkpoint
                raise MetisError(
                    f"the gradient of step {self.step} is {norm}",
                    fix="train into another folder with a lower optimiser.lr, or with precision=fp32",
                )
            self.sums.add("gradient", norm, 1.0)
            optimiser.step()
            self.objective.zero_grad(set_to_none=True)
            self._count(losses, count, phase)
        self.counted += count
        if self.average is not None:
            self.average.update(self.named, self.step)

    def _loss(self, batch: Any, phase: str) -> Loss:
        """Of one micro-batch; of none, a zero that still takes part in the gradient exchange."""
        if batch is None:
            blank = self.batches(self.step, 0, self._shares)
            loss = self._forward(blank, phase)
            return Loss(loss.total * 0.0, loss.count * 0, {k: v * 0 for k, v in loss.stats.items()})
        return self._forward(batch, phase)

    def _forward(self, batch: Any, phase: str) -> Loss:
        device = self.accelerator.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return self.objective(_to(batch, device), phase)  # type: ignore[no-any-return]

    def _count(self, losses: Sequence[Loss], count: float, phase: str) -> None:
        named = [{"loss": loss.total.detach().float(), **loss.stats} for loss in losses]
        keys = list(named[0])
        totals = self._sum(torch.stack([sum((n[k].float() for n in named), torch.zeros(())) for k in keys]))
        prefix = "" if len(self.optimisers) == 1 else f"{phase}_"
        for key, total in zip(keys, totals.tolist(), strict=True):
            self.sums.add(prefix + key, total, count)

    @property
    def _shares(self) -> int:
        return int(self.accelerator.num_processes) * self.config.accumulate

    def _micro(self, step: int) -> list[Any]:
        first = self.accelerator.process_index * self.config.accumulate
        return [self.batches(step, first + i, self._shares) for i in range(self.config.accumulate)]

    def _ahead(self) -> Iterator[list[Any]]:
        """Micro-batches of the steps to come, the next one being made in the background."""
        with ThreadPoolExecutor(1) as pool:
            steps = range(self.step, self.config.steps)
            if not steps:
                return
            coming = pool.submit(self._micro, steps[0])
            for step in steps:
                batch = coming.result()
                if step + 1 < self.config.steps:
                    coming = pool.submit(self._micro, step + 1)
                yield batch

    def _validates(self) -> bool:
        """Whether after this step: every so many, and after the last."""
        every = self.config.validate_every if self.validation else 0
        return every > 0 and (self.step % every == 0 or self.step == self.config.steps)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Means over the same batches and draws every time, without dropout."""
        self.plain.eval()
        sums = Sums()
        with self._averaged():
            for name, batches in self.validation.items():
                for step in range(self.config.validate_batches):
                    batch = _to(batches(step), self.accelerator.device)
                    loss: Loss = self.plain(batch, self.plain.phases[-1])
                    for key, value in {"loss": loss.total, **loss.stats}.items():
                        sums.add("_".join(filter(None, ("validation", name, key))), float(value), float(loss.count))
        self.plain.train()
        return sums.means()

    def _log(self, logs: Logs) -> None:
        means = self.sums.means()
        lr = next(iter(self.optimisers.values())).param_groups[0]["lr"]
        now = time.monotonic()
        speed = self.counted / max(1e-9, now - self.logged)
        logs.write(self.step, {**means, "lr": lr, "seconds": self.seconds, "counted_per_second": speed})
        self.sums, self.counted, self.logged = Sums(), 0.0, now
        self.progress(self.step, self.config.steps, means["loss"] if "loss" in means else next(iter(means.values())))

    def _save(self) -> None:
        if self.main:
            average = {} if self.average is None else self.average.weights
            states = {phase: optimiser.state_dict() for phase, optimiser in self.optimisers.items()}
            model = {name: tensor for name, tensor in self.plain.state_dict().items() if name not in self._frozen}
            checkpoint = Checkpoint(self.step, self.seconds, model, states, average, self.sums.state())
            write(checkpoint, self.out / CHECKPOINTS)
        self.accelerator.wait_for_everyone()

    @property
    def _frozen(self) -> set[str]:
        """Parameters that are not trained (the base below a LoRA): every slice starts with the same ones."""
        return {name for name, _ in self.plain.named_parameters()} - set(self.named)

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            missing, unexpected = self.plain.load_state_dict(checkpoint.model, strict=False)
            for phase, optimiser in self.optimisers.items():
                optimiser.load_state_dict(checkpoint.optimisers[phase])
            averages = {} if self.average is None else {name: checkpoint.average[name] for name in self.named}
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._of_another(str(error).splitlines()[0]) from error
        if set(missing) - self._frozen or unexpected:
            raise self._of_another(str(sorted(set(missing) - self._frozen) + unexpected))
        if self.average is not None:
            self.average.weights = {name: tensor.to(self.accelerator.device) for name, tensor in averages.items()}
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        self.sums = Sums.of(checkpoint.sums)

    def _of_another(self, detail: str) -> CheckpointError:
        return CheckpointError(
            f"the checkpoints in {self.out} are of another model or optimiser ({detail})",
            fix="train into another folder",
        )

    @torch.no_grad()
    def _load_average(self) -> None:
        assert self.average is not None
        for name, parameter in self.named.items():
            parameter.copy_(self.average.weights[name])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The weights that a run ends with, for a while."""
        if self.average is None:
            yield
            return
        kept = {name: parameter.detach().clone() for name, parameter in self.named.items()}
        self._load_average()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.named.items():
                    parameter.copy_(kept[name])

    def _sum(self, value: Tensor) -> Any:
        """Over all processes: a float for a scalar, else a tensor."""
        total: Tensor = self.accelerator.reduce(value.to(self.accelerator.device), reduction="sum")
        return float(total) if total.ndim == 0 else total

    def _any(self, flag: bool) -> bool:
        """Whether any process says so: all must leave the loop at the same step."""
        return flag if self.accelerator.num_processes == 1 else bool(self._sum(torch.tensor(float(flag))) > 0)

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the current step."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.interrupted = True

        try:
            former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread, which alone may set handlers
            former = {}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


def accelerator(config: LoopConfig) -> Accelerator:
    """Errors: MissingPackage"""
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
    except ImportError:
        raise MissingPackage("training", "accelerate", "train") from None
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # S2A trains one codebook's tables a step
    # one setting a process: the precision is ours to set, so that runs of one process may differ in it
    return Accelerator(mixed_precision="no", cpu=config.cpu, kwargs_handlers=[unused])


def _to(batch: Any, device: torch.device) -> Any:
    return batch if device.type == "cpu" else batch.to(device)
