"""Progress bars on stderr, with the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def _bar(title: str, *more: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = [TextColumn(text) for text in more]
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), *texts, TimeRemainingColumn())
    return Progress(*columns, console=Console(file=sys.stderr))


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """For `done of total`."""
    with _bar(title) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def falling(title: str, steps: int, shown: bool = True) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """For the steps of a training: its loss, and how fast it is. shown: of several processes one shows it."""
    if not shown:
        yield lambda _step, _steps, _line: None
        return
    with _bar(title, "{task.fields[line]}") as bar:
        task = bar.add_task("", total=steps, line="")
        yield lambda step, _steps, line: bar.update(task, completed=step, line=described(line))


def described(line: Mapping[str, float]) -> str:
    """A line of the log on the screen: `throughput.Throughput.line` says what its speeds mean."""
    name = "loss" if "loss" in line else next(iter(line))  # a GAN has one for each phase
    parts = [f"loss {line[name]:.4f}"]
    if "tokens_per_second" in line:
        parts.append(f"{line['tokens_per_second']:,.0f} tokens/s")
    if "tflop_per_second" in line:
        parts.append(f"{line['tflop_per_second']:.3g} TFLOP/s")
    if "mfu" in line:
        parts.append(f"MFU {line['mfu']:.1%}")
    return ", ".join(parts)
