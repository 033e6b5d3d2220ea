"""From many finished runs to one static site: leaderboards a task, cards of systems, comparisons, items.

`merge` decides what shares a table, `ranks` which systems are ties; the pages are made of the same parts as a report.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metis_bench.errors import UsageError
from metis_bench.files import replace_tree
from metis_bench.readings import Heard, nothing_kept
from metis_bench.report import html
from metis_bench.report.audio_files import AudioFolder
from metis_bench.report.data import load_run
from metis_bench.report.merge import Run
from metis_bench.report.pictures import write_pictures
from metis_bench.report.reading import no_collection
from metis_bench.report.site_boards import Shown, shown
from metis_bench.report.site_pages import Pages
from metis_bench.report.site_tables import write_tables

MARKER = "metis-bench-site"  # a file that tells a site from another folder: only a site is replaced
PICTURES = 240  # outputs with a picture, of those that failed or lose most


@dataclass(frozen=True)
class Source:
    """A run folder, where its outputs lie, and its kept transcripts (engine.features.transcript)."""

    folder: Path
    audio: Callable[[str], Path]
    heard: Heard = nothing_kept


def publish(
    sources: Sequence[Source], out: Path, *, title: str = "Leaderboards", published: Sequence[str] = ()
) -> Path:
    """Write the site into `out` and return its index.html; an older site there is replaced when the new one is whole.

    published: names of results that others published, shown also where no run stands beside them
    Raises UsageError for a folder that is not a site, and where there is nothing to show; MetisBenchError for runs.
    """
    if out.exists() and not (out.is_dir() and ((out / MARKER).is_file() or not any(out.iterdir()))):
        raise UsageError(f"{out} is there and is no site of metis-bench", fix="choose another --out, or delete it")
    if not sources and not published:
        raise UsageError("there is nothing to publish", fix="name runs, or --published NAME")
    runs = load_runs(sources)
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        fresh.chmod(0o755)
        with no_collection():
            _write(runs, fresh, title, published)
        replace_tree(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out / "index.html"


def load_runs(sources: Sequence[Source]) -> list[Run]:
    """The runs, under names that are unique: of two folders of one name the second is `NAME (2)`."""
    runs: list[Run] = []
    for source in {source.folder.resolve(): source for source in sources}.values():  # named twice: one run
        name = source.folder.resolve().name
        same = sum(run.name == name or run.name.startswith(f"{name} (") for run in runs)
        unique = f"{name} ({same + 1})" if same else name
        runs.append(Run(unique, load_run(source.folder), source.audio, source.heard))
    return runs


def _write(runs: Sequence[Run], folder: Path, title: str, published: Sequence[str]) -> None:
    html.copy_assets(folder)
    boards = shown(runs, published)
    pages = Pages(title, tuple(boards), tuple(runs), folder)
    audio = AudioFolder(folder / "audio", _stored(runs))
    for one in boards:
        if one.data.items:
            seen = write_pictures(_worth_seeing(one, runs), folder)
            back = f"{pages.task(one.leaderboard.task)}#set-{one.slug}"
            about = {"title": title, "heading": one.leaderboard.id, "back": back}
            html.write_item_page(one.data, one.board, one.links, audio, folder, **about, pictures=seen)
    pages.write(write_tables(title, boards, folder))
    (folder / MARKER).write_text("a site of metis-bench: `metis-bench publish` may replace this folder\n")


def _stored(runs: Sequence[Run]) -> Callable[[str], Path]:
    """An output, in whichever store has it."""

    def find(sha256: str) -> Path:
        for run in runs:
            try:
                path = run.audio(sha256)
            except LookupError:
                continue
            if path.is_file():
                return path
        raise LookupError(sha256)

    return find


def _worth_seeing(one: Shown, runs: Sequence[Run]) -> Mapping[str, Path]:
    """Outputs that a metric failed on, then those where systems lose most against another one."""
    items = [(f.item, f.system) for f in one.data.results.failures if f.stage == "measure"]
    for pair in one.pairs:
        for d in pair.differences[:1]:
            items += [(item.item, name) for item in (*d.worst[:3], *d.best[:3]) for name in (pair.a, pair.b)]
    wanted, find = {*items}, _stored(runs)
    out: dict[str, Path] = {}
    for (_, item, system, _), generation in one.data.generations.items():
        if len(out) < PICTURES and generation.audio and (item, system) in wanted:
            try:
                out[generation.audio.sha256] = find(generation.audio.sha256)
            except LookupError:
                continue
    return out
