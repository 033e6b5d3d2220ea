"""The pages of a site: index, a leaderboard page a task, a card a system, comparisons of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metis_bench.baselines import manifest
from metis_bench.comparison import Comparison
from metis_bench.hashing import sha256_json
from metis_bench.report import html, published, summary
from metis_bench.report.comparison import p_text
from metis_bench.report.data import System
from metis_bench.report.links import slugs
from metis_bench.report.merge import Run
from metis_bench.report.plots import LEFT, RIGHT, build_plots
from metis_bench.report.site_boards import Shown
from metis_bench.report.tables import CellView


@dataclass(frozen=True)
class Place:
    """A system on one leaderboard: its cells, and the runs that they are of."""

    shown: Shown
    label: str
    cells: tuple[CellView, ...]
    runs: tuple[Run, ...]


@dataclass
class Card:
    """A system: one name and one fingerprint, wherever it was measured."""

    system: System
    url: str
    options: Mapping[str, Any]
    places: list[Place] = field(default_factory=list)

    @property
    def baseline(self) -> manifest.Manifest | None:
        """The manifest of a competitor."""
        known = manifest.find_all()
        return manifest.find(self.system.class_name).manifest if self.system.class_name in known else None


class Pages:
    """Writes all pages but those of items into `folder`."""

    def __init__(self, title: str, boards: tuple[Shown, ...], runs: tuple[Run, ...], folder: Path) -> None:
        self._title, self._boards, self._runs, self._folder = title, boards, runs, folder
        self._tasks = list(dict.fromkeys(one.leaderboard.task for one in boards))
        self._task_slugs = slugs(self._tasks)
        self._templates = html.template_environment()
        self._templates.globals.update(tasks=summary.TASKS, site_title=title, p_text=p_text)
        self._templates.globals.update(plot_left=LEFT, plot_right=RIGHT)

    def task(self, task: str) -> str:
        """The page of a task's leaderboards."""
        return f"task-{self._task_slugs[task]}.html"

    @cached_property
    def cards(self) -> dict[tuple[str, str], Card]:
        """By leaderboard and label; the same card for the same name and fingerprint."""
        found: dict[tuple[str, str | None], Card] = {}
        out: dict[tuple[str, str], Card] = {}
        for one in self._boards:
            options = one.data.run.resolved.get("systems") or {}
            for row in one.board.rows:
                label = row.system.name
                name = one.leaderboard.names[label]
                key = (name, row.system.fingerprint)
                system = replace(row.system, name=name)
                card = found.setdefault(key, Card(system, "", options.get(label) or {}))
                card.places.append(Place(one, label, row.cells, one.leaderboard.origins[label]))
                out[one.leaderboard.id, label] = card
        names = slugs(f"{name} {key}" if sum(n == name for n, _ in found) > 1 else name for name, key in found)
        for card, slug in zip(found.values(), names.values(), strict=True):
            card.url = f"system-{slug}.html"
        return out

    def card_urls(self, one: Shown) -> dict[str, str]:
        """Of the systems of a leaderboard, by label."""
        return {label: card.url for (board, label), card in self.cards.items() if board == one.leaderboard.id}

    def pair_url(self, one: Shown, pair: Comparison) -> str:
        """The page of two systems: names could be long or alike, so a number that depends on nothing else."""
        return f"pair-{one.slug}-{sha256_json([pair.a, pair.b])[:10]}.html"

    def write(self, files: Sequence[str]) -> None:
        """Every page. files: that the index leads to."""
        cards = list({card.url: card for card in self.cards.values()}.values())
        tasks = [
            (task, self.task(task), [b for b in self._boards if b.leaderboard.task == task]) for task in self._tasks
        ]
        facts = [(run, summary.summarise(run.data), summary.date(run.data)) for run in self._runs]
        shown = {"by_task": tasks, "runs": facts, "cards": cards, "sources": self._sources(), "files": files}
        self._page("index.html", "site_index.html.j2", **shown)
        for task, url, boards in tasks:
            self._task_page(task, url, boards)
        for card in cards:
            self._page(
                card.url, "site_system.html.j2", card=card, system=card.system, baseline=card.baseline, pages=self
            )
        for one in self._boards:
            for pair in one.pairs:
                self._page(self.pair_url(one, pair), "site_pair.html.j2", one=one, pair=pair, pages=self)

    def _task_page(self, task: str, url: str, boards: list[Shown]) -> None:
        of_task = (
            run for run in self._runs if task in {run.data.results.suite.task, *(s.task for s in run.data.results.sets)}
        )
        blocks = (published.build_block(run.data, None) for run in of_task)
        self._page(
            url,
            "site_task.html.j2",
            task=task,
            boards=[(one, build_plots(one.board), self._matrix(one)) for one in boards],
            nowhere_blocks=[block for block in blocks if block is not None][:1],
            pages=self,
        )

    def _matrix(self, one: Shown) -> dict[tuple[str, str], tuple[str, str, str]]:
        """(a, b) -> sign, words and page of the comparison in the column that the table is ranked by."""
        out: dict[tuple[str, str], tuple[str, str, str]] = {}
        signs = {
            "better": ("+", "−"),
            "worse": ("−", "+"),
            "no difference found": ("=", "="),
            "not comparable": ("?", "?"),
        }
        for pair in one.pairs:
            by = next(
                (d for d in pair.differences if one.board.by and d.column == one.board.by.id), pair.differences[0]
            )
            verdict = by.verdict(pair.level)
            for (a, b), sign in zip(((pair.a, pair.b), (pair.b, pair.a)), signs[verdict], strict=True):
                out[a, b] = (sign, f"{a} against {b}: {verdict} in {by.label}", self.pair_url(one, pair))
        return out

    def _sources(self) -> list[Any]:
        found = [one.data.results.published for one in self._boards]
        return list({source.name: source for source in found if source is not None}.values())

    def _page(self, name: str, template: str, **values: Any) -> None:
        html.write_page(self._folder / name, self._templates.get_template(template).render(**values))
