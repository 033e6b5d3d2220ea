"""Reading published results strictly: a value without a meaning, or a remark that meets no value, is an error."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from metis_bench.errors import SuiteError, nearest
from metis_bench.published.model import (
    KEYS,
    CellsModel,
    DatasetModel,
    Effect,
    Published,
    RemarkModel,
    SourceModel,
    Value,
)
from metis_bench.resources import data_dir
from metis_bench.suite import documents
from metis_bench.suite.documents import Document
from metis_bench.suite.validate import validate

SOURCE, VALUES, ISSUES, REMARKS = "source.yaml", "values.csv", "issues.yaml", "remarks.yaml"
HEADER = [*KEYS, "value"]
NUMBER = re.compile(r"-?\d+(\.\d+)?")


def names() -> list[str]:
    """The published results that come with the package."""
    return sorted(path.parent.name for path in _home().glob(f"*/{SOURCE}"))


def find(name: str) -> Path:
    """The folder of shipped results. Raises SuiteError with the nearest name."""
    if name not in names():
        raise SuiteError(f"no published results '{name}'{nearest(name, names())}")
    return _home() / name


def _home() -> Path:
    return data_dir("baselines") / "published"


def load(folder: Path) -> Published:
    """Read source.yaml, values.csv, issues.yaml and remarks.yaml of a folder. Raises SuiteError with file:line."""
    source_doc = documents.read(folder / SOURCE)
    source = validate(SourceModel, source_doc)
    values = _values(folder / VALUES, source)
    _check_columns(source, values, source_doc)
    issues, remarks = documents.read(folder / ISSUES), documents.read(folder / REMARKS)
    for key in remarks.data.keys() & issues.data.keys():
        raise remarks.error((key,), f"'{key}' stands in {ISSUES} too")
    models = {key: _remark(key, doc) for doc in (issues, remarks) for key in doc.data}
    effects: dict[Value, dict[str, Effect]] = {value: {} for value in values}
    for doc in (issues, remarks):
        for key in doc.data:
            _apply(key, models[key], effects, doc)
    return Published(folder.name, source, values, models, tuple(issues.data), effects)


def _values(path: Path, source: SourceModel) -> tuple[Value, ...]:
    """The rows of values.csv, each with a known data set, metric and table, and no two with the same place."""
    found: dict[tuple[str, ...], Value] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            if next(reader, None) != HEADER:
                raise SuiteError(f"the header must be {','.join(HEADER)}", where=path, line=1)
            for row in reader:
                value = _value(row, path, reader.line_num, source)
                place = (*value.row, value.metric)
                if place in found:
                    raise SuiteError(f"the same value as in line {found[place].line}", where=path, line=value.line)
                found[place] = value
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SuiteError(f"cannot read the table: {reason}", where=path) from None
    if not found:
        raise SuiteError("the table has no values", where=path)
    return tuple(found.values())


def _value(row: list[str], path: Path, line: int, source: SourceModel) -> Value:
    def wrong(message: str) -> SuiteError:
        return SuiteError(message, where=path, line=line)

    if len(row) != len(HEADER):
        raise wrong(f"expected {len(HEADER)} fields, found {len(row)}")
    table, dataset, system, variant, training_data, metric, printed = row
    value = Value(table, dataset, system, variant, training_data, metric, printed, line)
    if not NUMBER.fullmatch(value.printed):
        raise wrong(f"'{value.printed}' is not a number")
    if value.dataset not in source.datasets:
        raise wrong(f"{SOURCE} has no data set '{value.dataset}'{nearest(value.dataset, source.datasets)}")
    if value.metric not in source.metrics:
        raise wrong(f"{SOURCE} has no metric '{value.metric}'{nearest(value.metric, source.metrics)}")
    if not any(value.table.startswith(start) for start in source.cite):
        raise wrong(f"'cite' of {SOURCE} does not say where '{value.table}' is to be found")
    return value


def _check_columns(source: SourceModel, values: tuple[Value, ...], doc: Document) -> None:
    """Every data set says of exactly the metrics that it has values of which column is theirs."""
    used: dict[str, set[str]] = {name: set() for name in source.datasets}
    for value in values:
        used[value.dataset].add(value.metric)
    for name, dataset in source.datasets.items():
        _check_dataset(name, dataset, used[name], doc)
    for metric in set(source.metrics) - set().union(*used.values()):
        raise doc.error(("metrics", metric), f"no value is of the metric '{metric}'")


def _check_dataset(name: str, dataset: DatasetModel, used: set[str], doc: Document) -> None:
    path = ("datasets", name, "columns")
    for metric in sorted(used - set(dataset.columns)):
        raise doc.error(path, f"'{name}' has values of {metric}: say which column is theirs, or null")
    for metric in sorted(set(dataset.columns) - used):
        raise doc.error((*path, metric), f"'{name}' has no value of {metric}{nearest(metric, used)}")


def _remark(key: str, doc: Document) -> RemarkModel:
    body = doc.data[key]
    if not isinstance(body, dict):
        raise doc.error((key,), f"'{key}' must be a mapping")
    return validate(RemarkModel, Document(body, doc.places), (key,))


def _apply(key: str, remark: RemarkModel, effects: Mapping[Value, dict[str, Effect]], doc: Document) -> None:
    """Note the effect of a remark with each value it is about."""
    for index, cells in enumerate(remark.cells):
        met = [value for value in effects if cells.names(value)]
        if not met:
            raise doc.error((key, "cells", index), f"{key}: no value is meant by this{_unknown(cells, effects)}")
        for value in met:
            if key in effects[value]:
                raise doc.error((key, "cells", index), f"{key}: names line {value.line} of {VALUES} a second time")
            effects[value][key] = cells.effect or remark.effect


def _unknown(cells: CellsModel, values: Mapping[Value, object]) -> str:
    """The first name that no value has, with the nearest one, else nothing: the names exist, their combination not."""
    for key in KEYS:
        known = {str(getattr(value, key)) for value in values}
        for name in getattr(cells, key):
            if name not in known:
                return f": no {key} '{name}'{nearest(name, known)}"
    return ""
