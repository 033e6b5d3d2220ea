"""What the files of published results may say (pydantic, at the edge), and what is known of them once they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, model_validator

from metis_bench.corpora.base import Task

Kind: TypeAlias = Literal[
    "typo",
    "conflict",
    "mixed protocol",
    "unit",
    "different model",
    "suspicious",
    "by construction",
    "claim",
    "ambiguous",
    "underspecified",
    "naming",
    "loose",
    "copied from another paper",
    "no public checkpoint",
]
Effect: TypeAlias = Literal["invalid", "doubt", "mark", "note"]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]
Names: TypeAlias = Annotated[
    tuple[StrictStr, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v), Field(min_length=1)
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetricModel(_Model):
    """A metric as the source prints it."""

    direction: Literal["higher", "lower"]
    unit: StrictStr = ""


class SetModel(_Model):
    """A corpus of a suite that stands for a data set: its reader, those of its parameters that matter, its subset.

    items: whether its items are those that were published on; why: what is different
    """

    corpus: Text
    params: dict[str, Any] = {}
    subset: StrictStr = ""
    items: Literal["same", "other"] = "same"
    why: StrictStr = ""

    @model_validator(mode="after")
    def _told(self) -> SetModel:
        if (self.items == "other") != bool(self.why):
            raise ValueError("'why' must stand where items are 'other', and nowhere else")
        return self


class DatasetModel(_Model):
    """A data set of the source. sets: none where it does not say on what it measured; columns: ours, by its metric."""

    task: Task
    sets: tuple[SetModel, ...]
    columns: dict[str, Text | None]


class SystemModel(_Model):
    """Which of our systems is a printed row: its class and those of its options that matter, and how alike they are.

    variant, training_data: of the printed row; any if left out. Systems of `baselines/` say so themselves.
    """

    system: Text
    options: dict[str, Any] = {}
    row: Text
    variant: Names | None = None
    training_data: Names | None = None
    match: Text
    note: StrictStr = ""


class SourceModel(_Model):
    """source.yaml. cite: where a table is to be found, by what its name begins with."""

    title: Text
    cite: dict[str, Text]
    note: StrictStr = ""
    metrics: dict[str, MetricModel]
    datasets: dict[str, DatasetModel]
    systems: tuple[SystemModel, ...] = ()


class CellsModel(_Model):
    """Values whose every given field is one of those named; a field that is not given may be anything."""

    table: Names = ()
    dataset: Names = ()
    system: Names = ()
    variant: Names = ()
    training_data: Names = ()
    metric: Names = ()
    effect: Effect | None = None

    def names(self, value: Value) -> bool:
        """Whether a value is meant."""
        return all(getattr(value, key) in wanted for key in KEYS if (wanted := getattr(self, key)))


class RemarkModel(_Model):
    """An entry of issues.yaml or remarks.yaml.

    effect: invalid = the printed value is wrong; doubt = it does not compare; mark = flagged, compares; note = told
    factor: what a printed value is multiplied with to compare;  whole_paper: about no value in particular
    """

    kind: Kind
    effect: Effect
    what: Text
    evidence: Text
    handling: Text
    factor: Decimal | None = None
    whole_paper: bool = False
    cells: tuple[CellsModel, ...] = ()

    @model_validator(mode="after")
    def _placed(self) -> RemarkModel:
        if self.whole_paper == bool(self.cells):
            raise ValueError("it needs either 'cells' or 'whole_paper: true'")
        return self


KEYS = ("table", "dataset", "system", "variant", "training_data", "metric")  # what makes a value one of its kind


@dataclass(frozen=True)
class Value:
    """One printed number. `line` of values.csv."""

    table: str
    dataset: str
    system: str
    variant: str
    training_data: str
    metric: str
    printed: str
    line: int = field(compare=False)

    @property
    def row(self) -> tuple[str, ...]:
        """The row of the printed table that it stands in."""
        return (self.table, self.dataset, self.system, self.variant, self.training_data)


@dataclass(frozen=True)
class Published:
    """All of a source. effects: of the remarks on each value, by id; issues: ids of the known issues."""

    name: str
    source: SourceModel
    values: tuple[Value, ...]
    remarks: Mapping[str, RemarkModel]
    issues: tuple[str, ...]
    effects: Mapping[Value, Mapping[str, Effect]]

    def cite(self, table: str) -> str:
        """Where a table is to be found."""
        return next(where for start, where in self.source.cite.items() if table.startswith(start))
