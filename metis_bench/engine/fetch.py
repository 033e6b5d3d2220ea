"""Downloads that a suite's corpora need: told first, with sizes and licences, then fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from metis_bench.config import Config
from metis_bench.corpora.base import Fetch
from metis_bench.corpora.download import Progress, fetch, require_space, space_for
from metis_bench.engine.prepare import open_corpus
from metis_bench.suite.schema import Suite

MB = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """A file, for the corpora that need it."""

    corpora: tuple[str, ...]
    fetch: Fetch


def wanted(suite: Suite, config: Config) -> list[Wanted]:
    """Every file once, in the order of the corpora that need it."""
    found: dict[tuple[str, Path], list[str]] = {}
    files: dict[tuple[str, Path], Fetch] = {}
    for spec in suite.corpora:
        for each in open_corpus(spec, config, lenient=True).downloads(config.data):
            key = (each.file.url, each.folder)
            files[key] = each
            found.setdefault(key, []).append(spec.key)
    return [Wanted(tuple(names), files[key]) for key, names in found.items()]


def fetch_all(files: Sequence[Wanted], progress: Progress) -> None:
    """Fetch them one after another, telling megabytes; what is done stays done. Raises as `download.fetch`."""
    for folder in {w.fetch.folder for w in files}:
        require_space(folder, sum(space_for(w.fetch.file) for w in files if w.fetch.folder == folder))
    for each in files:
        fetch(each.fetch.file, each.fetch.folder, partial(_in_mb, progress, each.fetch.file.lfs is None))


def _in_mb(progress: Progress, is_bytes: bool, what: str, done: int, total: int) -> None:
    progress(f"{what} (MB)", done // MB, max(1, total // MB)) if is_bytes else progress(what, done, total)
