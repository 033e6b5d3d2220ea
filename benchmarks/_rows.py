"""What every benchmark writes with `--rows FILE`: its rows of the one table that `all.py` prints."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Aim:
    """What was set out for: the ratio, or our own number, at least or at most so much."""

    of: Literal["ratio", "ours"]
    bound: Literal[">=", "<="]
    value: float

    def __str__(self) -> str:
        return f"{'ratio ' if self.of == 'ratio' else ''}{self.bound} {self.value:g}"


@dataclass(frozen=True)
class Row:
    """One measured thing. All numbers have the same unit and are of the same run.

    other: the official mode, the plain loop, or what else ours is compared with
    limit: what the machine's arithmetic could give; higher: more is better; why: there is no number, for this reason
    """

    what: str
    unit: str = ""
    ours: float | None = None
    other: float | None = None
    limit: float | None = None
    higher: bool = False
    aim: Aim | None = None
    why: str | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as good as the other; None where one of them was not measured."""
        if not self.ours or not self.other:
            return None
        return self.ours / self.other if self.higher else self.other / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim or a number."""
        value = None if self.aim is None else self.ratio if self.aim.of == "ratio" else self.ours
        if self.aim is None or value is None:
            return None
        return value >= self.aim.value if self.aim.bound == ">=" else value <= self.aim.value


def whole_number(text: str) -> int:
    """For argparse: a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1 on")
    return int(text)


def length_s(text: str) -> float:
    """For argparse: a finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no length")
    return value


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--rows FILE`."""
    parser.add_argument("--rows", type=Path, metavar="FILE", help="also write rows for all.py's table there")


def write(file: Path | None, rows: Iterable[Row]) -> None:
    """To the file that `--rows` names, if it was given."""
    if file is not None:
        file.write_text(json.dumps([asdict(row) for row in rows], indent=1, allow_nan=False), encoding="utf-8")


def read(file: Path) -> list[Row]:
    """What a benchmark wrote."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return [Row(**{**row, "aim": None if row["aim"] is None else Aim(**row["aim"])}) for row in found]
