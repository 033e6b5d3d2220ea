"""What an ablation looks like: a curve for each factor and number, and a table of arms by test sets. In pixels."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metis_bench import published
from metis_bench.published.model import CellsModel
from metis_bench.report.ablation import RULE, Ablation, Arm, tables_of
from metis_bench.report.html import copy_assets, template_environment, write_page
from metis_bench.report.plots import Tick, ticks
from metis_bench.report.tables import number
from metis_bench.suite.schema import CurveModel, PrintedModel

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400.0, 250.0, 46.0, 46.0, 34.0, 54.0
LETTER = 6.2  # width of one, of a label


@dataclass(frozen=True)
class Point:
    """An arm on a curve. y: its mean; y1, y2: its interval over talkers; dots: its trainings; trained: above it.

    lines: its label, as wide as there is room; partial: not everything of it was scored
    """

    x: float
    lines: tuple[str, ...]
    arm: str
    text: str
    y: float
    y1: float | None
    y2: float | None
    dots: tuple[float, ...]
    trained: str
    verdict: str
    partial: bool


@dataclass(frozen=True)
class PrintedPoint:
    """What others printed for the same label, on an axis of its own."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Curve:
    """One number along one factor. right, printed: the axis and points of others; note: what those are."""

    title: str
    where: str
    column: str
    direction: str
    points: tuple[Point, ...]
    left: tuple[Tick, ...]
    right: tuple[Tick, ...]
    printed: tuple[PrintedPoint, ...]
    note: str


@dataclass(frozen=True)
class Cell:
    """An arm on a test set. shade: b1..b3 better, w1..w3 worse than `against`, empty: within noise or the same.

    counts: where not everything was scored
    """

    text: str
    counts: str
    difference: str
    verdict: str
    shade: str


@dataclass(frozen=True)
class Matrix:
    """One number of every arm on every test set, and what each is compared with."""

    column: str
    direction: str
    sets: tuple[str, ...]
    against: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def curves(found: Ablation) -> list[Curve]:
    """Every curve that the suite asks for, of every number that at least two of its arms have."""
    arms = {(arm.where, arm.column, arm.arm): arm for arm in found.arms if arm.value is not None}
    places = dict.fromkeys((arm.where, arm.column) for arm in found.arms)
    drawn: list[Curve] = []
    for raw in found.shown.get("curves", ()):
        spec = CurveModel.model_validate(raw)
        for where, column in places:
            points = {label: arms.get((where, column, arm)) for label, arm in spec.arms.items()}
            known = {label: arm for label, arm in points.items() if arm is not None}
            if len(known) > 1:
                drawn.append(_curve(spec, known))
    return drawn


def _curve(spec: CurveModel, arms: Mapping[str, Arm]) -> Curve:
    first = next(iter(arms.values()))
    ends = [v for arm in arms.values() for v in (arm.value, *arm.each, *(arm.interval or ())) if v is not None]
    left, height = _axis(ends)
    printed = [] if spec.printed is None else _printed(spec.printed, first.column, list(spec.arms))
    right, other = _axis([value for _, value, _ in printed]) if printed else ((), height)
    place = {label: _across(i, len(spec.arms)) for i, label in enumerate(spec.arms)}
    return Curve(
        title=spec.title,
        where=first.where,
        column=first.column,
        direction=first.direction,
        points=tuple(_point(place[label], _lines(label, len(spec.arms)), arm, height) for label, arm in arms.items()),
        left=left,
        right=right,
        printed=tuple(PrintedPoint(place[label], other(value), text) for label, value, text in printed),
        note="" if spec.printed is None or not printed else f"{spec.printed.system}, {spec.printed.dataset}",
    )


def _point(x: float, lines: tuple[str, ...], arm: Arm, height: Callable[[float], float]) -> Point:
    assert arm.value is not None
    low, high = (None, None) if arm.interval is None else map(height, arm.interval)
    text = f"{arm.value:.4g}" + ("" if arm.deviation is None else f" ± {arm.deviation:.2g}")
    text += f", {arm.counts} scored" if arm.counts else ""
    trained = "" if arm.trained is None else f"{arm.trained / 1e6:.3g} M"
    dots = tuple(height(v) for v in arm.each)
    return Point(x, lines, arm.arm, text, height(arm.value), low, high, dots, trained, arm.verdict, bool(arm.counts))


def _across(index: int, count: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * (index + 0.5) / count, 2)


def _lines(label: str, count: int) -> tuple[str, ...]:
    """A label in three lines at most, so that those of `count` points do not run into each other."""
    return tuple(
        textwrap.wrap(label, max(4, int((WIDTH - LEFT - RIGHT) / count / LETTER)), max_lines=3, placeholder=" …")
    )


def _axis(values: Sequence[float]) -> tuple[tuple[Tick, ...], Callable[[float], float]]:
    """Round values around these, and where a value is drawn. Tick.x is a height here."""
    marks = ticks(min(values), max(values))
    floor, scale = HEIGHT - BOTTOM, (HEIGHT - TOP - BOTTOM) / (marks[-1] - marks[0])

    def height(value: float) -> float:
        return round(floor - (value - marks[0]) * scale, 2)

    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    return tuple(Tick(height(value), number(value, decimals)) for value in marks), height


def _printed(spec: PrintedModel, column: str, labels: Sequence[str]) -> list[tuple[str, float, str]]:
    """(label, value, as printed) of what the source says of this column; values it calls wrong are left out."""
    metric = spec.columns.get(column)
    if metric is None:
        return []
    source = published.load(published.find(spec.source))
    out: list[tuple[str, float, str]] = []
    for label in labels:
        if label in spec.rows:
            row: dict[str, str] = {"dataset": spec.dataset, "system": spec.system, "metric": metric}
            cells = CellsModel.model_validate({**row, **spec.rows[label]})
            values = [v for v in source.values if cells.names(v) and "invalid" not in source.effects[v].values()]
            out += [(label, float(v.printed), v.printed) for v in values[:1]]
    return out


def matrices(found: Ablation) -> list[Matrix]:
    """The suite's arms by test sets, for every number that several sets have."""
    wanted = list(found.shown.get("matrix", ()))
    arms = {(arm.column, arm.where, arm.arm): arm for arm in found.arms if arm.arm in wanted}
    out: list[Matrix] = []
    for column in dict.fromkeys(column for column, _, _ in arms):
        sets = tuple(dict.fromkeys(where for c, where, _ in arms if c == column))
        largest = {where: _largest([a for (c, w, _), a in arms.items() if (c, w) == (column, where)]) for where in sets}
        if len(sets) > 1:
            rows = tuple((arm, tuple(_cell(arms.get((column, w, arm)), largest[w]) for w in sets)) for arm in wanted)
            direction = next(arm.direction for (c, _, _), arm in arms.items() if c == column)
            out.append(Matrix(column, direction, sets, tuple(found.reference[w] for w in sets), rows))
    return out


def _largest(arms: Sequence[Arm]) -> float:
    return max((abs(arm.effect.value) for arm in arms if arm.effect is not None), default=0.0)


def _cell(arm: Arm | None, largest: float) -> Cell | None:
    """Shaded by how large a clear difference is beside the largest one on the same set."""
    if arm is None or arm.value is None:
        return None
    text = f"{arm.value:.4g}"
    if arm.effect is None or not largest:
        return Cell(text, arm.counts, "", arm.verdict, "")
    size = min(3, 1 + int(3 * abs(arm.effect.value) / largest))
    shade = f"{arm.verdict[0]}{size}" if arm.effect.clear else ""
    return Cell(text, arm.counts, f"{arm.effect.value:+.3g}", arm.verdict, shade)


def write(found: Ablation, folder: Path) -> Path:
    """NAME.html, with the style sheet and the script beside it."""
    path = folder / f"{found.name}.html"
    geometry = {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "floor": HEIGHT - BOTTOM}
    shown = {"curves": curves(found), "matrices": matrices(found), "tables": tables_of(found), "rule": RULE}
    folder.mkdir(parents=True, exist_ok=True)
    write_page(path, template_environment().get_template("ablation.html.j2").render(found=found, **shown, **geometry))
    copy_assets(folder)
    return path
