"""The leaderboards of a site, ranked; and those of what others published where no run stands beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from metis_bench.comparison import Comparison
from metis_bench.published.attach import alone
from metis_bench.published.load import find, load
from metis_bench.readings import Heard
from metis_bench.report.data import RunData, Stats, Suite, TestSet, _ResultsFile, _RunFile
from metis_bench.report.links import Links, build_links, slugs
from metis_bench.report.merge import Leaderboard, Run, merge
from metis_bench.report.ranks import rank
from metis_bench.report.sensitivity import BoardView, board_views
from metis_bench.report.tables import Board, build_boards
from metis_bench.sensitivity import panels


@dataclass(frozen=True)
class Shown:
    """A leaderboard as the pages show it. slug: of its files; pairs: every two systems that rank.

    sensitivity: its other readings, if there are any
    """

    leaderboard: Leaderboard
    board: Board
    slug: str
    links: Links
    pairs: tuple[Comparison, ...]
    sensitivity: BoardView | None

    @property
    def data(self) -> RunData:
        """With ranks."""
        return self.leaderboard.data


def shown(runs: Sequence[Run], published: Sequence[str]) -> list[Shown]:
    """All leaderboards with ranks, then what was published and no run stands beside."""
    found = [*merge(runs)]
    found += _printed_alone(published, found)
    names = slugs(board.id for board in found)
    out = []
    for leaderboard in found:
        ranked = rank(leaderboard.data)
        leaderboard = replace(leaderboard, data=ranked.data)
        (board,) = build_boards(ranked.data)
        board = replace(board, warnings=(*board.warnings, *leaderboard.notes))
        slug = names[leaderboard.id]
        links = replace(build_links(ranked.data), sets={board.set.id: slug})
        read_otherwise = board_views(panels(ranked.data, _heard(leaderboard.runs))).get(board.set.id)
        out.append(Shown(leaderboard, board, slug, links, ranked.pairs[board.set.id], read_otherwise))
    return out


def _heard(runs: Sequence[Run]) -> Heard:
    """A transcript, of whichever run has kept it."""
    return lambda signature, audio: next((t for run in runs if (t := run.heard(signature, audio)) is not None), None)


def _printed_alone(names: Sequence[str], found: Sequence[Leaderboard]) -> Iterator[Leaderboard]:
    """A leaderboard without systems for each printed data set that none of the runs shows."""
    there = {
        (board.data.results.published.name, row.dataset)
        for board in found
        if board.data.results.published
        for row in board.data.results.published.rows
    }
    for name in names:
        source = load(find(name))
        for dataset, model in source.source.datasets.items():
            if (name, dataset) in there:
                continue
            results = _ResultsFile(
                schema=1,
                suite=Suite(name, model.task),
                stats=Stats(1, 0.95, 0),
                systems=(),
                sets=(TestSet(dataset, 0, task=model.task),),
                columns=(),
                cells=(),
                published=alone(source, dataset),
            )
            data = RunData(_RunFile({}), results, {}, {}, (), {}, {})
            yield Leaderboard(dataset, model.task, data, {}, {})
