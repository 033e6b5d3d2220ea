"""Leaderboards as plain view objects: every text a table shows is decided here, once for HTML and markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from metis_bench.report.data import Cell, Column, OracleCheck, RunData, System, TestSet
from metis_bench.report.published import PublishedBlock, PublishedColumn, build_block
from metis_bench.report.summary import plural

NO_VALUE = "–"
NOT_APPLICABLE = "n/a"
UNRANKED = "Bounds and oracles, never ranked"
TIED = (
    "Ranks like 1-2: differences that are not significant are ties (paired tests of the column, Holm). Bold: not"
    " significantly worse than the best, in columns where any system is."
)
ARROWS = {"higher": "↑", "lower": "↓"}


@dataclass(frozen=True)
class CellView:
    """One leaderboard cell: its texts and the number to sort and plot by (None sorts last)."""

    column: Column
    status: str
    text: str
    ci: str = ""
    counts: str = ""  # n/N, only where n < N
    penalised: str = ""
    extra: str = ""
    title: str = ""
    sort: float | None = None
    interval: tuple[float, float] | None = None
    rank: int | None = None
    rank_to: int | None = None
    rank_reason: str = ""
    best: bool = False  # shown in bold

    @property
    def ranks(self) -> str:
        """'3', '1-2' where differences are not significant, or nothing."""
        return rank_range(self.rank, self.rank_to)


@dataclass(frozen=True)
class RowView:
    """One system on one test set."""

    system: System
    cells: tuple[CellView, ...]
    rank: int | None = None
    rank_to: int | None = None
    rank_reason: str = ""

    @property
    def ranks(self) -> str:
        """As that of a cell."""
        return rank_range(self.rank, self.rank_to)


@dataclass(frozen=True)
class Board:
    """One test set's leaderboard. `by` is the column the rows are ordered and ranked by (None: no columns)."""

    set: TestSet
    columns: tuple[Column, ...]
    by: Column | None
    ranked: tuple[RowView, ...]
    unranked: tuple[RowView, ...]
    not_applicable: tuple[tuple[str, str], ...]  # label of a column without any cell here, why
    signatures: tuple[tuple[str, str], ...]  # id, labels of the columns that carry it
    warnings: tuple[str, ...]
    interval: str  # what its intervals are: '95 % interval'
    published: PublishedBlock | None = None  # what others printed for this set: no rank, not among the rows

    @property
    def headline(self) -> tuple[Column, ...]:
        """The columns shown at first."""
        return tuple(c for c in self.columns if c.headline) or self.columns

    @property
    def tied(self) -> str:
        """What its ranks are, where tests made them; else they are by value."""
        return TIED if any(cell.rank_to is not None for row in self.ranked for cell in row.cells) else ""

    @property
    def leaders(self) -> tuple[RowView, ...]:
        """Who is not proved worse than the best in the column that it is ranked by, where anybody is; of one: that."""
        first = (
            self.ranked if len(self.ranked) == 1 else (row for row in self.ranked if row.cells and row.cells[0].best)
        )
        return tuple(row for row in first if row.rank is not None)

    @property
    def rows(self) -> tuple[RowView, ...]:
        """Ranked systems, then bounds and oracles."""
        return self.ranked + self.unranked


def places(ranks: Iterable[int | None]) -> list[int]:
    """A column's distinct ranks, best first; none where all share one, who are the best of nothing."""
    found = sorted({rank for rank in ranks if rank is not None})
    return found if len(found) > 1 else []


def rank_range(first: int | None, last: int | None) -> str:
    """'3', or '1-2'."""
    return "" if first is None else f"{first}-{last}" if last is not None and last > first else f"{first}"


def number(value: float, decimals: int) -> str:
    """Fixed decimals, never '-0.00'."""
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def minus(text: str) -> str:
    """A number's hyphen as the minus sign, which is as wide as a plus."""
    return text.replace("-", "−")


def quantity(value: float | None, column: Column) -> str:
    """A value with its unit, as shown in running text."""
    return NO_VALUE if value is None else number(value, column.decimals) + (f" {column.unit}" if column.unit else "")


def heading(column: Column | PublishedColumn) -> str:
    """Label, unit and direction of a column in one line."""
    return f"{column.label}{f' ({column.unit})' if column.unit else ''} {ARROWS[column.direction]}"


def build_boards(data: RunData) -> tuple[Board, ...]:
    """A leaderboard a test set, in the order of the results."""
    return tuple(_board(data, test_set) for test_set in data.results.sets)


def _board(data: RunData, test_set: TestSet) -> Board:
    cells = {(system, column): cell for (s, system, column), cell in data.cells.items() if s == test_set.id}
    present = [c for c in data.results.columns if any(column == c.id for _, column in cells)]
    used = [c for c in present if any(x.status != "not_applicable" for (_, k), x in cells.items() if k == c.id)]
    columns = tuple(sorted(used, key=lambda c: not c.headline))  # stable: headline columns first
    by = columns[0] if columns else None
    systems = [s for s in data.results.systems if any(name == s.name for name, _ in cells)]
    interval = data.results.stats.interval
    best = {c.id: places(cell.rank for (_, k), cell in cells.items() if k == c.id)[:1] for c in columns}
    rows = [_row(system, columns, cells, by, interval, best) for system in systems]
    rows.sort(key=_order)
    signatures = {c: _signatures(cells, c) for c in columns}
    mixed = [c.label for c in columns if len(signatures[c]) > 1]
    ids = dict.fromkeys(name for names in signatures.values() for name in names)
    return Board(
        set=test_set,
        columns=columns,
        by=by,
        ranked=tuple(r for r in rows if r.system.ranked),
        unranked=tuple(r for r in rows if not r.system.ranked),
        not_applicable=tuple((c.label, _reasons_of(cells, c)) for c in present if c not in used),
        signatures=tuple((name, ", ".join(c.label for c in columns if name in signatures[c])) for name in ids),
        warnings=(
            *test_set.warnings,
            *(f"{label}: its cells carry different signatures and do not compare" for label in mixed),
        ),
        interval=interval,
        published=build_block(data, test_set.id),
    )


def _order(row: RowView) -> tuple[float, float, int]:
    """Those with a rank first, by the value in the ranking column (best first), then those without a value."""
    cell, ranked = row.cells[0] if row.cells else None, math.inf if row.rank is None else 0
    if cell is None or cell.sort is None:
        return (ranked, math.inf, 1)
    return (ranked, -cell.sort if cell.column.direction == "higher" else cell.sort, 0)


def items_compared(check: OracleCheck, items: int) -> str:
    """'6 items' where a check compares over fewer than the `items` of its set, else nothing."""
    return plural(check.items, "item") if check.items is not None and check.items < items else ""


def _row(
    system: System,
    columns: Sequence[Column],
    cells: Mapping[tuple[str, str], Cell],
    by: Column | None,
    interval: str,
    best: Mapping[str, Sequence[int]],
) -> RowView:
    found = (_cell(cells.get((system.name, column.id)), column, system, interval) for column in columns)
    views = tuple(replace(view, best=view.rank in best[view.column.id]) for view in found)
    ranking = next((view for view in views if view.column is by), None)
    if ranking is None:
        return RowView(system, views, rank_reason="no metric applies")
    return RowView(system, views, ranking.rank, ranking.rank_to, ranking.rank_reason)


def _cell(cell: Cell | None, column: Column, system: System, interval: str) -> CellView:
    if cell is None:
        return CellView(column, "absent", NO_VALUE, title="not computed", rank_reason="not computed")
    reasons = "; ".join(_reason(text, count) for text, count in cell.reasons.items())
    if cell.status == "not_applicable":
        return CellView(
            column, cell.status, NOT_APPLICABLE, title=reasons or "not applicable", rank_reason="not applicable"
        )
    incomplete = cell.n < cell.N
    return CellView(
        column=column,
        status=cell.status,
        text=NO_VALUE if cell.value is None else number(cell.value, column.decimals),
        ci=_interval(cell, column),
        counts=f"{cell.n}/{cell.N}" if incomplete else "",
        penalised=number(cell.penalised, column.decimals) if incomplete and cell.penalised is not None else "",
        extra=" · ".join(f"{k} {_extra(v, column)}" for k, v in cell.extra.items()),
        title=_title(cell, column, reasons, interval),
        sort=cell.value,
        interval=cell.ci,
        rank=cell.rank if system.ranked else None,
        rank_to=cell.rank_to if system.ranked else None,
        rank_reason=_rank_reason(cell, system),
    )


def _rank_reason(cell: Cell, system: System) -> str:
    if not system.ranked:
        return "bounds and oracles are never ranked"
    if cell.rank is not None:
        return ""
    if cell.n < cell.N:
        return f"incomplete: {cell.n} of {cell.N}"
    return "no rank: the values of this column do not compare"


def _interval(cell: Cell, column: Column) -> str:
    return "" if cell.ci is None else f"[{', '.join(number(end, column.decimals) for end in cell.ci)}]"


def _extra(value: object, column: Column) -> str:
    return number(value, column.decimals) if isinstance(value, float) else str(value)


def _reason(text: str, count: int) -> str:
    return f"{text} (×{count})" if count > 1 else text


def _reasons_of(cells: Mapping[tuple[str, str], Cell], column: Column) -> str:
    texts = dict.fromkeys(text for (_, name), cell in cells.items() if name == column.id for text in cell.reasons)
    return "; ".join(texts) or "not applicable"


def _signatures(cells: Mapping[tuple[str, str], Cell], column: Column) -> tuple[str, ...]:
    found = (cell.signature for (_, name), cell in cells.items() if name == column.id)
    return tuple(sorted({signature for signature in found if signature is not None}))


def _title(cell: Cell, column: Column, reasons: str, interval: str) -> str:
    parts = [f"n = {cell.n}/{cell.N}"]
    if cell.clusters is not None:
        parts.append(f"{cell.clusters} clusters")
    if cell.ci is not None:
        parts.append(f"{interval} {_interval(cell, column)}")
    if cell.penalised is not None and cell.n < cell.N:
        parts.append(f"missing counted as worst: {number(cell.penalised, column.decimals)}")
    parts += [reasons] if reasons else []
    parts += [f"signature {cell.signature}"] if cell.signature else []
    return " · ".join(parts)
