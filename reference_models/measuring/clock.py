"""What a device does in how long: stages of a generation, memory, and a large matrix product as the limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch

from reference_models.memory import peak_mb, reset_peak, resident_mb
from reference_models.parts import Parts

STAGES = ("stage 1", "S2A first", "S2A full", "vocoder")
MATRIX = {"cuda": 8192, "cpu": 1536}  # rows and columns
PRODUCTS = 6  # the first is not counted


class Clock:
    """Seconds spent in each stage since `start`, and memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.spent, self.begun, self.cpu = device, dict.fromkeys(STAGES, 0.0), 0.0, 0.0
        self.held: float | None = None

    def now(self) -> float:
        """When all that was asked of the device so far is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def start(self) -> None:
        """Begin anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self.held = torch.cuda.memory_allocated(self.device)
        else:
            reset_peak()
            resident = resident_mb()
            self.held = None if resident is None else 2**20 * resident
        self.spent, self.begun, self.cpu = dict.fromkeys(STAGES, 0.0), self.now(), time.process_time()

    def stop(self) -> dict[str, float]:
        """Seconds of each stage and in all (`total`), and CPU seconds of all threads (`cpu`)."""
        return {**self.spent, "total": self.now() - self.begun, "cpu": time.process_time() - self.cpu}

    def grown(self) -> float | None:
        """Most bytes, since `start`, on top of those that were held then; None where the kernel does not tell."""
        if self.held is None:
            return None
        on_gpu = self.device.type == "cuda"
        most = torch.cuda.max_memory_allocated(self.device) if on_gpu else 2**20 * peak_mb()
        return max(0.0, most - self.held)

    @contextmanager
    def on(self, every: Iterable[Parts]) -> Iterator[None]:
        """Within the block, the stages of these parts are timed."""
        with ExitStack() as stack:
            decoders = {}
            for parts in {id(p): p for p in every}.values():
                decoders[id(parts.decoder)] = parts.decoder  # one for all precisions
                for stage, model in zip(STAGES, (parts.stage1, parts.first, parts.fine), strict=False):
                    timed = self._timed(stage, model.generate)  # type: ignore[arg-type]
                    stack.enter_context(patch.object(model, "generate", timed))
            for decoder in decoders.values():
                stack.enter_context(patch.object(decoder, "decode", self._timed(STAGES[-1], decoder.decode)))
            yield

    def _timed(self, stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **how: Any) -> Any:
            before = self.now()
            result = run(*given, **how)
            self.spent[stage] += self.now() - before
            return result

        return timed


def limit(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large matrix product: the best of five. What a generation's arithmetic cannot exceed."""
    n, clock = MATRIX[device.type], Clock(device)
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    seconds = []
    for _ in range(PRODUCTS):
        clock.start()
        torch.nn.functional.linear(a, b)
        seconds.append(clock.stop()["total"])
    return float(2 * n**3 / min(seconds[1:]))
