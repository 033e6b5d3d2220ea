"""Published rows as view objects: a block of its own a test set, with the flag and the footnotes of every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from metis_bench.published.attach import FLAGS, Attached, Note, PublishedCell, PublishedMetric, PublishedRow
from metis_bench.published.verdict import Measured, Verdict, matching, verdict
from metis_bench.report.data import Column, RunData

HEADING = "Published, not measured here, never ranked"
NOWHERE = "Published, on a set that is not stated"
BESIDE_NOTHING = "as printed"


@dataclass(frozen=True)
class PublishedColumn:
    """A printed metric; `beside`: the measured column that it may be held against."""

    label: str
    direction: str
    unit: str
    beside: str


@dataclass(frozen=True)
class PublishedCellView:
    """One printed value. flag: the worst, in words; numbers: its footnotes; valid: False is shown struck out."""

    text: str
    valid: bool
    comparable: bool
    flag: str
    numbers: tuple[int, ...]
    title: str
    verdict: Verdict


@dataclass(frozen=True)
class PublishedRowView:
    """One printed row; about: variant and training data; flags: of all its cells, beside the one that each shows.

    A cell is None where the table has no such value.
    """

    system: str
    about: str
    flags: str
    cells: tuple[PublishedCellView | None, ...]


@dataclass(frozen=True)
class PublishedTable:
    """The rows of one table of the source."""

    name: str
    cite: str
    rows: tuple[PublishedRowView, ...]


@dataclass(frozen=True)
class Footnote:
    """A numbered remark, in one text."""

    number: int
    id: str
    text: str


@dataclass(frozen=True)
class PublishedBlock:
    """All that was published for a test set. why: what makes its items others than ours; legend: flags and meanings."""

    columns: tuple[PublishedColumn, ...]
    tables: tuple[PublishedTable, ...]
    footnotes: tuple[Footnote, ...]
    why: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]


def build_block(data: RunData, set_id: str | None) -> PublishedBlock | None:
    """The block of a set (None: of what was published on no stated set), or None where nothing was."""
    published = data.results.published
    rows = [row for row in published.rows if row.set == set_id] if published else []
    if published is None or not rows:
        return None
    cells = [cell for row in rows for cell in row.cells]
    names = [name for name in published.metrics if any(cell.metric == name for cell in cells)]
    ids = tuple(dict.fromkeys(note for cell in cells for note in cell.notes))
    numbers = {key: number for number, key in enumerate(ids, start=1)}
    flags = {flag for cell in cells for flag in cell.flags}
    present = {c.column for c in data.results.cells if c.set == set_id and c.status != "not_applicable"}
    columns = {c.id: c for c in data.results.columns if c.id in present}
    return PublishedBlock(
        columns=tuple(_column(name, published.metrics[name], cells, columns) for name in names),
        tables=tuple(
            PublishedTable(table, cite, tuple(_row(data, row, names, numbers) for row in group))
            for (table, cite), group in groupby(rows, key=lambda row: (row.table, row.cite))
        ),
        footnotes=tuple(Footnote(numbers[key], key, note_text(published.notes[key])) for key in ids),
        why=published.why.get(set_id or "", ()),
        legend=tuple((flag, meaning) for flag, meaning in FLAGS.items() if flag in flags),
    )


def note_text(note: Note) -> str:
    """A remark in one line: what, what to do about it, and where it is seen."""
    return f"{note.kind}: {note.what}. {note.handling[:1].upper()}{note.handling[1:]}. ({note.evidence})"


def general_notes(published: Attached) -> tuple[str, ...]:
    """Remarks on the whole source."""
    return tuple(note_text(published.notes[key]) for key in published.general)


def left_out(published: Attached) -> tuple[str, ...]:
    """What of the source stands nowhere in the report, a line a reason."""
    reasons: dict[str, list[str]] = {}
    for entry in published.left_out:
        reasons.setdefault(entry.reason, []).append(f"{entry.dataset} ({entry.values} values)")
    return tuple(f"{reason}: {', '.join(sets)}" for reason, sets in reasons.items())


def _column(
    name: str, metric: PublishedMetric, cells: Sequence[PublishedCell], columns: dict[str, Column]
) -> PublishedColumn:
    beside = [columns[cell.column].label for cell in cells if cell.metric == name and cell.column in columns]
    return PublishedColumn(name, metric.direction, metric.unit, f"beside {beside[0]}" if beside else BESIDE_NOTHING)


def _row(data: RunData, row: PublishedRow, names: Sequence[str], numbers: dict[str, int]) -> PublishedRowView:
    found = {cell.metric: _cell(cell, row, numbers, verdict_on(data, row, cell)) for cell in row.cells}
    about = " · ".join(filter(None, (row.variant, row.training_data)))
    hidden = [flag for cell in row.cells for flag in cell.flags[1:]]
    flags = [flag for flag in FLAGS if flag in hidden and all(flag in cell.flags for cell in row.cells)]
    return PublishedRowView(row.system, about, ", ".join(flags), tuple(found.get(name) for name in names))


def verdict_on(data: RunData, row: PublishedRow, printed: PublishedCell) -> Verdict:
    """Against the first of our systems that is the row, the same checkpoint before others."""
    source = data.results.published.name if data.results.published else ""
    told: list[Verdict] = []
    for system in data.results.systems if printed.comparable and row.set is not None else ():
        options = (data.run.resolved.get("systems") or {}).get(system.name) or {}
        known = matching(source, row, system.class_name, options)
        if known is not None:
            cell = data.cells.get((row.set or "", system.name, printed.column or ""))
            ours = None if cell is None else Measured(cell.value, cell.ci, cell.n, cell.N)
            told.append(verdict(printed, system.name, known, ours))
    return next(
        (v for v in told if v.word != "not comparable"), told[0] if told else verdict(printed, None, None, None)
    )


def _cell(cell: PublishedCell, row: PublishedRow, numbers: dict[str, int], told: Verdict) -> PublishedCellView:
    valid = cell.value is not None
    parts = [f"{row.table}, {row.cite}", *(f"{flag}: {FLAGS[flag]}" for flag in cell.flags)]
    parts += [f"printed as {cell.printed}"] if cell.printed != cell.text else []
    parts += [f"verdict: {told.word}, {told.why}"]
    return PublishedCellView(
        text=cell.text,
        valid=valid,
        comparable=cell.comparable,
        flag=cell.flags[0] if valid else f"invalid: {cell.flags[0]}",
        numbers=tuple(sorted(numbers[key] for key in cell.notes)),
        title=" · ".join(parts),
        verdict=told,
    )


def merged_published(several: Sequence[Attached | None], set_id: str) -> Attached | None:
    """What several runs attached to a set: every value as the run sees it that it compares with most."""
    found = [attached for attached in several if attached is not None]
    if not found:
        return None
    rows: dict[tuple[str, ...], PublishedRow] = {}
    for row in (row for attached in found for row in attached.rows if row.set == set_id):
        key = (row.table, row.dataset, row.system, row.variant, row.training_data)
        known = rows.get(key)
        if known is None:
            rows[key] = row
        else:
            better = (
                b if b.comparable and not a.comparable else a for a, b in zip(known.cells, row.cells, strict=True)
            )
            rows[key] = replace(known, cells=tuple(better))
    notes = {key: note for attached in found for key, note in attached.notes.items()}
    why = {key: reasons for attached in found for key, reasons in attached.why.items()}
    return replace(found[0], rows=tuple(rows.values()), notes=notes, why=why)
