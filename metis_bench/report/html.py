"""The pages: index.html and 20 items a page, from the templates in `reports/`. Everything shown is escaped by Jinja."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment

from metis_bench.report import published, tables
from metis_bench.report.audio_files import AudioFolder
from metis_bench.report.data import RunData
from metis_bench.report.environment import environment
from metis_bench.report.items import build_item, rows_by_item
from metis_bench.report.links import PAGE_SIZE, Links
from metis_bench.report.plots import LEFT, RIGHT, build_plots
from metis_bench.report.sensitivity import BoardView
from metis_bench.report.summary import Summary, command, date, group_failures, plural
from metis_bench.report.tables import Board
from metis_bench.resources import data_dir

ASSETS = ("style/report.css", "player/report.js")
NEAR = 2  # page numbers shown on each side of the current one


def copy_assets(folder: Path) -> None:
    """The style sheet and the script, beside the pages."""
    for asset in ASSETS:
        source = data_dir("reports") / asset
        shutil.copyfile(source, folder / source.name)


def write_index(
    data: RunData,
    boards: Sequence[Board],
    links: Links,
    summary: Summary,
    folder: Path,
    sensitivity: Mapping[str, BoardView],
) -> None:
    """index.html: leaderboards, plots, other readings by test set, oracle checks, failures, provenance."""
    results = data.results
    page = (
        _environment()
        .get_template("index.html.j2")
        .render(
            suite=results.suite,
            summary=summary,
            date=date(data),
            results=results,
            boards=[(board, build_plots(board)) for board in boards],
            sensitivity=sensitivity,
            nowhere_block=published.build_block(data, None),
            columns={column.id: column for column in results.columns},
            set_items={test_set.id: test_set.items for test_set in results.sets},
            failures=group_failures(data, links),
            licences=sorted({(s.corpus or s.id, s.licence or "licence not stated") for s in results.sets}),
            run=data.run,
            command=command(data),
            links=links,
            plot_left=LEFT,
            plot_right=RIGHT,
        )
    )
    _write(folder / "index.html", page)


def write_item_pages(data: RunData, boards: Sequence[Board], links: Links, audio: AudioFolder, folder: Path) -> None:
    """items-<set>-<page>.html for every set; places the audio they play."""
    template = _environment().get_template("items.html.j2")
    rows = rows_by_item(data)
    for board in boards:
        items = [item for (set_id, _), item in data.items.items() if set_id == board.set.id]
        last = max(1, -(-len(items) // PAGE_SIZE))
        for page in range(1, last + 1):
            shown = items[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
            planned = [rows.get((item.set, item.item), {}) for item in shown]
            text = template.render(
                suite=data.results.suite,
                board=board,
                items=[build_item(data, board, i, r, links, audio) for i, r in zip(shown, planned, strict=True)],
                seeds=any(len(outputs) > 1 for by_system in planned for outputs in by_system.values()),
                page=page,
                last=last,
                first_item=(page - 1) * PAGE_SIZE + 1,
                numbers=page_numbers(page, last),
                links=links,
            )
            _write(folder / links.page(board.set.id, page), text)


def page_numbers(page: int, last: int) -> list[int | None]:
    """The page numbers a pager shows: the ends, those around `page`, and None for each gap."""
    shown = [n for n in range(1, last + 1) if n in (1, last) or abs(n - page) <= NEAR]
    numbers: list[int | None] = []
    for before, number in zip([0, *shown], shown, strict=False):
        numbers += [None, number] if number > before + 1 else [number]
    return numbers


def _environment() -> Environment:
    made = environment()
    made.filters["pretty"] = _pretty
    made.filters["clock"] = _clock
    made.filters["minus"] = _minus
    made.globals.update(
        plural=plural,
        quantity=tables.quantity,
        items_compared=tables.items_compared,
        arrows=tables.ARROWS,
        unranked=tables.UNRANKED,
        heading=published.HEADING,
        nowhere=published.NOWHERE,
        general_notes=published.general_notes,
        left_out=published.left_out,
    )
    return made


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _clock(seconds: float | None) -> str:
    """Seconds as m:ss; never 0:00 for audio that is there."""
    whole = max(1, round(seconds)) if seconds else 0
    return f"{whole // 60}:{whole % 60:02d}"


def _minus(text: str) -> str:
    """A number's hyphen as the minus sign, which is as wide as a plus."""
    return text.replace("-", "−")


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
