"""Time the default mode against the official mode (the release, pass for pass), alternately, in one process.

    python benchmarks/generate.py --size mini
    python benchmarks/generate.py --size full --task se --dtype float32 bfloat16
    python benchmarks/generate.py --size full --dtype float32 bfloat16 --batch 1 4 16 --prompt-seconds 3 --seconds 10

Both modes get the same prepared jobs (random tokens and features; preparing is the same code for both and is not
timed). They are warmed up with equal noise, which counts passes and arithmetic and compares tokens; then each is timed
with its own noise, in alternating order, and medians are printed. The official mode is always fp32, and takes the jobs
of a batch one by one, as the release does.

calls: of a transformer. passes: of one sequence (a guided step takes two: two calls in the official mode, one in the
default mode). TFLOP: of linear layers and attention (the last block of the default mode computes less); TFLOP/s: over
the whole time. of peak: of a large matrix product in that precision, measured here. GB: most memory so far (CPU: of the
process; CUDA: in that row), all models included. speed-up: over the official mode; by CPU: the same in CPU seconds of
all threads, which other jobs on the machine disturb less. tokens: whether all acoustic codes are the official ones
(fp32), or the share of tokens that are drawn as fp32 draws them, given the same partly masked tokens and the same noise
at every step (`_agreement.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, get_args
from unittest.mock import patch

import torch
from _agreement import agreement
from _inputs import Size, prepared, source_of
from torch import Tensor

from reference_models.config import SEMANTIC_RATE, Task
from reference_models.flops import Count, counting
from reference_models.noise import Noise, SeededNoise
from reference_models.parts import Parts
from reference_models.pipeline import Metis
from reference_models.prepare import Prepared

STAGES = ("stage 1", "S2A first", "S2A full", "vocoder")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RELEASE = "known of the release, full size, 2 cores with AMX: 0.21 TFLOP/s in fp32, 0.56 TFLOP/s under bf16 autocast"


class Observed(Metis):
    """Either mode; keeps the codes it makes, and takes the same noise while `same_noise` is set."""

    same_noise = False
    codes: list[Tensor]

    def acoustic(self, batch: Sequence[Prepared], semantic: Sequence[Tensor], noise: Noise) -> list[Tensor]:
        """As always, but remembered."""
        made = super().acoustic(batch, semantic, noise)
        self.codes += made
        return made

    def run(self, batch: Sequence[Prepared]) -> None:
        """Generate all of a batch, the official mode one by one."""
        self.codes = []
        for part in [[job] for job in batch] if self.official else [batch]:
            self.decode(part)

    def _noise(self, seeds: Sequence[int]) -> Noise:
        if self.same_noise:
            return SeededNoise.of(seeds, self.parts.stage1.cond_emb.weight.device)
        return super()._noise(seeds)


@dataclass
class Entry:
    """A mode in a precision, and what was measured of it for one batch."""

    dtype: str
    metis: Observed
    count: Count = field(default_factory=Count)
    codes: list[Tensor] = field(default_factory=list)
    times: list[dict[str, float]] = field(default_factory=list)
    memory: int = 0

    def median(self, what: str) -> float:
        """Seconds of a stage, or in all."""
        return median(t[what] for t in self.times)


def entries_of(size: Size, task: Task, dtypes: Iterable[str], device: torch.device) -> list[Entry]:
    """The official mode in fp32 first, then the default mode in each precision. One copy of equal weights."""
    official = Observed(source_of(size, torch.float32, device), task, official=True)
    made = [Entry("float32", official)]
    for name in dtypes:
        metis = Observed(source_of(size, DTYPES[name], device), task)
        if name == "float32":
            metis.parts = official.parts
        else:
            metis.parts.decoder = official.parts.decoder  # always in fp32
        made.append(Entry(name, metis))
    return made


class Watch:
    """Seconds spent in each stage since `start`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.spent, self.begun, self.cpu = device, dict.fromkeys(STAGES, 0.0), 0.0, 0.0

    def now(self) -> float:
        """When all that was asked of the device so far is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def start(self) -> None:
        """Begin anew."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.spent, self.begun, self.cpu = dict.fromkeys(STAGES, 0.0), self.now(), time.process_time()

    def stop(self) -> dict[str, float]:
        """Seconds of each stage and in all, and CPU seconds."""
        return {**self.spent, "total": self.now() - self.begun, "cpu": time.process_time() - self.cpu}

    @contextmanager
    def on(self, every: Iterable[Parts]) -> Iterator[None]:
        """Within the block, the stages of these parts are timed."""
        with ExitStack() as stack:
            for parts in {id(p): p for p in every}.values():
                for stage, model in zip(STAGES, (parts.stage1, parts.first, parts.fine), strict=False):
                    timed = self._timed(stage, model.generate)  # type: ignore[arg-type]
                    stack.enter_context(patch.object(model, "generate", timed))
            decoder = parts.decoder  # the same for all
            stack.enter_context(patch.object(decoder, "decode", self._timed(STAGES[-1], decoder.decode)))
            yield

    def _timed(self, stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **how: Any) -> Any:
            before = self.now()
            result = run(*given, **how)
            self.spent[stage] += self.now() - before
            return result

        return timed


def warm_up(entry: Entry, batch: Sequence[Prepared]) -> None:
    """Once, with equal noise for all: counts, and the codes to compare."""
    metis, parts = entry.metis, entry.metis.parts
    metis.same_noise = True
    with counting(parts.stage1, parts.first, parts.fine, parts.decoder) as entry.count:
        metis.run(batch)
    metis.same_noise, entry.codes, entry.times = False, metis.codes, []


def measure(entries: Sequence[Entry], batch: Sequence[Prepared], repeats: int, device: torch.device) -> None:
    """Fill in the entries."""
    watch = Watch(device)
    for entry in entries:
        warm_up(entry, batch)
    with watch.on(entry.metis.parts for entry in entries):
        for repeat in range(repeats):
            for entry in entries if repeat % 2 == 0 else entries[::-1]:
                watch.start()
                entry.metis.run(batch)
                entry.times.append(watch.stop())
                entry.memory = peak_memory(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: most that this process has had at once (CPU), or since the statistics were reset (CUDA)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def matmul_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large matrix product: the best of five."""
    n, watch = 8192 if device.type == "cuda" else 1536, Watch(device)
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    seconds = []
    for _ in range(6):
        watch.start()
        torch.nn.functional.linear(a, b)
        seconds.append(watch.stop()["total"])
    return float(2 * n**3 / min(seconds[1:]))


def row(entry: Entry, official: Entry, batch: Sequence[Prepared], peak: float) -> dict[str, Any]:
    """What is printed of an entry."""
    total, exact = entry.median("total"), entry.dtype == official.dtype
    if exact:
        tokens = all(torch.equal(a, b) for a, b in zip(entry.codes, official.codes, strict=True))
        verdict = "identical" if tokens else "different"
    else:
        verdict = f"{agreement(exact_default(official), entry.metis, batch):.2%}"
    return {
        "mode": "official" if entry is official else "default",
        "dtype": entry.dtype,
        "batch": len(batch),
        **{f"{stage} ms": 1000 * entry.median(stage) for stage in STAGES},
        "total ms": 1000 * total,
        "RTF": total * SEMANTIC_RATE / sum(p.frames for p in batch),
        "calls": entry.count.calls,
        "passes": entry.count.passes,
        "TFLOP": entry.count.flops / 1e12,
        "TFLOP/s": entry.count.flops / 1e12 / total,
        "of peak": entry.count.flops / total / peak,
        "GB": entry.memory / 1e9,
        "speed-up": official.median("total") / total,
        "by CPU": official.median("cpu") / entry.median("cpu"),
        "tokens": verdict,
    }


def exact_default(official: Entry) -> Observed:
    """The default mode on the official entry's fp32 weights, with the noise that `agreement` needs."""
    metis = Observed(official.metis.parts.source, official.metis.parts.variant)
    metis.parts, metis.codes = official.metis.parts, []
    return metis


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    digits = {"RTF": 3, "TFLOP": 3, "TFLOP/s": 3, "of peak": 2, "GB": 2, "speed-up": 2, "by CPU": 2}
    cells = [
        [f"{v:.{digits.get(k, 0)}f}" if isinstance(v, float) else str(v) for k, v in line.items()] for line in rows
    ]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=get_args(Size), default="tiny")
    parser.add_argument("--task", choices=get_args(Task), default="tts")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="of the default mode")
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=2.0, help="to generate")
    parser.add_argument("--prompt-seconds", type=float, default=3.0, help="of the prompt; SE has none")
    parser.add_argument("--repeats", type=int, help="timed runs of each (3; full size on a CPU: 1)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Print a table."""
    args = arguments()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    repeats = args.repeats or (1 if args.size == "full" and device.type == "cpu" else 3)
    entries = entries_of(args.size, args.task, args.dtype, device)
    peaks = {name: matmul_peak(DTYPES[name], device) for name in {e.dtype for e in entries}}
    rows = []
    for size in args.batch:
        parts = entries[0].metis.parts
        batch = [prepared(args.task, parts, args.seconds, args.prompt_seconds, seed) for seed in range(size)]
        measure(entries, batch, repeats, device)
        rows += [row(entry, entries[0], batch, peaks[entry.dtype]) for entry in entries]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{args.threads} CPU threads"
    print(f"{args.size} {args.task}, {args.prompt_seconds:g} s prompt, {args.seconds:g} s target; {where}")
    print(f"medians of {repeats}; peaks: {', '.join(f'{n} {p / 1e12:.3f} TFLOP/s' for n, p in peaks.items())}")
    print(f"{RELEASE}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
