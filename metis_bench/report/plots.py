"""Geometry of the dot-and-interval plots that the template draws as inline SVG. Lengths in SVG units, about a pixel."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

from metis_bench.report.data import Column
from metis_bench.report.tables import Board, CellView, RowView, number

WIDTH, LEFT, RIGHT = 360.0, 122.0, 50.0  # whole plot, room for names, room for values
ROW, TOP, GAP, AXIS = 22.0, 6.0, 9.0, 24.0  # row height, space above, between the blocks, below for ticks
NAME_CELLS = 18  # characters that fit into LEFT


@dataclass(frozen=True)
class Mark:
    """One system's line: interval from x1 to x2 (None: no interval), dot at x (None: no value)."""

    name: str
    short: str
    text: str
    y: float
    ranked: bool
    complete: bool
    best: bool
    x: float | None
    x1: float | None
    x2: float | None


@dataclass(frozen=True)
class Tick:
    """An axis label and its grid line."""

    x: float
    text: str


@dataclass(frozen=True)
class Plot:
    """One column's plot; `separator` is the y between ranked systems and oracles."""

    column: Column
    width: float
    height: float
    floor: float
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    separator: float | None


def build_plots(board: Board) -> tuple[Plot, ...]:
    """A plot a column that has a value, headline columns first; systems in leaderboard order."""
    return tuple(p for p in (_plot(board, index) for index in range(len(board.columns))) if p is not None)


def _plot(board: Board, index: int) -> Plot | None:
    cells = [row.cells[index] for row in board.rows]
    ends = [end for cell in cells for end in (cell.sort, *(cell.interval or ())) if end is not None]
    if not ends:
        return None
    axis = ticks(min(ends), max(ends), _least(board.columns[index]))
    low, scale = axis[0], (WIDTH - LEFT - RIGHT) / (axis[-1] - axis[0])
    both = bool(board.ranked and board.unranked)
    marks = []
    for line, (row, cell) in enumerate(zip(board.rows, cells, strict=True)):
        below = both and not row.system.ranked
        marks.append(_mark(row, cell, TOP + ROW * (line + 0.5) + (GAP if below else 0.0), low, scale))
    floor = TOP + ROW * len(marks) + (GAP if both else 0.0)
    decimals = max(0, -math.floor(math.log10(axis[1] - axis[0]) + 1e-9))
    return Plot(
        column=board.columns[index],
        width=WIDTH,
        height=floor + AXIS,
        floor=floor,
        marks=tuple(marks),
        ticks=tuple(Tick(round(LEFT + (value - low) * scale, 2), number(value, decimals)) for value in axis),
        separator=TOP + ROW * len(board.ranked) + GAP / 2 if both else None,
    )


def _least(column: Column) -> float:
    """The natural minimum of a column: its worst value where that is the lowest and above zero (a MOS starts at 1)."""
    return column.worst if column.direction == "higher" and column.worst is not None and column.worst > 0 else 0.0


def _mark(row: RowView, cell: CellView, y: float, low: float, scale: float) -> Mark:
    def place(value: float | None) -> float | None:
        return None if value is None else round(LEFT + (value - low) * scale, 2)

    first, last = cell.interval or (None, None)
    return Mark(
        name=row.system.name,
        short=shorten(row.system.name, NAME_CELLS),
        text=cell.text,
        y=y,
        ranked=row.system.ranked,
        complete=cell.status in ("complete", "not_applicable"),
        best=cell.best,
        x=place(cell.sort),
        x1=place(first),
        x2=place(last),
    )


def shorten(text: str, cells: int) -> str:
    """`text` cut with an ellipsis to `cells` columns; East Asian wide characters count twice."""
    widths = [2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text]
    if sum(widths) <= cells:
        return text
    total, end = 1, 0  # one for the ellipsis
    while total + widths[end] <= cells:
        total, end = total + widths[end], end + 1
    return text[:end] + "…"


def ticks(low: float, high: float, least: float = 0.0) -> list[float]:
    """Three to seven round values around [low, high]; the axis starts at `least` when the data comes near it anyway."""
    if least <= low <= least + 0.25 * (high - least):
        low = least
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]
