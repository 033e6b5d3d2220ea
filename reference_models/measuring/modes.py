"""The official mode (the release, pass for pass, in fp32) and the default mode, on the same jobs, in one process.

Both modes get the same prepared jobs (random tokens and features; preparing is the same code for both and is not
timed). They are warmed up with equal noise, which counts passes and arithmetic and compares tokens; then each is timed
with its own noise, in alternating order. The official mode takes the jobs of a batch one by one, as the release does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypedDict

import torch
from torch import Tensor

from reference_models.checkpoints import check_device
from reference_models.config import SEMANTIC_RATE, Task
from reference_models.flops import Count, counting
from reference_models.measuring.agreement import Trace, agreement, lesson
from reference_models.measuring.clock import STAGES, Clock, limit
from reference_models.measuring.inputs import DTYPES, held, prepared
from reference_models.memory import give_back, keep_freed
from reference_models.noise import Noise, SeededNoise
from reference_models.pipeline import Metis
from reference_models.prepare import Prepared
from reference_models.random_weights import RandomWeights
from reference_models.sizes import Size

SHORT_S = 0.1
EXACT = "float32"  # what the official mode computes in, and tokens are compared in one by one


@dataclass(frozen=True)
class Setting:
    """What is measured. compiled: the default mode of each precision once more, compiled; seconds: to generate.

    device: `auto` is the GPU where there is one; repeats: timed runs of each mode, of which the medians are told
    """

    size: Size = "mini"
    task: Task = "tts"
    dtypes: tuple[str, ...] = (EXACT,)
    compiled: bool = False
    seconds: float = 2.0
    prompt_seconds: float = 3.0
    repeats: int = 3
    device: str = "auto"

    def place(self) -> torch.device:
        """Where it is measured. Raises MetisError where there is no such device."""
        name = ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device
        check_device(name)
        return torch.device(name)


class Row(TypedDict):
    """What was measured of one mode for one batch. Seconds are medians.

    stages:          seconds by stage
    cpu_seconds:     of all threads, which other jobs on the machine disturb less
    rtf:             seconds of computing a second of generated speech
    calls, passes:   of a transformer; of one sequence (a guided step takes two: two calls in the official mode, one in
                     the default mode)
    tflop:           of linear layers and attention; tflop_per_second: over the whole time
    of_limit:        that over a large matrix product's, in that precision on this machine
    memory_gb:       weights of this mode, and the most that a run took on top; None where the kernel does not tell
    speed_up:        over the official mode, and by CPU seconds; None where that could not be measured
    tokens:          whether all acoustic codes are the official ones; None where the precision is another
    alike:           where they are not: the share of tokens drawn as fp32 draws them (`agreement`); None if not asked
    failed:          why there is nothing else
    """

    mode: str
    dtype: str
    compiled: bool
    batch: int
    failed: str | None
    stages: dict[str, float]
    seconds: float | None
    cpu_seconds: float | None
    rtf: float | None
    calls: int
    passes: int
    tflop: float
    tflop_per_second: float | None
    of_limit: float | None
    memory_gb: float | None
    speed_up: float | None
    speed_up_cpu: float | None
    tokens: bool | None
    alike: float | None


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
    """A mode in a precision, and what was measured of it for one batch. failed: why it is not measured any more."""

    dtype: str
    metis: Observed
    compiled: bool = False
    count: Count = field(default_factory=Count)
    codes: list[Tensor] = field(default_factory=list)
    times: list[dict[str, float]] = field(default_factory=list)
    grown: float | None = None
    failed: str | None = None

    def median(self, what: str) -> float:
        """Seconds of a stage, or in all."""
        return median(t[what] for t in self.times)

    def memory_gb(self) -> float | None:
        """Weights, and what a run takes on top of them."""
        parts = self.metis.parts
        weights = held(parts.stage1, parts.first, parts.fine, parts.decoder)
        return None if self.grown is None else (weights + self.grown) / 1e9


class Bench:
    """Models of a setting, built once. limits: FLOP/s of a large matrix product, by precision."""

    def __init__(self, setting: Setting) -> None:
        """Raises MetisError where there is no such device."""
        keep_freed()  # as the harness' workers do
        self.setting, self.device = setting, setting.place()
        names = dict.fromkeys((EXACT, *setting.dtypes))
        self.limits = {name: limit(DTYPES[name], self.device) for name in names}
        self.entries = list(self._entries())

    def _source(self, dtype: str) -> RandomWeights:
        return RandomWeights(self.setting.size, dtype=DTYPES[dtype], device=self.device)

    def _entries(self) -> Iterator[Entry]:
        """The official mode first, then the default mode in each precision. Equal weights are one copy.

        A compiled mode has a copy of its own: compiling changes a model.
        """
        task = self.setting.task
        official = Observed(self._source(EXACT), task, official=True)
        yield Entry(EXACT, official)
        for name in self.setting.dtypes:
            plain = Observed(self._source(name), task)
            if name == EXACT:
                plain.parts = official.parts
            else:
                plain.parts.decoder = official.parts.decoder  # always in fp32
            yield Entry(name, plain)
            if self.setting.compiled:
                quick = Observed(self._source(name), task, compiled=True)
                quick.parts.decoder = official.parts.decoder
                yield Entry(name, quick, compiled=True)

    def rows(self, size: int, *, compare: bool = True) -> list[Row]:
        """Measure every mode on a batch of so many jobs. compare: tell the share of equal tokens of other precisions.

        A mode that cannot be run (memory, no compiler) is a row that says why.
        """
        how, official = self.setting, self.entries[0]
        parts = official.metis.parts
        batch = [prepared(how.task, parts, how.seconds, how.prompt_seconds, seed) for seed in range(size)]
        for entry in self.entries:
            self._warm_up(entry, batch)
        self._time(batch)
        theirs = self._lesson(batch) if compare and self._other_than_exact() else None
        return [self._row(entry, batch, theirs) for entry in self.entries]

    def _warm_up(self, entry: Entry, batch: Sequence[Prepared]) -> None:
        """Once, with equal noise for all: counts, memory, and the codes to compare.

        Before that: compiling, and, with a short job, what a process allocates once and for all.
        """
        metis, parts = entry.metis, entry.metis.parts
        entry.times, entry.codes, entry.count, entry.failed = [], [], Count(), None
        metis.same_noise, clock = True, Clock(self.device)
        try:
            metis.run(batch if entry.compiled else [prepared(self.setting.task, parts, SHORT_S, SHORT_S, seed=0)])
            give_back()
            if entry.compiled:  # hooks would be compiled, too: it computes what its precision does without
                clock.start()
                metis.run(batch)
                entry.count = next(e for e in self.entries if e.dtype == entry.dtype and not e.metis.official).count
            else:
                clock.start()
                with counting(parts.stage1, parts.first, parts.fine, parts.decoder) as entry.count:
                    metis.run(batch)
            entry.codes, entry.grown = metis.codes, clock.grown()
        except RuntimeError as error:  # of torch: out of memory, no kernel for this precision, no compiler
            entry.failed = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        finally:
            metis.same_noise = False

    def _time(self, batch: Sequence[Prepared]) -> None:
        """In alternating order: what else the machine does befalls all modes alike."""
        able, clock = [entry for entry in self.entries if entry.failed is None], Clock(self.device)
        with clock.on(entry.metis.parts for entry in able):
            for repeat in range(self.setting.repeats):
                for entry in able if repeat % 2 == 0 else able[::-1]:
                    clock.start()
                    entry.metis.run(batch)
                    entry.times.append(clock.stop())

    def _other_than_exact(self) -> bool:
        return any(entry.failed is None and (entry.dtype != EXACT or entry.compiled) for entry in self.entries)

    def _lesson(self, batch: Sequence[Prepared]) -> Trace | None:
        """What the default mode draws on the official fp32 weights, with the noise that `agreement` needs.

        None where fp32 does not fit.
        """
        metis = Observed(self._source(EXACT), self.setting.task)
        metis.parts, metis.codes = self.entries[0].metis.parts, []
        try:
            return lesson(metis, batch)
        except torch.OutOfMemoryError:
            return None

    def _row(self, entry: Entry, batch: Sequence[Prepared], theirs: Trace | None) -> Row:
        official = self.entries[0]
        row = Row(
            mode="official" if entry is official else "default",
            dtype=entry.dtype,
            compiled=entry.compiled,
            batch=len(batch),
            failed=entry.failed,
            stages={},
            seconds=None,
            cpu_seconds=None,
            rtf=None,
            calls=entry.count.calls,
            passes=entry.count.passes,
            tflop=entry.count.flops / 1e12,
            tflop_per_second=None,
            of_limit=None,
            memory_gb=None,
            speed_up=None,
            speed_up_cpu=None,
            tokens=None,
            alike=None,
        )
        if entry.failed is not None:
            return row
        total = entry.median("total")
        row["stages"] = {stage: entry.median(stage) for stage in STAGES}
        row["seconds"], row["cpu_seconds"] = total, entry.median("cpu")
        row["rtf"] = total * SEMANTIC_RATE / sum(p.frames for p in batch)
        row["tflop_per_second"] = row["tflop"] / total
        row["of_limit"] = entry.count.flops / total / self.limits[entry.dtype]
        row["memory_gb"] = entry.memory_gb()
        if official.failed is None:
            row["speed_up"] = official.median("total") / total
            row["speed_up_cpu"] = official.median("cpu") / entry.median("cpu")
            if entry.dtype == EXACT:
                row["tokens"] = all(torch.equal(a, b) for a, b in zip(entry.codes, official.codes, strict=True))
        if theirs is not None and (entry.dtype != EXACT or entry.compiled):
            row["alike"] = agreement(theirs, entry.metis, batch)
        return row
