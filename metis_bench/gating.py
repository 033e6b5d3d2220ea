"""Is a run worse than another? Non-inferiority with a margin a metric: PASS, FAIL, INCONCLUSIVE or INVALID.

The loss of a column is how much worse the candidate is, in the column's unit. With one-sided bounds at the policy's
level: PASS, the loss is at most the margin; FAIL, it is above it (bounds widened by the number of checks, so that more
checks do not fail more often by chance); INCONCLUSIVE, the interval holds the margin: more items are needed. INVALID:
the two cannot be compared, or not all that was planned was measured. What cannot be shown is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from metis_bench import stats
from metis_bench.comparison import Difference, Side, resampled_difference
from metis_bench.engine import seal
from metis_bench.errors import SuiteError, UsageError, nearest
from metis_bench.report.data import Column, RunData, load_run
from metis_bench.suite import documents
from metis_bench.suite.validate import validate

Verdict: TypeAlias = Literal["PASS", "FAIL", "INCONCLUSIVE", "INVALID"]
EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INVALID": 3, "INCONCLUSIVE": 4}
GRAVEST: tuple[Verdict, ...] = ("INVALID", "FAIL", "INCONCLUSIVE", "PASS")  # of all checks, the first decides


class Rule(BaseModel):
    """margin: how much worse may be, in the column's unit. coverage: share of the planned rows that must be scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: float = Field(ge=0)
    coverage: float = Field(1.0, ge=0, le=1)


class Policy(BaseModel):
    """The file given to `gate --policy`.

    metrics: a column's id, or a family (`wer`: every main WER column), to its rule
    systems: candidate to the baseline's name for it (default: every system of the candidate that ranks, same name)
    sets: only these test sets or corpora (default: all of both runs);  level: of the one-sided bounds
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metrics: dict[str, Rule] = Field(min_length=1)
    systems: dict[str, str] = {}
    sets: list[str] = []
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


@dataclass(frozen=True)
class Check:
    """One column of one set of one system. loss: how much worse the candidate is, with its two one-sided bounds."""

    system: str
    set: str
    column: str
    verdict: Verdict
    reason: str
    margin: float
    loss: float | None = None
    bounds: tuple[float, float] | None = None
    candidate: float | None = None
    baseline: float | None = None
    items: int = 0
    needed: int | None = None  # items that would settle it, if the loss stayed what it is


@dataclass(frozen=True)
class Gate:
    """The whole answer."""

    candidate: str
    baseline: str
    verdict: Verdict
    checks: tuple[Check, ...]
    problems: tuple[str, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return EXIT_CODES[self.verdict]


def read_policy(path: Path) -> Policy:
    """Raises SuiteError with file:line."""
    return validate(Policy, documents.read(path))


def gate(run: Path, against: Path, policy: Policy) -> Gate:
    """Compare a run with a baseline. Raises UsageError for names that neither has, MetisBenchError for broken files."""
    problems = tuple(reason for folder in (run, against) if (reason := seal.broken(folder)))
    data, base = load_run(run), load_run(against)
    wanted = list(_wanted(data, base, policy))
    if not wanted:
        raise UsageError("the policy checks nothing: no system, set and column of it is in both runs")
    checks = []
    for rule, name, other, test_set, column in wanted:
        sides = Side(run.name, name, data), Side(against.name, other, base)
        checks.append(check(rule, sides, test_set, column, policy.level, len(wanted)))
    found = {check.verdict for check in checks} | ({"INVALID"} if problems else set())
    return Gate(run.name, against.name, next(v for v in GRAVEST if v in found), tuple(checks), problems)


def _wanted(data: RunData, base: RunData, policy: Policy) -> Iterator[tuple[Rule, str, str, str, Column]]:
    ours, theirs = {s.name: s for s in data.results.systems}, {s.name for s in base.results.systems}
    systems = policy.systems or {name: name for name, s in ours.items() if s.ranked and name in theirs}
    for name, other in systems.items():
        for wanted, known in ((name, set(ours)), (other, theirs)):
            if wanted not in known:
                raise SuiteError(f"the policy names a system '{wanted}' that is not in the run{nearest(wanted, known)}")
    sets = _sets(data, base, policy)
    for name, rule in policy.metrics.items():
        for column in _columns(name, data, base):
            for test_set, (system, other) in product(sets, systems.items()):
                cells = data.cells.get((test_set, system, column.id)), base.cells.get((test_set, other, column.id))
                if any(cell is not None and cell.status != "not_applicable" for cell in cells):
                    yield rule, system, other, test_set, column


def _columns(name: str, data: RunData, base: RunData) -> list[Column]:
    """Of a metric of the policy; those of its family that the baseline alone has are not measured, and so no pass."""
    ours = {c.id: c for c in data.results.columns}
    if not any(name in (c.id, c.family) for c in ours.values()):
        raise SuiteError(f"the policy names a metric '{name}' that the run does not have{nearest(name, ours)}")
    known = {c.id: c for c in base.results.columns} | ours
    return [c for c in known.values() if name in (c.id, c.family)]


def _sets(data: RunData, base: RunData, policy: Policy) -> list[str]:
    """Those of either run that the policy asks for: a set that the candidate lacks is not measured, and so no pass."""
    known = {s.id: s.corpus for run in (data, base) for s in run.results.sets}
    for name in policy.sets:
        if name not in known and name not in known.values():
            raise SuiteError(f"the policy names a test set '{name}' that is in neither run{nearest(name, known)}")
    return [name for name, corpus in known.items() if not policy.sets or {name, corpus} & set(policy.sets)]


def check(rule: Rule, sides: tuple[Side, Side], test_set: str, column: Column, level: float, checks: int) -> Check:
    """One check of `checks`."""
    base = Check(sides[0].system, test_set, column.id, "INVALID", "", rule.margin)
    reason = _invalid(rule, sides, test_set, column)
    if reason is not None:
        return _with(base, "INVALID", reason)
    found, spread = resampled_difference(*sides, test_set, column)
    if found.refused is not None or found.difference is None or spread is None:
        return _with(base, "INVALID", found.refused or "fewer than two clusters: there is nothing to resample")
    sign = 1.0 if column.direction == "lower" else -1.0
    loss = sign * found.difference + 0.0  # never -0
    high = _bound(sign * spread, level, found.clusters) + 0.0
    low = 0.0 - _bound(-sign * spread, 1 - (1 - level) / checks, found.clusters)
    return _judged(base, rule, found, loss, low, high)


def _bound(losses: NDArray[np.float64], level: float, clusters: int) -> float:
    """One-sided upper bound: the upper end of the two-sided interval that leaves out as much above."""
    return stats.percentiles(losses, stats.expanded(2 * level - 1, clusters))[1]


def _judged(base: Check, rule: Rule, found: Difference, loss: float, low: float, high: float) -> Check:
    facts = {"loss": loss, "bounds": (low, high), "candidate": found.a, "baseline": found.b, "items": found.pairs}
    if high <= rule.margin:
        return _with(base, "PASS", f"at most {high:.3g} worse, and {rule.margin:g} are allowed", facts)
    if low > rule.margin:
        return _with(base, "FAIL", f"at least {low:.3g} worse, and {rule.margin:g} are allowed", facts)
    short = (high - loss) if loss <= rule.margin else (loss - low)
    gap = abs(rule.margin - loss)
    needed = None if gap == 0 or short <= 0 else math.ceil(found.pairs * (short / gap) ** 2)
    told = f"about {needed} items would settle it" if needed is not None else "no number of items would settle it"
    reason = f"{low:.3g} to {high:.3g} worse, which holds the margin of {rule.margin:g}: {told}"
    return _with(base, "INCONCLUSIVE", reason, {**facts, "needed": needed})


def _with(base: Check, verdict: Verdict, reason: str, facts: Mapping[str, object] | None = None) -> Check:
    return replace(base, verdict=verdict, reason=reason, **(facts or {}))  # type: ignore[arg-type]


def _invalid(rule: Rule, sides: tuple[Side, Side], test_set: str, column: Column) -> str | None:
    """Why a comparison would not be honest."""
    cells = [side.data.cells.get((test_set, side.system, column.id)) for side in sides]
    for side, cell in zip(sides, cells, strict=True):
        if cell is None or cell.status == "not_applicable":
            return f"{side.name} was not measured by {column.id} on {test_set}"
        if cell.n < rule.coverage * cell.N:
            return f"{side.name} has {cell.n} of {cell.N} rows, and {100 * rule.coverage:g} % are required"
    return None
