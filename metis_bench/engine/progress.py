"""How far a run is: counted in items, weighed by seconds of audio, so that what is left can be told from what was done.

Work is ordered from long to short: a count alone would promise far too much time at the start.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work gets on."""

    def __call__(self, what: str, done: int, total: int, share: float | None = None, /) -> None:
        """share: of the work, 0 to 1, where that is not `done / total`."""


def quiet(what: str, done: int, total: int, share: float | None = None, /) -> None:
    """The progress callback that shows nothing."""
    del what, done, total, share


class Counted:
    """Tells a callback of each step that is done."""

    def __init__(self, progress: Progress, what: str, total: int, weight: float) -> None:
        """weight: of all steps together, in seconds of audio."""
        self._progress, self._what, self._total, self._weight = progress, what, total, weight
        self._done, self._moved = 0, 0.0
        progress(what, 0, total, 0.0)

    def one(self, weight: float) -> None:
        """A step is done."""
        self._done += 1
        self._moved += weight
        share = self._moved / self._weight if self._weight > 0 else self._done / self._total
        self._progress(self._what, self._done, self._total, min(1.0, share))
