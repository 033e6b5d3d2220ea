"""JSON on disk for the length of a run: what there is of every row must not be in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Spool:
    """Values one after another in a file without a name: nothing is left of it, whatever ends the run."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the spool
        self._end = 0

    def add(self, value: Any) -> int:
        """Returns the place of the value. NaN is refused (ValueError)."""
        line = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        self._file.seek(self._end)
        self._file.write(line)
        place, self._end = self._end, self._end + len(line)
        return place

    def at(self, place: int) -> Any:
        """The value at a place that `add` returned."""
        self._file.seek(place)
        return json.loads(self._file.readline())

    def __iter__(self) -> Iterator[Any]:
        """All values, in the order in which they were added."""
        place = 0
        while place < self._end:
            self._file.seek(place)
            line = self._file.readline()
            place += len(line)
            yield json.loads(line)
