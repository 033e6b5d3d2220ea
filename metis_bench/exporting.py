"""A run, or a part of it, in the formats that others read: LaTeX, CSV, parquet, markdown, model cards of the hub.

Measured values alone, unless `published` asks for what others printed: that stands in files or tables of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metis_bench.errors import UsageError
from metis_bench.files import write_atomic
from metis_bench.report import exports, huggingface
from metis_bench.report.data import RunData, load_run
from metis_bench.report.latex import latex
from metis_bench.report.links import slugs
from metis_bench.report.ranks import rank
from metis_bench.report.rows import cell_table, published_table, score_table
from metis_bench.report.selecting import measured, select
from metis_bench.report.summary import summarise
from metis_bench.report.tables import build_boards


@dataclass(frozen=True)
class Part:
    """What of a run, and how.

    systems, sets, columns: default all (LaTeX: the headline columns);  published: with what others printed
    datasets: OWNER/NAME on the Hugging Face hub by test set or corpus;  url: where the report is published
    """

    systems: Sequence[str] = ()
    sets: Sequence[str] = ()
    columns: Sequence[str] = ()
    published: bool = False
    datasets: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None


@dataclass(frozen=True)
class Exported:
    """The files that were written. left_out: what of the run's ranked systems they do not hold and why, a line each."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def export(run: Path, format_name: str, out: Path, part: Part | None = None) -> Exported:
    """Write a finished run as `format_name` (one of FORMATS).

    out: a file for latex and markdown, a folder for the others. Raises UsageError for unknown names, an `out` of the
    other kind, and where there is nothing to export; MetisBenchError for a broken run.
    """
    part = part or Part()
    data = select(rank(load_run(run)).data, part.systems, part.sets, part.columns)
    if not part.published:
        data = measured(data)
    elif data.results.published is None:
        raise UsageError("the run has no published results", fix="docs/published.md tells how a suite asks for them")
    if not data.results.cells:
        raise UsageError("nothing of the run is left to export: no system, set and column of it is wanted")
    if out.is_dir() if format_name in FILES else out.is_file():
        kind = "a file" if format_name in FILES else "a folder"
        raise UsageError(f"{format_name} is written into {kind}, and {out} is none")
    left_out = huggingface.left_out(data) if format_name in COMPLETE else ()
    return Exported(tuple(FORMATS[format_name](data, out, part)), tuple(left_out))


def _latex(data: RunData, out: Path, part: Part) -> list[Path]:
    shown = [column.id for column in data.results.columns] if part.columns else ()
    write_atomic(out, latex(build_boards(data), shown).encode())
    return [out]


def _markdown(data: RunData, out: Path, _: Part) -> list[Path]:
    out.parent.mkdir(parents=True, exist_ok=True)
    exports.write_markdown(data, build_boards(data), summarise(data), out)
    return [out]


def _csv(data: RunData, out: Path, _: Part) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    exports.write_csv(data, out)
    exports.write_published(data, out)
    names = ["results.csv", "scores.csv", *(["published.csv", "published.json"] if data.results.published else [])]
    return [out / name for name in names]


def _parquet(data: RunData, out: Path, _: Part) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    tables = [t for t in (cell_table(data), score_table(data, detail=True), published_table(data)) if t is not None]
    for table in tables:
        exports.write_parquet(table, out / f"{table.name}.parquet")
    return [out / f"{table.name}.parquet" for table in tables]


def _hub(
    make: Callable[[RunData, Mapping[str, str], str | None], dict[str, str]], suffix: str
) -> Callable[[RunData, Path, Part], list[Path]]:
    def write(data: RunData, out: Path, part: Part) -> list[Path]:
        if part.published:
            raise UsageError("what others published is not a result of a model of yours: leave out --published")
        known = {name for s in data.results.sets for name in (s.id, s.corpus)}
        for name in part.datasets:
            if name not in known:
                raise UsageError(f"--dataset names '{name}', which is no test set of what is exported")
        texts = make(data, part.datasets, part.url)
        if not texts:
            raise UsageError("\n  ".join(("no ranked system has a complete result", *huggingface.left_out(data))))
        names = slugs(texts)
        for system, text in texts.items():
            write_atomic(out / f"{names[system]}{suffix}", text.encode())
        return [out / f"{names[system]}{suffix}" for system in texts]

    return write


FORMATS: Mapping[str, Callable[[RunData, Path, Part], list[Path]]] = {
    "latex": _latex,
    "csv": _csv,
    "parquet": _parquet,
    "markdown": _markdown,
    "hf": _hub(huggingface.eval_results, ".yaml"),
    "model-index": _hub(huggingface.model_index, ".md"),
}
FILES = ("latex", "markdown")
COMPLETE = ("hf", "model-index")  # without results of a part of the outputs
