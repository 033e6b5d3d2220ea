"""How fast the reference models generate here: measured by `reference_models.measuring` in a worker of its own.

In a worker, because a model that does not fit into the memory must end a row and not the command.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from metis_bench.config import Config
from metis_bench.corpora.base import Task
from metis_bench.engine.executor import FOREVER_S, Crash, Work
from metis_bench.engine.executor import Task as Chunk
from metis_bench.engine.local import LocalExecutor
from metis_bench.engine.progress import Progress
from metis_bench.errors import MissingPrerequisite, UsageError, install_command, nearest

if TYPE_CHECKING:
    from reference_models.measuring.modes import Bench

Say: TypeAlias = Callable[[str], None]
DTYPES = ("float32", "bfloat16", "float16")
EXACT = "float32"  # of the official mode
ROOM = 1.1  # of the weights: what must be free to begin at all


@dataclass(frozen=True)
class Generating:
    """What is generated. None: what suits the size and the device (`resolved`).

    compiled: the default mode once more, compiled; seconds: to generate; repeats: timed runs of each mode
    threads: of the CPU; None: all that there are
    """

    size: Literal["tiny", "mini", "full"] = "mini"
    task: Task = "tts"
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    batches: tuple[int, ...] | None = None
    compiled: bool = False
    seconds: float = 2.0
    prompt_seconds: float = 3.0
    repeats: int | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None

    def batches_on(self, gpu: bool) -> tuple[int, ...]:
        """Full size on a CPU takes minutes a clip, so one will do."""
        return self.batches or ((1, 16) if gpu else (1,) if self.size == "full" else (1, 4))

    def repeats_on(self, gpu: bool) -> int:
        """Likewise."""
        return self.repeats or (1 if self.size == "full" and not gpu else 3)

    def check(self) -> None:
        """Raises UsageError for a precision that there is not."""
        for name in self.dtypes:
            if name not in DTYPES:
                raise UsageError(f"unknown precision '{name}'{nearest(name, DTYPES)}")

    def copies(self) -> list[str]:
        """The precision of each copy of the weights: the official mode's is shared with a default mode in fp32."""
        return [EXACT, *(name for name in self.dtypes if name != EXACT), *(self.dtypes if self.compiled else ())]


class GenerationHandler:
    """Lives in the worker. Its first step looks at the machine, each further one measures a batch size."""

    def __init__(self, init: dict[str, Any]) -> None:
        self.how = Generating(**init)
        self._bench: Bench | None = None

    def close(self) -> None:
        """Nothing to free."""

    def run(self, batches: tuple[int, ...], start: int) -> Iterator[dict[str, Any]]:
        """Facts, then rows; or what is missing."""
        from reference_models.errors import MetisError

        try:
            for step in range(start, len(batches) + 1):
                yield self._facts() if step == 0 else self._measured(batches[step - 1])
        except MetisError as error:
            yield {"missing": error.message, "fix": error.fix}

    def _facts(self) -> dict[str, Any]:
        """Where it runs, and whether it fits. Raises MetisError."""
        import torch

        from reference_models.errors import MetisError
        from reference_models.measuring.inputs import weights
        from reference_models.measuring.modes import Setting
        from reference_models.memory import free_mb

        device = Setting(device=self.how.device).place()
        gpu = device.type == "cuda"
        free: float | None = torch.cuda.mem_get_info(device)[0] / 1e9 if gpu else None
        if not gpu and (main := free_mb()) is not None:
            free = main * 2**20 / 1e9
        need = weights(self.how.size, self.how.task, self.how.copies()) / 1e9
        if free is not None and ROOM * need > free:
            raise MetisError(
                f"the weights of size {self.how.size} ({', '.join(self.how.copies())}) take {need:.1f} GB, "
                f"and {free:.1f} GB of memory are free",
                fix="close other programs, ask for fewer precisions (--dtype float32), or take --size mini",
            )
        name = torch.cuda.get_device_name(device) if gpu else "cpu"
        told = {"device": device.type, "device_name": name, "threads": torch.get_num_threads()}
        return {**told, "weights_gb": need, "free_gb": free}

    def _measured(self, batch: int) -> dict[str, Any]:
        """Rows of one batch size, and the limits. Raises MetisError."""
        from reference_models.measuring.modes import Bench, Setting

        how = self.how
        if self._bench is None:
            gpu = Setting(device=how.device).place().type == "cuda"
            repeats, lengths = how.repeats_on(gpu), (how.seconds, how.prompt_seconds)
            setting = Setting(how.size, how.task, how.dtypes, how.compiled, *lengths, repeats, how.device)
            self._bench = Bench(setting)
        limits = {name: flops / 1e12 for name, flops in self._bench.limits.items()}
        return {"rows": self._bench.rows(batch), "limits": limits}


def measure(how: Generating, config: Config, progress: Progress, say: Say) -> dict[str, Any]:
    """Rows by mode, precision and batch, as JSON; `unavailable` where there are none."""
    gpu = how.device != "cpu" and bool(config.gpus())
    batches, setting = how.batches_on(gpu), asdict(how)
    found: dict[str, Any] = {**setting, "batches": list(batches), "repeats": how.repeats_on(gpu), "weights": "random"}
    found |= {"limits_tflop_per_second": {}, "rows": [], "unavailable": None}
    try:
        _require(how, config)
        for batch, result in _results(how, batches, config, progress):
            _take(found, batch, result, say)
    except MissingPrerequisite as error:
        found["unavailable"] = {"reason": error.message, "fix": error.fix}
    return found


def _require(how: Generating, config: Config) -> None:
    """Raise MissingPrerequisite for what is known to be missing before a worker is started."""
    if importlib.util.find_spec("torch") is None:
        raise MissingPrerequisite(
            "generating needs the Python package 'torch', which is not installed", fix=install_command(None)
        )
    if how.device == "cuda" and not config.gpus():
        raise MissingPrerequisite(
            "--device cuda: this machine has no GPU, or its config uses none", fix="--device cpu, or leave it out"
        )


def _results(
    how: Generating, batches: Sequence[int], config: Config, progress: Progress
) -> Iterator[tuple[int | None, Any]]:
    """(batch size, or None for the facts; what the worker says), as it comes."""
    work = Work(
        what="generation",
        factory=f"{__name__}:GenerationHandler",
        init=asdict(how),
        tasks=1,
        timeout_s=FOREVER_S,
        gpu="none" if how.device == "cpu" else "own",
        alone=True,
        threads=how.threads,
    )
    total = len(batches)
    progress(work.what, 0, total)
    with LocalExecutor(config).pool(work) as pool:
        for _, step, result in pool.run([Chunk(tuple(batches), total + 1)]):
            progress(work.what, step, total)
            yield (None if step == 0 else batches[step - 1]), result


def _take(found: dict[str, Any], batch: int | None, result: Any, say: Say) -> None:
    """One step's result. Raises MissingPrerequisite where the worker says that nothing can be measured."""
    if isinstance(result, Crash):
        if batch is not None:
            found["rows"].append(
                {"mode": "all", "dtype": "", "compiled": False, "batch": batch, "failed": result.reason}
            )
            return
        raise MissingPrerequisite(f"the models cannot be measured: {result.reason}")
    if "missing" in result:
        raise MissingPrerequisite(result["missing"], fix=result["fix"])
    if batch is None:
        found.update(result)
        free = "" if result["free_gb"] is None else f", {result['free_gb']:.1f} GB of memory are free"
        say(f"size {found['size']}: {result['weights_gb']:.2f} GB of random weights{free}; on {result['device_name']}")
        return
    found["rows"] += result["rows"]
    found["limits_tflop_per_second"] = result["limits"]
