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
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from reference_models.errors import CheckpointError, MetisError
from reference_models.seeds import derive_seed
from reference_models.training.batches import Batches
from reference_models.training.checkpoint import Checkpoint, latest, read, write
from reference_models.training.logs import Logs, Sums
from reference_models.training.objectives import Loss, Objective
from reference_models.training.optim import MovingAverage, OptimConfig, adamw, lr_factor
from reference_models.training.processes import Processes, gradient_norm
from reference_models.training.sharding import asleep, local, parted, parted_state, whole
from reference_models.training.throughput import Throughput

Precision = Literal["fp32", "bf16"]
Progress: TypeAlias = Callable[[int, int, Mapping[str, float]], None]  # step, of so many, line of the log
CHECKPOINTS = "checkpoints"  # folder of a run


@dataclass(frozen=True)
class LoopConfig:
    """How to train.

    accumulate: micro-batches of a step; *_every: steps (checkpoint_every: 0 for no checkpoints at all, for benchmarks);
    minutes: stop then, with a checkpoint
    """

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
    progress: Progress = lambda _step, _steps, _line: None,
) -> Trained:
    """Train from where `out` stands (from the start in an empty folder) to `config.steps`; `objective` ends trained.

    validation: data sets by name; what is measured on them is logged as validation_NAME_loss, without a name for ""

    Writes `out/metrics.jsonl` and `out/checkpoints/`. A killed run goes on with the same losses. The result does not
    depend on the number of processes or micro-batches, but for rounding. Ends early, with a checkpoint, after
    `config.minutes` and on SIGINT or SIGTERM.
    """
    return _Run(objective, batches, config, out, validation or {}, progress).run()


class _Run:
    """One process of a run."""

    def __init__(
        self,
        objective: Objective,
        batches: Batches[Any],
        config: LoopConfig,
        out: Path,
        validation: Mapping[str, Batches[Any]],
        progress: Progress,
    ) -> None:
        self.config, self.out, self.batches, self.validation, self.progress = config, out, batches, validation, progress
        self.processes = Processes(config.cpu)
        self.given = objective
        self.wrapped, self.objective = self.processes.prepare(objective)
        self.optimisers = {phase: adamw(self.objective.trained(phase), config.optim) for phase in objective.phases}
        self.named = {name: p for name, p in self.objective.named_parameters() if p.requires_grad}
        self.average = MovingAverage(self.named, config.optim.ema) if config.optim.ema else None
        self.step, self.seconds, self.sums = 0, 0.0, Sums()
        self.speed = Throughput(self.objective, self.processes.device, self.processes.count)
        self.interrupted = False

    def run(self) -> Trained:
        """See `train`."""
        self._go_on()
        began, before, last_saved = time.monotonic(), self.seconds, time.monotonic()
        with Logs(self.out if self.processes.main else None, self.step) as logs, self._stopping(), self.speed:
            for batch in self._ahead():
                self.speed.step(self._train_step(batch))
                self.step += 1
                self.seconds = before + time.monotonic() - began
                ended = self.step == self.config.steps
                if self.step % self.config.log_every == 0 or ended:
                    self._log(logs)
                if self._validates():
                    logs.write(self.step, self._validate())
                spent = (time.monotonic() - began) / 60
                stop, late = self.processes.any(
                    self.interrupted or (self.config.minutes is not None and spent >= self.config.minutes),
                    time.monotonic() - last_saved > 60 * self.config.checkpoint_minutes,
                )
                every = self.config.checkpoint_every
                if every and (stop or late or ended or self.step % every == 0):
                    self._save()
                    last_saved = time.monotonic()
                if stop:
                    break
                self.speed.go_on()
        self._finish()
        return Trained(self.step, self.step >= self.config.steps, self.seconds, self.interrupted)

    def _go_on(self) -> None:
        """From the last checkpoint, if there is one."""
        path = latest(self.out / CHECKPOINTS)
        found = None if path is None else read(path)
        step = 0 if found is None else found.step
        if not self.processes.agree(step):  # or they would wait for each other forever
            raise MetisError(
                f"the processes stand at different steps: process {self.processes.rank} at {step}",
                fix=f"put {self.out} on storage that all machines see",
            )
        if found is not None:
            self._restore(found)

    def _train_step(self, micro: Sequence[Any]) -> float:
        """All phases of one step over its micro-batches (None: this process has no row in it); what they counted."""
        counted = 0.0
        for number, (phase, optimiser) in enumerate(self.optimisers.items()):
            torch.manual_seed(derive_seed("dropout", self.config.seed, self.step, self.processes.rank, number))
            for group in optimiser.param_groups:
                group["lr"] = self.config.optim.lr * lr_factor(self.config.optim, self.step, self.config.steps)
            losses = []
            for i, batch in enumerate(micro):
                last = i == len(micro) - 1
                with nullcontext() if last else self.processes.alone(self.wrapped):
                    loss = self._loss(batch, phase)
                    self.processes.backward(loss.total)
                losses.append(loss)
            counted = self._count(losses, phase)
            self._update(optimiser, counted)
        if self.average is not None:
            self.average.update(self.named, self.step)
        return counted

    def _update(self, optimiser: torch.optim.Optimizer, counted: float) -> None:
        """One step of one optimiser, by the gradients of sums over `counted` things."""
        parameters = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        # gradients of sums were averaged over processes; what is wanted is their sum over all that is counted
        if parameters:
            torch._foreach_mul_([local(p.grad) for p in parameters], self.processes.count / max(1.0, counted))
        norm = gradient_norm(parameters, self.config.optim.clip or math.inf)
        if not math.isfinite(norm):  # before it gets into the weights, and they into a checkpoint
            raise MetisError(
                f"the gradient of step {self.step} is {norm}",
                fix="train into another folder with a lower optimiser.lr, or with precision=fp32",
            )
        self.sums.add("gradient", norm, 1.0)
        optimiser.step()
        self.wrapped.zero_grad(set_to_none=True)

    def _loss(self, batch: Any, phase: str) -> Loss:
        """Of one micro-batch; of none, a zero that still takes part in the exchange of weights and gradients."""
        if batch is None:
            return _nothing(self._forward(self.batches(self.step, 0, self._shares), phase))
        with self.speed.forward(batch):
            return self._forward(batch, phase)

    def _forward(self, batch: Any, phase: str) -> Loss:
        device = self.processes.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return self.wrapped(_to(batch, device), phase)  # type: ignore[no-any-return]

    def _count(self, losses: Sequence[Loss], phase: str) -> float:
        """Add the losses of a step over all processes to the line to come; returns what they count."""
        named = [{"count": loss.count, "loss": loss.total.detach(), **loss.stats} for loss in losses]
        keys = list(named[0])
        sums = torch.stack([sum((n[k].float() for n in named), torch.zeros(())) for k in keys])
        totals = dict(zip(keys, self.processes.sum(sums).tolist(), strict=True))
        counted = float(totals.pop("count"))
        prefix = "" if len(self.optimisers) == 1 else f"{phase}_"
        for key, total in totals.items():
            self.sums.add(prefix + key, total, counted)
        return counted

    @property
    def _shares(self) -> int:
        return self.processes.count * self.config.accumulate

    def _micro(self, step: int) -> list[Any]:
        first = self.processes.rank * self.config.accumulate
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
        """Means over the same batches and draws every time, without dropout; each process takes its rows of each."""
        self.objective.eval()
        rank, count = self.processes.rank, self.processes.count
        sums = Sums()
        with self._averaged():
            for name, batches in self.validation.items():
                for step in range(self.config.validate_batches):
                    batch = batches(step, rank, count)
                    some = _to(batches(step, 0, count) if batch is None else batch, self.processes.device)
                    loss: Loss = self.objective(some, self.objective.phases[-1])
                    loss = _nothing(loss) if batch is None else loss
                    for key, value in {"loss": loss.total, **loss.stats}.items():
                        sums.add("_".join(filter(None, ("validation", name, key))), float(value), float(loss.count))
            asleep(self.objective)
        self.objective.train()
        return sums.over(self.processes.sum).means()

    def _log(self, logs: Logs) -> None:
        lr = next(iter(self.optimisers.values())).param_groups[0]["lr"]
        line = {**self.sums.means(), "lr": lr, "seconds": self.seconds, **self.speed.line(self.processes.sum)}
        logs.write(self.step, line)
        self.sums = Sums()
        self.progress(self.step, self.config.steps, line)

    def _save(self) -> None:
        """One whole file, whatever the processes hold: any number of them goes on with it."""
        keep = self.processes.main
        average = {} if self.average is None else self.average.weights
        states = {phase: optimiser.state_dict() for phase, optimiser in self.optimisers.items()}
        checkpoint = Checkpoint(
            self.step,
            self.seconds,
            whole(self._trained(), keep),
            whole(states, keep),
            whole(average, keep),
            self.sums.state(),
        )
        if keep:
            write(checkpoint, self.out / CHECKPOINTS)
        self.processes.wait()

    def _trained(self) -> dict[str, Tensor]:
        """The state but for the parameters that are not trained (the base below a LoRA): slices start with the same."""
        frozen = self._frozen
        return {name: tensor for name, tensor in self.objective.state_dict().items() if name not in frozen}

    @property
    def _frozen(self) -> set[str]:
        return {name for name, _ in self.objective.named_parameters()} - set(self.named)

    def _restore(self, checkpoint: Checkpoint) -> None:
        own = self.objective.state_dict()
        try:
            model = {name: parted(tensor, own.get(name)) for name, tensor in checkpoint.model.items()}
            missing, unexpected = self.objective.load_state_dict(model, strict=False)
            for phase, optimiser in self.optimisers.items():
                optimiser.load_state_dict(parted_state(optimiser, checkpoint.optimisers[phase]))
            averages = {} if self.average is None else {name: checkpoint.average[name] for name in self.named}
        except (RuntimeError, ValueError, KeyError) as error:
            raise self._of_another(str(error).splitlines()[0]) from error
        if set(missing) - self._frozen or unexpected:
            raise self._of_another(str(sorted(set(missing) - self._frozen) + unexpected))
        if self.average is not None:
            self.average.weights = {
                name: parted(tensor.to(self.processes.device), self.named[name]) for name, tensor in averages.items()
            }
        self.step, self.seconds = checkpoint.step, checkpoint.seconds
        self.sums = Sums.of(checkpoint.sums)

    def _of_another(self, detail: str) -> CheckpointError:
        return CheckpointError(
            f"the checkpoints in {self.out} are of another model or optimiser ({detail})",
            fix="train into another folder",
        )

    def _finish(self) -> None:
        """The given objective gets what the run has trained."""
        if self.average is not None:
            self.average.load(self.named)
        if self.objective is not self.given:
            self.given.load_state_dict(whole(self._trained()), strict=False)
        self.processes.wait()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The weights that a run ends with, for a while."""
        if self.average is None:
            yield
            return
        kept = {name: local(parameter).detach().clone() for name, parameter in self.named.items()}
        self.average.load(self.named)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.named.items():
                    local(parameter).copy_(kept[name])

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


def _nothing(loss: Loss) -> Loss:
    """A loss that counts nothing."""
    return Loss(loss.total * 0.0, loss.count * 0, {key: value * 0 for key, value in loss.stats.items()})


def _to(batch: Any, device: torch.device) -> Any:
    return batch if device.type == "cpu" else batch.to(device)
