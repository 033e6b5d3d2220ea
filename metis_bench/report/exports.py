"""results.md, and the tables of `rows` as CSV or parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from metis_bench.published.attach import Attached
from metis_bench.report.data import Facts, OracleCheck, RunData
from metis_bench.report.published import (
    HEADING,
    NOWHERE,
    PublishedBlock,
    PublishedCellView,
    build_block,
    general_notes,
    left_out,
)
from metis_bench.report.rows import Table, cell_table, published_table, score_table
from metis_bench.report.summary import Summary, date, plural
from metis_bench.report.tables import NO_VALUE, UNRANKED, Board, CellView, RowView, heading, items_compared, quantity

_MARKDOWN = str.maketrans(
    {char: f"\\{char}" for char in "\\`*_[]|~#"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\n": " ", "\r": " "}
)


def write_csv(data: RunData, folder: Path) -> None:
    """results.csv and scores.csv: numbers unrounded, missing ones empty."""
    for table in (cell_table(data), score_table(data)):
        write_table(table, folder)


def write_published(data: RunData, folder: Path) -> None:
    """published.csv (one row a printed value) and published.json, where the suite asks for published results.

    Files of their own: what reads results.csv never meets a number that was not measured here.
    """
    table = published_table(data)
    if table is None or data.results.published is None:
        return
    write_table(table, folder)
    text = json.dumps(asdict(data.results.published), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "published.json").write_text(text, encoding="utf-8", newline="\n")


def write_parquet(table: Table, path: Path) -> None:
    """Typed columns, zstd; missing values are null."""
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in table.fields.items()])
    columns = {name: [row[i] for row in table.rows] for i, name in enumerate(table.fields)}
    parquet.write_table(pyarrow.Table.from_pydict(columns, schema=schema), path, compression="zstd")


def write_table(table: Table, folder: Path) -> None:
    """As CSV, under its name."""
    with (folder / table.file).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.fields)
        writer.writerows(table.rows)


def write_markdown(data: RunData, boards: Sequence[Board], summary: Summary, path: Path) -> None:
    """results.md: everything of index.html that fits into GitHub markdown."""
    suite, results = data.results.suite, data.results
    lines = [f"# {escape(suite.title or suite.name)}", ""]
    lines += [escape(suite.description), ""] if suite.description else []
    lines += [f"{escape(summary.task)}, profile {escape(suite.profile or 'default')}, {escape(date(data))}.", ""]
    lines += [f"{escape(summary.sentence)}", ""]
    lines += [f"> **Warning:** {escape(text)}" + "\n" for text in results.warnings]
    for board in boards:
        lines += board_lines(board, board.set.id)
    lines += _published_source(data)
    lines += ["## Oracle checks", "", *_checks(results.oracle_checks, data), ""]
    write_lines([*lines, *signature_lines(results.signatures)], path)


def write_lines(lines: Sequence[str], path: Path) -> None:
    """As a text file."""
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8", newline="\n")


def signature_lines(signatures: Mapping[str, Facts]) -> list[str]:
    """What exactly the numbers are."""
    lines = ["## Signatures", ""]
    for name, signature in sorted(signatures.items()):
        text = json.dumps(signature, sort_keys=True, ensure_ascii=False, allow_nan=False)
        lines.append(f"- {escape(name)}: {escape(text)}")
    return [*lines, ""]


def board_lines(board: Board, title: str) -> list[str]:
    """A leaderboard with what was published for its set."""
    partial = f" of {board.set.official_count} official ones" if board.set.partial else ""
    lines = [f"## {escape(title)}", "", *([f"{plural(board.set.items, 'item')}{partial}.", ""] if board.rows else [])]
    lines += [f"> **Warning:** {escape(text)}" + "\n" for text in board.warnings]
    head = ["Rank", "System", "Kind", *(escape(heading(column)) for column in board.columns)]
    by = f"Ranked by {board.by.label}" if board.by else "Systems"
    for title, rows in ((by, board.ranked), (UNRANKED, board.unranked)):
        if rows:
            lines += [f"**{escape(title)}**", "", *markdown_table(head, [_row(row) for row in rows]), ""]
    if any(cell.ci for row in board.rows for cell in row.cells):
        lines += [f"Brackets: {board.interval}.", ""]
    lines += [board.tied, ""] if board.tied else []
    lines += [f"- {escape(label)} does not apply: {escape(reason)}" for label, reason in board.not_applicable]
    lines += _published(HEADING, board.published) if board.published else []
    return [*lines, ""]


def _published(title: str, block: PublishedBlock) -> list[str]:
    """A block of published rows, its footnotes in square brackets."""
    lines = ["", f"**{escape(title)}**", "", *(f"Other items. {escape(reason)}.\n" for reason in block.why)]
    head = ["Table", "System", "Variant", "Flags", *(escape(f"{heading(c)}, {c.beside}") for c in block.columns)]
    rows = [
        [*map(escape, (table.name, row.system, row.about, row.flags)), *(_printed(cell) for cell in row.cells)]
        for table in block.tables
        for row in table.rows
    ]
    lines += [*markdown_table(head, rows), ""]
    lines += [f"- {escape(f'[{note.number}]')} {note.id}, {escape(note.text)}" for note in block.footnotes]
    return [*lines, "", "; ".join(f"{flag}: {escape(meaning)}" for flag, meaning in block.legend) + ".", ""]


def _printed(cell: PublishedCellView | None) -> str:
    if cell is None:
        return NO_VALUE
    numbers = "".join(escape(f"[{number}]") for number in cell.numbers)
    told = f"{cell.flag}; {escape(cell.verdict.told)}" if cell.comparable else cell.flag
    return " ".join(filter(None, (cell.text, numbers, f"({told})")))


def _published_source(data: RunData) -> list[str]:
    """What was published on no stated set, the notes on the whole source, and what is left out."""
    published, block = data.results.published, build_block(data, None)
    if published is None:
        return []
    lines = source_lines(published)
    lines += [f"- Left out, {escape(text)}" for text in left_out(published)]
    return [*lines, *(_published(NOWHERE, block) if block else []), ""]


def source_lines(published: Attached) -> list[str]:
    """Where the values are from, and the remarks on all of them."""
    lines = [f"## Published results: {escape(published.name)}", "", escape(f"{published.title}. {published.note}"), ""]
    return [*lines, *(f"- Of the whole: {escape(text)}" for text in general_notes(published))]


def _row(row: RowView) -> list[str]:
    return [row.ranks or NO_VALUE, escape(row.system.name), row.system.kind, *(_cell(cell) for cell in row.cells)]


def _cell(cell: CellView) -> str:
    text = f"**{cell.text}**" if cell.best else cell.text
    parts = [text, escape(cell.ci)] if cell.ci else [text]
    if cell.counts:
        parts.append(f"({cell.counts}" + (f"; penalised {cell.penalised})" if cell.penalised else ")"))
    return " ".join(parts)


def _checks(checks: Sequence[OracleCheck], data: RunData) -> list[str]:
    if not checks:
        return ["This suite declares none."]
    columns = {column.id: column for column in data.results.columns}
    sizes = {test_set.id: test_set.items for test_set in data.results.sets}
    rows = []
    for check in checks:
        verdict = {True: "passed", False: "**VIOLATED**", None: "not checked"}[check.ok]
        values = [quantity(value, columns[check.column]) for value in (check.better_value, check.worse_value)]
        compared = items_compared(check, sizes[check.set])
        names = [escape(check.set) + (f" ({compared})" if compared else ""), escape(columns[check.column].label)]
        sides = [f"{escape(name)} ({value})" for name, value in zip((check.better, check.worse), values, strict=True)]
        rows.append([verdict, *names, *sides, escape(check.reason or "")])
    return markdown_table(["Result", "Set", "Column", "Must be better", "Than", "Reason"], rows)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the cells are escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def escape(text: str) -> str:
    """`text` as literal markdown in one line, safe inside a table cell."""
    return text.translate(_MARKDOWN)
