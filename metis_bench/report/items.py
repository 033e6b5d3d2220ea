"""Item pages as view objects: inputs, then every system's output with its scores, alignment or failure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from metis_bench.report.audio_files import AudioFolder, Player
from metis_bench.report.data import Cell, Column, Generation, Item, PlanRow, RunData, Score, System
from metis_bench.report.links import Links
from metis_bench.report.tables import NO_VALUE, NOT_APPLICABLE, Board, number

Op: TypeAlias = Literal["equal", "substitute", "insert", "delete"]
OPS = frozenset(get_args(Op))
INPUTS = ("prompt", "source", "reference")  # in the order they are shown
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True)
class Piece:
    """A stretch of a word alignment: what the text says, what was heard."""

    op: Op
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Alignment:
    """Heard words against the text; `summary` gives the counts."""

    pieces: tuple[Piece, ...]
    summary: str


@dataclass(frozen=True)
class ScoreView:
    """One score of one output."""

    column: Column
    text: str
    title: str = ""
    missing: bool = False


@dataclass(frozen=True)
class OutputView:
    """One planned row of an item: a player, or the reason there is none."""

    seed: int
    player: Player | None
    failure: str | None
    scores: tuple[ScoreView, ...]
    alignment: Alignment | None
    notes: tuple[str, ...]
    sha256: str | None = None


@dataclass(frozen=True)
class SystemView:
    """A system's outputs for one item, one a seed."""

    system: System
    outputs: tuple[OutputView, ...]


@dataclass(frozen=True)
class ItemView:
    """Everything of one item. `lang` is empty when the corpus' language is no valid tag."""

    item: Item
    anchor: str
    lang: str
    inputs: tuple[tuple[str, Player], ...]
    systems: tuple[SystemView, ...]


def rows_by_item(data: RunData) -> dict[tuple[str, str], dict[str, list[PlanRow]]]:
    """Planned rows by (set, item), then by system."""
    found: dict[tuple[str, str], dict[str, list[PlanRow]]] = {}
    for row in data.rows:
        found.setdefault((row.set, row.item), {}).setdefault(row.system, []).append(row)
    return found


def build_item(
    data: RunData, board: Board, item: Item, rows: Mapping[str, Sequence[PlanRow]], links: Links, folder: AudioFolder
) -> ItemView:
    """One item's view; its audio is placed into `folder`. Systems come in leaderboard order."""
    clips = ((name, item.audio.get(name)) for name in INPUTS)
    inputs = [(name, folder.input(clip)) for name, clip in clips if clip is not None]
    if item.video is not None:  # never copied: corpora of faces forbid it
        inputs.insert(0, ("video", Player(None, item.video.error or f"{Path(item.video.path).name} (not shown)")))
    order = {row.system.name: place for place, row in enumerate(board.rows)}
    systems = [s for s in data.results.systems if s.name in rows]
    systems.sort(key=lambda s: order.get(s.name, len(order)))
    return ItemView(
        item=item,
        anchor=links.anchor(item.set, item.item),
        lang=item.language if LANGUAGE_TAG.fullmatch(item.language) else "",
        inputs=tuple(inputs),
        systems=tuple(
            SystemView(s, tuple(_output(data, board.columns, row, folder) for row in rows[s.name])) for s in systems
        ),
    )


def _output(data: RunData, columns: Sequence[Column], row: PlanRow, folder: AudioFolder) -> OutputView:
    generation = data.generations.get(row.key)
    scores = data.scores.get(row.key, {})
    failure = _failure(generation)
    player = folder.output(generation.audio) if generation and generation.audio and failure is None else None
    details = (score.detail for score in scores.values() if score.detail.get("alignment"))
    return OutputView(
        seed=row.seed,
        player=player,
        failure=failure,
        scores=tuple(
            _score(scores.get(column.id), column, data.cells.get((row.set, row.system, column.id)))
            for column in columns
        ),
        alignment=next((_alignment(detail) for detail in details), None),
        notes=_notes(scores, columns) if failure is None else (),
        sha256=generation.audio.sha256 if generation and generation.audio else None,
    )


def _failure(generation: Generation | None) -> str | None:
    if generation is None:
        return "not generated"
    if generation.status == "failed" or generation.audio is None:
        return generation.reason or "failed without a reason"
    return None


def _score(score: Score | None, column: Column, cell: Cell | None) -> ScoreView:
    if score is None and cell is not None and cell.status == "not_applicable":
        return ScoreView(column, NOT_APPLICABLE, "; ".join(cell.reasons) or "not applicable", missing=True)
    if score is None:
        return ScoreView(column, NO_VALUE, "no score", missing=True)
    if score.status != "ok" or score.value is None:
        return ScoreView(column, NO_VALUE, f"{score.status}: {score.reason or 'no reason given'}", missing=True)
    return ScoreView(column, number(score.value, column.decimals))


def _notes(scores: Mapping[str, Score], columns: Sequence[Column]) -> tuple[str, ...]:
    """Why scores are missing: 'PESQ, STOI undefined: the output is silent', equal reasons once."""
    missing = [(s.status, s.reason or "no reason given", c.label) for c in columns if (s := scores.get(c.id))]
    missing = sorted(entry for entry in missing if entry[0] != "ok")
    grouped = groupby(missing, key=lambda entry: entry[:2])
    return tuple(f"{', '.join(e[2] for e in group)} {status}: {reason}" for (status, reason), group in grouped)


def _alignment(detail: Mapping[str, object]) -> Alignment | None:
    raw = detail["alignment"]
    if not isinstance(raw, list):
        return None
    pieces = [Piece(op, _words(said), _words(heard)) for op, said, heard in raw if op in OPS]
    errors, words = detail.get("errors"), detail.get("words")
    return Alignment(tuple(pieces), f"{errors} errors in {words} words" if words is not None else "")


def _words(words: object) -> str:
    return " ".join(str(word) for word in words) if isinstance(words, list) else str(words or "")
