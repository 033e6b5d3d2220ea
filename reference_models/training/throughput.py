"""How fast a run is: tokens, arithmetic, and the share of what the devices could do (MFU)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from reference_models.flops import counting

# TFLOP/s of dense bf16 matrix products that add up in fp32, by device names: from NVIDIA's data sheets (half of what
# they print "with sparsity"), for GeForce from the appendices of the GA102 and AD102 white papers.
PEAKS: dict[str, float] = {
    r"\bB200\b": 2250.0,
    r"\bH(100|200) NVL\b": 835.5,
    r"\bH100 PCIe\b": 756.5,
    r"\bH(100|200)\b": 989.5,
    r"\bA100\b": 312.0,
    r"\bA40\b": 149.7,
    r"\bA30\b": 165.0,
    r"\bA10\b": 125.0,
    r"\bL40S\b": 362.0,
    r"\bL4\b": 121.0,
    r"\bRTX 4090$": 165.2,
    r"\bRTX 3090$": 71.0,
}


def peak(device: torch.device) -> float | None:
    """FLOP/s of a device in bf16; None where that is not known: CPUs, and names that PEAKS lacks."""
    return None if device.type != "cuda" else peak_of(torch.cuda.get_device_name(device))


def peak_of(name: str) -> float | None:
    """See `peak`."""
    return next((1e12 * tflops for pattern, tflops in PEAKS.items() if re.search(pattern, name)), None)


class Throughput:
    """What all processes have done since the last line of the log, and how long that took. A context manager.

    Seconds are those of training steps, waiting for data included; validation and checkpoints are left out. They are
    taken on the host, over all steps of a line: a step waits for its gradient's norm, so no GPU is more than the end of
    one optimiser step behind, and none is made to wait for the measurement.
    """

    def __init__(self, model: nn.Module, device: torch.device, processes: int) -> None:
        """model: what is trained, its arithmetic is counted; device: of this process, taken for that of all"""
        self._stack = ExitStack()
        self._model = model
        self._peak = None if (each := peak(device)) is None else each * processes
        self._reset()

    def _reset(self) -> None:
        self._steps, self._seconds, self._counted = 0, 0.0, 0.0
        self._tokens, self._places, self._flops = 0, 0, 0  # of this process

    def __enter__(self) -> Throughput:
        self._count = self._stack.enter_context(counting(self._model))
        self._count.on = False
        self._since = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @contextmanager
    def forward(self, batch: Any) -> Iterator[None]:
        """A forward pass of a batch (which is on the CPU still). No backward pass: it may repeat forward ones."""
        before = self._count.flops + self._count.backward
        self._count.on = True
        try:
            yield
        finally:
            self._count.on = False
        self._flops += self._count.flops + self._count.backward - before
        self._tokens += getattr(batch, "tokens", 0)
        self._places += getattr(batch, "places", 0)

    def step(self, counted: float) -> None:
        """A step has ended. counted: tokens (or frames) of its loss, over all processes."""
        now = time.monotonic()
        self._steps += 1
        self._counted += counted
        self._seconds += now - self._since
        self._since = now

    def go_on(self) -> None:
        """The next step begins: what was done since the last one (validation, checkpoint) was none."""
        self._since = time.monotonic()

    def line(self, total: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """For the log, and begin anew. total: a sum over all processes.

        steps_per_second
        counted_per_second   tokens (or frames) that the loss counts
        tokens_per_second    of examples, prompts and phones included, padding not
        padding              share of what went through the model that was no token
        tflop_per_second     linear layers and attention, forward and backward, padding included; not what is recomputed
        mfu                  that, as a share of the devices' bf16 peak, where it is known
        """
        seconds = max(1e-9, self._seconds)
        speeds = {"steps_per_second": self._steps / seconds, "counted_per_second": self._counted / seconds}
        ours = torch.tensor([self._tokens, self._places, self._flops], dtype=torch.float64)
        tokens, places, flops = total(ours).tolist()
        if places:  # codecs have no tokens, and most of their arithmetic is in convolutions
            speeds |= {"tokens_per_second": tokens / seconds, "padding": 1 - tokens / places}
            speeds["tflop_per_second"] = flops / seconds / 1e12
            if self._peak is not None:
                speeds["mfu"] = flops / seconds / self._peak
        self._reset()
        return speeds
