"""Other readings of a leaderboard as view objects, markdown and JSON: every text is decided here, once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from metis_bench.report.exports import escape, markdown_table
from metis_bench.report.summary import plural
from metis_bench.report.tables import NO_VALUE, number
from metis_bench.sensitivity import Order, Panel, Swap

LEGEND = (
    "The same outputs, read otherwise; nothing was generated or heard again. Beside a system: what the reading "
    "gives. A fraction: the system lacks scores and has no rank. τ: 1 is the headline's order, −1 its reverse. "
    "Pairs that turn round are tested in both readings (paired, signs of clusters flipped, Holm over the column)."
)
HEAD = ("Reading", "Order it gives", "τ", "What turns round")


@dataclass(frozen=True)
class PlaceView:
    """A system in an order. sign: what divides it from the one before."""

    sign: str
    system: str
    value: str
    counts: str


@dataclass(frozen=True)
class SwapView:
    """A pair that turns round: `after` now stands before `before`."""

    after: str
    before: str
    verdict: str


@dataclass(frozen=True)
class RowView:
    """One reading. headline: the one that the others are held against; refused: why there is no order."""

    label: str
    headline: bool
    places: tuple[PlaceView, ...]
    tau: str
    swaps: tuple[SwapView, ...]
    refused: str


@dataclass(frozen=True)
class BoardView:
    """All panels of a test set. summary: the answer in a line."""

    set: str
    summary: str
    legend: str
    panels: tuple[tuple[RowView, ...], ...]


def board_views(found: Iterable[Panel]) -> dict[str, BoardView]:
    """By test set, in their order."""
    by_set: dict[str, list[Panel]] = {}
    for panel in found:
        by_set.setdefault(panel.set, []).append(panel)
    return {
        name: BoardView(name, _summary(panels), LEGEND, tuple(_rows(panel) for panel in panels))
        for name, panels in by_set.items()
    }


def sensitivity_markdown(found: Iterable[Panel]) -> str:
    """A table a test set."""
    lines: list[str] = []
    for view in board_views(found).values():
        rows = [_markdown(row) for panel in view.panels for row in panel]
        lines += [f"## {escape(view.set)}", "", f"{escape(view.summary)}.", "", *markdown_table(HEAD, rows), ""]
    return "\n".join([*lines, LEGEND]) + "\n" if lines else "There is no other reading of what this run measured.\n"


def sensitivity_json(found: Sequence[Panel]) -> list[dict[str, object]]:
    """All of it, each pair with its verdict."""
    return [
        {
            **asdict(panel),
            "readings": [
                {**asdict(r), "swaps": [{**asdict(s), "verdict": s.verdict(panel.level)} for s in r.swaps]}
                for r in panel.readings
            ],
        }
        for panel in found
    ]


def _summary(panels: Sequence[Panel]) -> str:
    read = sum(r.refused is None for panel in panels for r in panel.readings)
    changed = sum(panel.changed for panel in panels)
    sure = sum(any(_sure(s, panel.level) for s in r.swaps) for panel in panels for r in panel.readings)
    if not changed:
        return f"Read otherwise: the same order in {plural(read, 'other reading')}"
    told = f"both orders significant in {sure or 'none'}"
    return f"Read otherwise: another order in {changed} of {plural(read, 'other reading')} ({told})"


def _sure(swap: Swap, level: float) -> bool:
    """Both orders are more than noise: the protocol decides who wins."""
    return None not in (swap.p_headline, swap.p_reading) and swap.verdict(level).startswith("both")


def _rows(panel: Panel) -> tuple[RowView, ...]:
    return tuple(_row(panel, order) for order in (panel.headline, *panel.readings))


def _row(panel: Panel, order: Order) -> RowView:
    places = [
        PlaceView(
            "" if i == 0 else " = " if place.place == order.places[i - 1].place else " › ",
            place.system,
            number(place.value, panel.decimals),
            place.counts,
        )
        for i, place in enumerate(order.places)
    ]
    return RowView(
        label=order.label,
        headline=order is panel.headline,
        places=tuple(places),
        tau=NO_VALUE if order.tau is None else number(order.tau, 2),
        swaps=tuple(SwapView(s.second, s.first, s.verdict(panel.level)) for s in order.swaps),
        refused=order.refused or "",
    )


def _markdown(row: RowView) -> list[str]:
    label = f"**{escape(row.label)}** (headline)" if row.headline else escape(row.label)
    if row.refused:
        return [label, f"not possible: {escape(row.refused)}", NO_VALUE, ""]
    order = "".join(f"{p.sign}{escape(p.system)} ({p.value}{f'; {p.counts}' if p.counts else ''})" for p in row.places)
    swaps = "; ".join(f"{escape(s.after)} before {escape(s.before)}: {s.verdict}" for s in row.swaps)
    return [label, order, row.tau, swaps or ("" if row.headline else "nothing")]
