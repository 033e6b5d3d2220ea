"""The pages: index.html and one a set of items, from the templates in `reports/`. All that they show is escaped."""

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
from metis_bench.report.item_data import write_items
from metis_bench.report.links import Links
from metis_bench.report.plots import LEFT, RIGHT, build_plots
from metis_bench.report.sensitivity import BoardView
from metis_bench.report.summary import Summary, command, date, group_failures, plural
from metis_bench.report.tables import Board
from metis_bench.resources import data_dir

ASSETS = ("style/report.css", "player/report.js", "player/items.js")
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'"  # nothing that is not in the folder; data: is the empty icon


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
        template_environment()
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
    write_page(folder / "index.html", page)


def write_item_page(
    data: RunData,
    board: Board,
    links: Links,
    audio: AudioFolder,
    folder: Path,
    *,
    title: str,
    heading: str = "",
    back: str = "index.html",
    pictures: Mapping[str, str] | None = None,
) -> None:
    """items-<set>.html, its data beside it, and the audio that it plays.

    heading: in the place of the set's name; back: the page that it belongs to
    """
    last = write_items(data, board, links, audio, folder, pictures)
    seeds = {(row.set, row.system): row.seed for row in reversed(data.rows)}
    page = (
        template_environment()
        .get_template("items.html.j2")
        .render(
            board=board,
            title=title,
            heading=heading or board.set.id,
            back=back,
            slug=links.sets[board.set.id],
            last=last,
            seeds=any(row.seed != seeds[row.set, row.system] for row in data.rows if row.set == board.set.id),
            pictures=bool(pictures),
        )
    )
    write_page(folder / links.page(board.set.id), page)


def template_environment() -> Environment:
    """What all pages of reports share: filters, texts, and the policy that keeps them to their folder."""
    made = environment()
    made.filters["pretty"] = _pretty
    made.filters["minus"] = tables.minus
    made.filters["dash"] = _dash
    made.globals.update(
        policy=POLICY,
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


def _dash(text: str) -> str:
    """A range's hyphen as the dash that ranges have."""
    return text.replace("-", "–")


def write_page(path: Path, text: str) -> None:
    """A page as UTF-8 with one newline at its end."""
    path.write_text(text + "\n", encoding="utf-8", newline="\n")
