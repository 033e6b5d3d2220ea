"""From a finished run folder to one static folder: HTML with players, results.md, results.csv and scores.csv."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["render"]


def render(run: Path, audio: Callable[[str], Path]) -> Path:
    """Write RUN/report/ and return its index.html; an older report is replaced only once the new one is complete.

    `audio(sha256)` is the path of a generated output's stored wav; when it raises or the file is gone, the report says
    so in place of the player. Raises MetisBenchError when the run folder is not that of a finished run.
    """
    from metis_bench.report import exports, html
    from metis_bench.report.audio_files import AudioFolder
    from metis_bench.report.data import load_run
    from metis_bench.report.links import build_links
    from metis_bench.report.summary import summarise
    from metis_bench.report.tables import build_boards

    data = load_run(run)
    boards, links, summary = build_boards(data), build_links(data), summarise(data)
    fresh, target = run / ".report.new", run / "report"
    if fresh.exists():  # left by a render that was killed
        shutil.rmtree(fresh)
    fresh.mkdir()
    html.copy_assets(fresh)
    html.write_item_pages(data, boards, links, AudioFolder(fresh / "audio", audio), fresh)
    html.write_index(data, boards, links, summary, fresh)
    exports.write_csv(data, fresh)
    exports.write_markdown(data, boards, summary, fresh / "results.md")
    _swap(fresh, target)
    return target / "index.html"


def _swap(fresh: Path, target: Path) -> None:
    """Rename `fresh` to `target`; what was there goes away last."""
    old = target.with_name(".report.old")
    if old.exists():
        shutil.rmtree(old)
    if target.exists():
        target.rename(old)
    fresh.rename(target)
    if old.exists():
        shutil.rmtree(old)
