"""From a finished run folder to one static folder: HTML with players, markdown, CSV (and what others published)."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metis_bench.readings import Heard

__all__ = ["render"]

TEMPORARY = ".report."  # what a render's own folders in RUN begin with
ABANDONED_S = 3600.0  # a temporary folder untouched for this long was left by a render that was killed


def render(run: Path, audio: Callable[[str], Path], heard: Heard | None = None) -> Path:
    """Write RUN/report/ and return its index.html; an older report is replaced only once the new one is complete.

    `audio(sha256)` is the path of a generated output's stored wav; when it raises or the file is gone, the report says
    so in place of the player. `heard(signature, sha256)`: kept transcripts, for the panels
    of other readings. Raises MetisBenchError when the run folder is not that of a finished run.
    """
    from metis_bench.readings import nothing_kept
    from metis_bench.report.reading import no_collection

    with no_collection():  # of a run and its pages nothing is garbage until the end
        return _render(run, audio, heard or nothing_kept)


def _render(run: Path, audio: Callable[[str], Path], heard: Heard) -> Path:
    from metis_bench.files import replace_tree
    from metis_bench.report import exports, html
    from metis_bench.report.audio_files import AudioFolder
    from metis_bench.report.data import load_run
    from metis_bench.report.links import build_links
    from metis_bench.report.ranks import rank
    from metis_bench.report.sensitivity import board_views
    from metis_bench.report.summary import summarise
    from metis_bench.report.tables import build_boards
    from metis_bench.sensitivity import panels

    data = rank(load_run(run)).data
    boards, links, summary = build_boards(data), build_links(data), summarise(data)
    _sweep(run)
    fresh, target = _temporary(run), run / "report"
    try:
        fresh.mkdir()
        html.copy_assets(fresh)
        folder = AudioFolder(fresh / "audio", audio)
        for board in boards:
            html.write_item_page(data, board, links, folder, fresh, title=data.results.suite.title or run.name)
        html.write_index(data, boards, links, summary, fresh, board_views(panels(data, heard)))
        exports.write_csv(data, fresh)
        exports.write_published(data, fresh)
        exports.write_markdown(data, boards, summary, fresh / "results.md")
        replace_tree(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)  # not there any more unless something failed
    return target / "index.html"


def _temporary(run: Path) -> Path:
    """A folder name in `run` that no other render uses, in whatever process."""
    return run / f"{TEMPORARY}{os.getpid()}.{secrets.token_hex(4)}"


def _sweep(run: Path) -> None:
    """Remove what killed renders left. By age, not by process id: another machine may be rendering this run."""
    for left in run.glob(f"{TEMPORARY}*"):
        try:
            age = time.time() - left.stat().st_mtime
        except FileNotFoundError:  # another render was faster
            continue
        if age > ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
