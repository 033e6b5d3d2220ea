"""What a site shows as tables: results.md to read, results.csv and published.csv to compute with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from metis_bench.report.exports import board_lines, escape, signature_lines, source_lines, write_lines, write_table
from metis_bench.report.rows import Table, cell_table, published_table, stacked
from metis_bench.report.site_boards import Shown
from metis_bench.report.summary import TASKS

MARKDOWN = "results.md"
LABELS = ("task", "leaderboard")  # of every row: a test set may have several leaderboards


def write_tables(title: str, boards: Sequence[Shown], folder: Path) -> tuple[str, ...]:
    """The names of the files; what there is no row of has none."""
    write_lines(_markdown(title, boards), folder / MARKDOWN)
    tables = tuple(_tables(boards))
    for table in tables:
        write_table(table, folder)
    return (MARKDOWN, *(table.file for table in tables))


def _markdown(title: str, boards: Sequence[Shown]) -> list[str]:
    """All leaderboards, what was published beside them, and the signatures of the numbers."""
    lines = [f"# {escape(title)}", ""]
    for one in boards:
        task = TASKS.get(one.leaderboard.task, one.leaderboard.task)
        lines += board_lines(one.board, f"{task}: {one.leaderboard.id}")
    found = [one.data.results.published for one in boards]
    for source in {published.name: published for published in found if published is not None}.values():
        lines += source_lines(source)
    signatures = {name: facts for one in boards for name, facts in one.data.results.signatures.items()}
    return [*lines, *(signature_lines(signatures) if signatures else [])]


def _tables(boards: Sequence[Shown]) -> Iterator[Table]:
    """All cells with their ranks, and all printed values with their verdicts."""
    for make in (cell_table, published_table):
        found = [((one.leaderboard.task, one.leaderboard.id), make(one.data)) for one in boards]
        filled = [(label, table) for label, table in found if table is not None and table.rows]
        if filled:
            yield stacked(LABELS, filled)
