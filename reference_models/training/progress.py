"""Progress bars on stderr, with the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
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
def falling(title: str, steps: int, shown: bool = True) -> Iterator[Callable[[int, int, float], None]]:
    """For the steps of a training and its loss. shown: of several processes one shows it."""
    if not shown:
        yield lambda _step, _steps, _loss: None
        return
    with _bar(title, "loss {task.fields[loss]:.4f}") as bar:
        task = bar.add_task("", total=steps, loss=float("nan"))
        yield lambda step, _steps, loss: bar.update(task, completed=step, loss=loss)
