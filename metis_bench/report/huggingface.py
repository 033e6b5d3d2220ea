"""Results for model repositories of the Hugging Face hub, one file a system.

`.eval_results/*.yaml`: huggingface/hub-docs docs/hub/eval-results.md; a value belongs to a task of a benchmark data
set, so a test set needs one (its `eval.yaml` names our columns as tasks). `model-index`: the metadata of a model card,
huggingface/hub-docs modelcard.md. Complete cells alone: a mean over what could be scored is no result of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from metis_bench.errors import MissingPrerequisite, UsageError
from metis_bench.report.data import Cell, Column, RunData, TestSet

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

TASKS: Mapping[str, str] = {  # of ours, as the hub calls them; it has no word for lip-to-speech
    "tts": "text-to-speech",
    "vc": "audio-to-audio",
    "tse": "audio-to-audio",
    "se": "audio-to-audio",
    "l2s": "other",
}
FIRST_VERSION = "1.4"  # of huggingface_hub that knows .eval_results


@dataclass(frozen=True)
class Result:
    """A complete cell with what it belongs to."""

    set: TestSet
    column: Column
    cell: Cell

    @property
    def note(self) -> str:
        """What the value was measured with, in one line."""
        ci = "" if self.cell.ci is None else f", interval {self.cell.ci[0]:.6g} to {self.cell.ci[1]:.6g}"
        unit = f" in {self.column.unit}" if self.column.unit else ""
        how = f"signature {self.cell.signature}, list {self.set.list_hash}"
        return f"{self.column.label}{unit}, {self.column.direction} is better, n {self.cell.n}{ci}, {how}"


def eval_results(data: RunData, datasets: Mapping[str, str], url: str | None = None) -> dict[str, str]:
    """YAML by system. datasets: OWNER/NAME on the hub by test set or corpus; url: where the report is published.

    Raises UsageError for a set without a data set, or with a part of its items; MissingPrerequisite for a hub library
    that is too old.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError:
        raise MissingPrerequisite(
            "this huggingface_hub does not know .eval_results", fix=f'pip install "huggingface_hub>={FIRST_VERSION}"'
        ) from None

    def entry(result: Result) -> EvalResultEntry:
        return EvalResultEntry(
            dataset_id=_dataset(result.set, datasets),
            task_id=result.column.id,
            value=result.cell.value,
            date=_date(data),
            source_url=url,
            source_name=None if url is None else "metis-bench report",
            notes=result.note,
        )

    found = {name: [entry(r) for r in results] for name, results in _by_system(data)}
    return {name: _yaml(eval_result_entries_to_yaml(entries)) for name, entries in found.items()}


def model_index(data: RunData, datasets: Mapping[str, str], url: str | None = None) -> dict[str, str]:
    """The block of a model card by system, from `---` to `---`. datasets and url: as of eval_results, both optional."""
    from huggingface_hub import EvalResult, ModelCardData

    def result(name: str, r: Result) -> EvalResult:
        dataset = datasets.get(r.set.id) or datasets.get(r.set.corpus) or r.set.corpus or r.set.id
        return EvalResult(
            task_type=TASKS.get(r.set.task, "other"),
            task_name=r.set.task or None,
            dataset_type=dataset,
            dataset_name=r.set.id,
            dataset_config=r.set.subset or None,
            metric_type=r.column.metric or r.column.id.partition(".")[0],
            metric_name=r.column.label,
            metric_config=r.column.id,
            metric_value=r.cell.value,
            metric_args=_args(r),
            source_name=None if url is None else f"metis-bench report of {name}",
            source_url=url,
        )

    cards = {
        name: ModelCardData(model_name=name, eval_results=[result(name, r) for r in results])
        for name, results in _by_system(data)
    }
    blocks = {name: card.to_dict() for name, card in cards.items()}  # type: ignore[no-untyped-call]
    return {name: f"---\n{_yaml(block)}---\n" for name, block in blocks.items()}


def _args(r: Result) -> dict[str, object]:
    facts: dict[str, object] = {
        "signature": r.cell.signature,
        "protocol": r.cell.protocol,
        "list_hash": r.set.list_hash,
    }
    facts |= {"items": r.cell.n, "unit": r.column.unit or None, "direction": r.column.direction}
    facts |= {"ci": None if r.cell.ci is None else list(r.cell.ci)}
    return {key: value for key, value in facts.items() if value is not None}


def _by_system(data: RunData) -> Iterator[tuple[str, list[Result]]]:
    """Systems with a complete cell. Bounds and oracles are no models."""
    sets, columns = {s.id: s for s in data.results.sets}, {c.id: c for c in data.results.columns}
    for system in data.results.systems:
        cells = [c for c in data.results.cells if c.system == system.name and c.status == "complete"]
        if system.ranked and cells:
            yield system.name, [Result(sets[c.set], columns[c.column], c) for c in cells]


def left_out(data: RunData) -> Iterator[str]:
    """What is not written of systems that rank: a line a system, set and number of outputs that were scored."""
    labels = {column.id: column.label for column in data.results.columns}
    there = dict(_by_system(data))
    for name in (system.name for system in data.results.systems if system.ranked):
        lacking: dict[tuple[str, int, int], list[Cell]] = {}
        for cell in (c for c in data.results.cells if c.system == name and c.status in ("incomplete", "empty")):
            lacking.setdefault((cell.set, cell.n, cell.N), []).append(cell)
        for (test_set, n, total), cells in lacking.items():
            why = "; ".join(dict.fromkeys(reason for cell in cells for reason in cell.reasons))
            columns = ", ".join(labels[cell.column] for cell in cells)
            yield f"{name} on {test_set}: {columns}: {n} of {total} outputs are scored{f' ({why})' if why else ''}"
        if name not in there:
            yield f"{name}: no file, none of its results is complete"


def _dataset(test_set: TestSet, datasets: Mapping[str, str]) -> str:
    found = datasets.get(test_set.id) or datasets.get(test_set.corpus)
    if test_set.partial:
        counts = f"{test_set.items} of its {test_set.official_count} official items"
        raise UsageError(
            f"'{test_set.id}' has {counts}, and a benchmark is all of them",
            fix="run it without --limit, or leave the set out with --set",
        )
    if found is None:
        raise UsageError(
            f"nobody said which benchmark of the hub '{test_set.id}' is",
            fix=f"--dataset {test_set.id}=OWNER/NAME, or leave the set out with --set",
        )
    return found


def _date(data: RunData) -> str | None:
    return str(data.run.provenance["created"]) if data.run.provenance.get("created") else None


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**9)
