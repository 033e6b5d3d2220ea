"""Leaderboards as LaTeX tables (booktabs), in the style of the papers: bounds first, then the systems by rank.

A mark is a claim, and goes by the ranks. Bold: the best rank, which several share that no paired test tells apart.
Underlined: the next, after a single best. What lacks scores carries n/N and no mark. Every text is escaped; letters
that pdfLaTeX lacks need XeLaTeX.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from metis_bench.report.data import Column
from metis_bench.report.links import slugs
from metis_bench.report.published import HEADING, PublishedCellView, PublishedColumn
from metis_bench.report.summary import plural
from metis_bench.report.tables import Board, CellView, RowView, places

ARROWS = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
NO_VALUE = "--"
PREAMBLE = "% Needs \\usepackage{booktabs}. Written by metis-bench; numbers are rounded, results.csv has all digits."
_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"}
_SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedblright{}"}
_SPECIAL |= {"[": "{[}", "]": "{]}"}  # at the beginning of a row they would be an argument of \\
_LIGATURE = re.compile(r"(?<=-)-|(?<=`)`|(?<=')'")  # two of them would be printed as another character


def latex(boards: Sequence[Board], columns: Sequence[str] = ()) -> str:
    """A table a test set, and one of what was published for it, if it was asked for. columns: default, the headline."""
    names = slugs(board.set.id for board in boards)
    lines = [PREAMBLE, ""]
    for board in boards:
        shown = [c for c in board.columns if c.id in columns] if columns else list(board.headline)
        if shown:
            lines += _float(_caption(board), f"tab:{names[board.set.id]}", _measured(board, shown))
        if board.published:
            title = f"{escape(board.set.id)}: {escape(HEADING)}."
            lines += _float(title, f"tab:{names[board.set.id]}-published", _published(board))
    return "\n".join(lines).rstrip() + "\n"


def escape(text: str) -> str:
    """`text` as literal LaTeX in one line; control and direction characters are left out."""
    kept = "".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    literal = "".join(_SPECIAL.get(c, c) for c in " ".join(kept.split()))
    return _LIGATURE.sub(r"{}\g<0>", literal)


def _float(caption: str, label: str, tabular: Sequence[str]) -> list[str]:
    head = [r"\begin{table}[t]", r"\centering", f"\\caption{{{caption}}}", f"\\label{{{label}}}"]
    return [*head, *tabular, r"\end{table}", ""]


def _caption(board: Board) -> str:
    partial = f" of {board.set.official_count} official ones" if board.set.partial else ""
    return (
        f"{escape(board.set.id)}, {plural(board.set.items, 'item')}{partial}. Bold: the best rank, shared where paired"
        " tests find no difference; underlined: the next, after a single best. A fraction: scored of planned outputs."
    )


def _tabular(head: Sequence[str], bodies: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Bodies are divided by rules; empty ones are left out."""
    lines = [f"\\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}", r"\toprule", _line(head)]
    for body in bodies:
        lines += [r"\midrule", *(_line(row) for row in body)] if body else []
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _measured(board: Board, columns: Sequence[Column]) -> list[str]:
    marks = {column.id: _marks(board, column) for column in columns}
    head = ["System", *(_heading(column) for column in columns)]
    return _tabular(head, [[_row(row, columns, marks) for row in rows] for rows in (board.unranked, board.ranked)])


def _heading(column: Column | PublishedColumn) -> str:
    unit = f" ({escape(column.unit)})" if column.unit else ""
    return f"{escape(column.label)}{unit} {ARROWS[column.direction]}"


def _row(row: RowView, columns: Sequence[Column], marks: Mapping[str, Mapping[str, str]]) -> list[str]:
    cells = {cell.column.id: cell for cell in row.cells}
    return [escape(row.system.name), *(_cell(cells[c.id], marks[c.id].get(row.system.name)) for c in columns)]


def _cell(cell: CellView, mark: str | None) -> str:
    if cell.sort is None:
        return NO_VALUE
    text = cell.text.replace("-", "$-$")
    marked = f"\\{mark}{{{text}}}" if mark else text
    return marked + (f"\\textsuperscript{{{cell.counts}}}" if cell.counts else "")


def _marks(board: Board, column: Column) -> dict[str, str]:
    """Command by system. Who shares the only rank is the best of nothing; after two best there is no second."""
    found = [(cell, row.system.name) for row in board.ranked for cell in row.cells if cell.column == column]
    marks = {name: "textbf" for cell, name in found if cell.best}
    if len(marks) != 1:
        return marks
    second = places(cell.rank for cell, _ in found)[1]
    return marks | {name: "underline" for cell, name in found if cell.rank == second}


def _published(board: Board) -> list[str]:
    block = board.published
    if block is None:
        return []
    head = ["System", *(_heading(column) for column in block.columns)]
    bodies = [
        [[escape(" · ".join(filter(None, (row.system, row.about)))), *map(_printed, row.cells)] for row in table.rows]
        for table in block.tables
    ]
    return _tabular(head, bodies)


def _printed(cell: PublishedCellView | None) -> str:
    """As printed; what is known to be wrong is no number here."""
    return escape(cell.text) if cell is not None and cell.valid else NO_VALUE
