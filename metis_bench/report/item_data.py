"""The items of a set as data of its page: `data/items-<set>-<n>.js`, a page of items each, and an index to search.

Scripts, not JSON: a page that is opened from disk may run the scripts beside it, and may not read other files. Each is
one call of a function of `player/items.js`, which makes text nodes of all that it gets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metis_bench.report.audio_files import AudioFolder, Player
from metis_bench.report.data import RunData
from metis_bench.report.items import ItemView, OutputView, ScoreView, build_item, rows_by_item
from metis_bench.report.links import PAGE_SIZE, Links
from metis_bench.report.tables import Board, minus
from metis_bench.report.texts import clock

SNIPPET = 120  # characters of a text that are searched
FOLDER = "data"


def write_items(
    data: RunData,
    board: Board,
    links: Links,
    audio: AudioFolder,
    folder: Path,
    pictures: Mapping[str, str] | None = None,
) -> int:
    """Write the data of a set's page and return how many pages it has; places the audio they play.

    pictures: URL by sha256 of an output
    """
    items = [item for (set_id, _), item in data.items.items() if set_id == board.set.id]
    rows = rows_by_item(data)
    numbers = {system.name: place for place, system in enumerate(data.results.systems)}
    systems = [[system.name, system.kind] for system in data.results.systems]
    last = max(1, -(-len(items) // PAGE_SIZE))
    (folder / FOLDER).mkdir(exist_ok=True)
    for page in range(1, last + 1):
        first = (page - 1) * PAGE_SIZE
        shown = items[first : first + PAGE_SIZE]
        views = (build_item(data, board, item, rows.get((item.set, item.item), {}), links, audio) for item in shown)
        told = [_item(view, numbers, pictures or {}) for view in views]
        _write(folder / links.data(board.set.id, str(page)), "metisItems", page, first + 1, systems, told)
    index = [[i.item, links.anchor(i.set, i.item), (i.text or "")[:SNIPPET]] for i in items]
    _write(folder / links.data(board.set.id, "index"), "metisIndex", index)
    return last


def _item(view: ItemView, numbers: Mapping[str, int], pictures: Mapping[str, str]) -> dict[str, Any]:
    item = view.item
    return {
        "id": item.item,
        "anchor": view.anchor,
        "lang": view.lang,
        "language": item.language,
        "cluster": item.cluster,
        "text": item.text,
        "inputs": [
            [label, _player(player), item.prompt_text if label == "prompt" else None] for label, player in view.inputs
        ],
        "systems": [[numbers[s.system.name], [_output(o, pictures) for o in s.outputs]] for s in view.systems],
    }


def _output(output: OutputView, pictures: Mapping[str, str]) -> list[Any]:
    words = output.alignment
    return [
        output.seed,
        _player(output.player) if output.player else None,
        output.failure,
        [_score(score) for score in output.scores],
        [[[p.op, p.reference, p.hypothesis] for p in words.pieces], words.summary] if words else None,
        output.notes,
        pictures.get(output.sha256 or ""),
    ]


def _player(player: Player) -> list[Any]:
    return [player.url, player.note, clock(player.seconds), player.seconds or 0]


def _score(score: ScoreView) -> Any:
    return [minus(score.text), score.title] if score.missing else minus(score.text)


def _write(path: Path, function: str, *arguments: Any) -> None:
    """Nothing but ASCII: whatever a browser takes the encoding of a script to be."""
    text = ",".join(json.dumps(a, ensure_ascii=True, allow_nan=False, separators=(",", ":")) for a in arguments)
    path.write_text(f"{function}({text});\n", encoding="ascii", newline="\n")
