"""What a suite may say (pydantic, at the edge) and what the rest of the house sees (frozen dataclasses)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from metis_bench.corpora.base import ALL_TASKS, Params, Task
from metis_bench.hashing import JSON

NAME = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"  # safe as a file name, a column and a YAML key
Name: TypeAlias = Annotated[StrictStr, Field(pattern=NAME, max_length=80)]
Entry: TypeAlias = "str | dict[str, dict[str, Any] | None]"
SuiteTask: TypeAlias = Literal[Task, "omni"]  # omni: several tasks, each corpus has its own


def tasks_of(task: SuiteTask) -> frozenset[Task]:
    """The tasks that the corpora of a suite may be for."""
    return ALL_TASKS if task == "omni" else frozenset({task})


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OrderModel(_Model):
    """One oracle assertion: `better` must have the better mean in `column`, in every set (or those named).

    column: one column (`pesq.wb`), or the main columns of a kind (`wer`, `sim.ref`: whatever the model)
    """

    column: StrictStr
    better: StrictStr
    worse: StrictStr
    sets: list[StrictStr] | None = None


class StatsModel(_Model):
    """Bootstrap settings."""

    resamples: Annotated[StrictInt, Field(ge=100, le=100_000)] = 10_000
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: Annotated[StrictInt, Field(ge=0)] = 0


class PrintedModel(_Model):
    """Points of others on a curve. rows: label on the axis -> what names the printed row; columns: ours -> printed."""

    source: Name
    dataset: StrictStr
    system: StrictStr
    columns: dict[StrictStr, StrictStr] = Field(min_length=1)
    rows: dict[StrictStr, dict[Literal["table", "variant", "training_data"], StrictStr]] = Field(min_length=1)


class CurveModel(_Model):
    """One factor along an axis. arms: label -> arm (a grid's name with its values, without the seed), in order."""

    title: StrictStr
    arms: dict[StrictStr, StrictStr] = Field(min_length=2)
    printed: PrintedModel | None = None


class AblationModel(_Model):
    """How `metis-bench ablation` shows a suite of grids; decides no number.

    matrix: arms that stand in a table with every test set; against: test set -> the arm that others are compared with
    """

    curves: list[CurveModel] = Field(default_factory=list)
    matrix: list[StrictStr] = Field(default_factory=list)
    against: dict[StrictStr, StrictStr] = Field(default_factory=dict)


class OverlayModel(_Model):
    """Keys a profile may overlay; a whole suite must have those of SuiteModel."""

    title: StrictStr = ""
    description: StrictStr = ""
    corpora: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    systems: list[Entry] = Field(default_factory=list)
    metrics: list[Entry] = Field(default_factory=list)
    protocol: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seeds: list[Annotated[StrictInt, Field(ge=0)]] = [0]
    oracle_order: list[OrderModel] = Field(default_factory=list)
    stats: StatsModel = StatsModel()
    published: Name | None = None


class SuiteModel(OverlayModel):
    """A resolved suite file (include, extends and the profile already applied)."""

    name: Name
    task: SuiteTask
    corpora: dict[Name, dict[str, Any]] = Field(min_length=1)
    systems: list[Entry] = Field(min_length=1)
    metrics: list[Entry] = Field(min_length=1)
    seeds: list[Annotated[StrictInt, Field(ge=0)]] = Field(default=[0], min_length=1)
    profiles: dict[Name, dict[str, Any] | None] = Field(default_factory=dict)
    training: list[dict[str, Any]] = Field(default_factory=list)  # read by `metis-train ablate` alone
    ablation: AblationModel | None = None


FILE_KEYS = ("include", "extends")  # handled by the loader, never seen by the models


@dataclass(frozen=True)
class CorpusSpec:
    """A corpus of the suite: `key` is the suite's name for it, `type` the registered reader."""

    key: str
    type: str
    params: Params


@dataclass(frozen=True)
class SystemSpec:
    """A system of the suite: `name` is the row's name, `type` the registered class.

    grid, factors: of one that stands for a point of a grid, the grid's name ("steps-{steps}") and its values there
    """

    name: str
    type: str
    params: Params
    grid: str = ""
    factors: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricSpec:
    """A metric of the suite with its protocol parameters."""

    type: str
    params: Params


@dataclass(frozen=True)
class OracleOrder:
    """`better` must beat `worse` in `column`; `sets` None means every set."""

    column: str
    better: str
    worse: str
    sets: tuple[str, ...] | None


@dataclass(frozen=True)
class Stats:
    """Bootstrap settings."""

    resamples: int
    level: float
    seed: int


@dataclass(frozen=True)
class Suite:
    """A resolved suite: everything that decides the numbers, nothing about this machine."""

    name: str
    title: str
    description: str
    task: SuiteTask
    profile: str | None
    corpora: tuple[CorpusSpec, ...]
    systems: tuple[SystemSpec, ...]
    metrics: tuple[MetricSpec, ...]
    seeds: tuple[int, ...]
    oracle_order: tuple[OracleOrder, ...]
    stats: Stats
    limit: int | None = None
    published: str | None = None  # whose results stand beside ours, never ranked with them
    ablation: AblationModel | None = None

    def header(self) -> dict[str, JSON]:
        """What a report says of the suite at its top."""
        return {
            "name": self.name,
            "title": self.title,
            "task": self.task,
            "profile": self.profile,
            "description": self.description,
            "limit": self.limit,
        }

    def to_json(self) -> dict[str, JSON]:
        """The resolved suite as it is written to run.json."""
        grids: dict[str, JSON] = {s.name: {"grid": s.grid, "factors": s.factors} for s in self.systems if s.grid}
        return {
            **({"grids": grids} if grids else {}),
            **({"ablation": self.ablation.model_dump(mode="json")} if self.ablation else {}),
            **({"published": self.published} if self.published else {}),
            **self.header(),
            "corpora": {c.key: {"corpus": c.type, **c.params.model_dump(mode="json")} for c in self.corpora},
            "systems": {s.name: {"system": s.type, **s.params.model_dump(mode="json")} for s in self.systems},
            "metrics": [{"metric": m.type, **m.params.model_dump(mode="json")} for m in self.metrics],
            "seeds": list(self.seeds),
            "oracle_order": [
                {"column": o.column, "better": o.better, "worse": o.worse, "sets": list(o.sets) if o.sets else None}
                for o in self.oracle_order
            ],
            "stats": {"resamples": self.stats.resamples, "level": self.stats.level, "seed": self.stats.seed},
        }
