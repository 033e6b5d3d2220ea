"""From ratings to scores: who is left out and why; means with two-way intervals; paired differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metis_bench import stats
from metis_bench.errors import UsageError, nearest
from metis_bench.listen.key import Key, Received

LEVEL, RESAMPLES, SEED = 0.95, 10_000, 0
INTERVAL = "percentile bootstrap that draws raters and items (two-way); one set of draws for all systems"


@dataclass(frozen=True)
class Excluded:
    """A ratings file that does not count. usable: complete and its rater's only one, so it counts without exclusion."""

    one: Received
    reason: str
    usable: bool

    def to_json(self) -> dict[str, str]:
        """For the results."""
        return {"rater": self.one.ratings.rater, "file": self.one.file, "reason": self.reason}


@dataclass(frozen=True)
class Table:
    """Ratings as arrays: what each rater (row) gave each item (column) of one system, summed and counted."""

    sums: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def ratings(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        """Of all ratings; None without any."""
        return float(self.sums.sum() / self.counts.sum()) if self.ratings else None

    @property
    def raters(self) -> int:
        """Who rated anything."""
        return int(np.count_nonzero(self.counts.sum(axis=1)))

    @property
    def items(self) -> int:
        """What was rated by anybody."""
        return int(np.count_nonzero(self.counts.sum(axis=0)))

    @property
    def no_interval(self) -> str | None:
        """Why there can be no interval."""
        if self.raters < 2 or self.items < 2:
            return f"no interval: fewer than two {'raters' if self.raters < 2 else 'items'}"
        return None


def results(key: Key, received: Sequence[Received], *, against: str | None = None, allow: int = 0) -> dict[str, Any]:
    """All that the ratings say, ready for JSON. Raises UsageError for an unknown `against`.

    against: the system that differences are to (default: the best mean); allow: attention checks a rater may fail
    """
    if against is not None and (against not in key.systems or key.page.kind == "cmos"):
        known = "every CMOS is a difference to the reference" if key.page.kind == "cmos" else "not in this test"
        raise UsageError(f"--against '{against}': {known}{nearest(against, key.systems)}")
    kept, excluded = screen(key, received, allow)
    usable = [*kept, *(e.one for e in excluded if e.usable)]
    tables, everyone = _tables(key, kept), _tables(key, usable)
    means = _resampled(key, tables)
    systems = [_system_row(name, tables[name], everyone[name], means[name]) for name in key.systems]
    systems.sort(key=lambda row: -np.inf if row["mean"] is None else row["mean"], reverse=True)
    out: dict[str, Any] = {"schema": 1, "test": key.test, "kind": key.page.kind, "reference": key.reference}
    out["rules"] = _rules(key, allow)
    out["raters"] = {"files": len(received), "kept": len(kept), "usable": len(usable)}
    out["excluded"] = [e.to_json() for e in excluded]
    out["systems"] = systems
    out["anchors"] = [_anchor_row(key, kind, kept) for kind in ("high", "low")]
    out["against"], out["differences"] = None, []
    rated = [row["system"] for row in systems if row["mean"] is not None]
    if key.page.kind != "cmos" and rated:
        best = against or rated[0]
        out["against"] = best
        out["differences"] = [_difference(n, best, tables, means) for n in rated if n != best]
    return {**out, "stats": {"level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "method": INTERVAL}}


def screen(key: Key, received: Sequence[Received], allow: int) -> tuple[list[Received], list[Excluded]]:
    """Who counts, and who does not for which reason; the first that applies is told."""
    by_rater: dict[str, dict[str, Received]] = defaultdict(dict)
    excluded = []
    for one in received:
        same = by_rater[one.ratings.rater]
        if one.content in same:
            excluded.append(Excluded(one, "a second copy of the same file", False))
        else:
            same[one.content] = one
    kept = []
    for files in by_rater.values():
        for one in files.values():
            if len(files) > 1:
                reason: str | None = f"{len(files)} different files of one rater: nobody can tell which counts"
                usable = False
            else:
                reason, usable = _incomplete(key, one), False
                if reason is None:
                    reason, usable = _failed(key, one, allow), True
            if reason is None:
                kept.append(one)
            else:
                excluded.append(Excluded(one, reason, usable))
    return kept, excluded


def _incomplete(key: Key, one: Received) -> str | None:
    form = key.page.forms[one.ratings.form - 1]
    if len(one.values) < len(form):
        return f"incomplete: {len(one.values)} of {len(form)} rated"
    unheard = sum(
        len(r.plays) != len(key.page.trials[r.trial]) or any(n < 1 for n in r.plays) for r in one.ratings.ratings
    )
    return f"{unheard} rated without having been heard to the end" if unheard else None


def _failed(key: Key, one: Received, allow: int) -> str | None:
    """Whether a rater fails the attention checks or the order of the anchors."""
    meant = [(key.meanings[trial], value) for trial, value in one.values.items()]
    checks = [value == m.expect for m, value in meant if m.kind == "check"]
    wrong = len(checks) - sum(checks)
    if wrong > allow:
        return f"attention: {wrong} of {len(checks)} checks answered wrongly"
    high = [m.sign * value for m, value in meant if m.kind == "high"]
    low = [value for m, value in meant if m.kind == "low"]
    if key.page.kind == "cmos":
        low = [0] if high else []  # the anchors are comparisons: the reference must win
    if high and low and np.mean(high) <= np.mean(low):
        return f"anchors: the high ones are not above the low ones ({np.mean(high):.2f}, {np.mean(low):.2f})"
    return None


def _rules(key: Key, allow: int) -> list[str]:
    kinds = {m.kind for m in key.meanings.values()}
    rules = ["a rater with several different files, an incomplete form or a rating of an unheard clip is left out"]
    if "check" in kinds:
        rules.append(f"a rater who answers more than {allow} attention checks wrongly is left out")
    if key.page.kind == "cmos" and "high" in kinds:
        rules.append("a rater whose mean of the anchor comparisons does not favour the reference is left out")
    elif {"high", "low"} <= kinds:
        rules.append("a rater whose mean of the high anchors is not above that of the low anchors is left out")
    return rules


def _tables(key: Key, raters: Sequence[Received]) -> dict[str, Table]:
    """Each system's ratings; all have the same rows and columns, so that draws are shared."""
    meanings = key.meanings
    columns = {i: k for k, i in enumerate(dict.fromkeys((m.set, m.item) for m in meanings.values() if m.system))}
    shape = (len(raters), len(columns))
    tables = {name: Table(np.zeros(shape), np.zeros(shape)) for name in key.systems}
    for row, one in enumerate(raters):
        for trial, value in one.values.items():
            meaning = meanings[trial]
            if meaning.kind == "system" and meaning.system in tables:
                table, column = tables[meaning.system], columns[meaning.set, meaning.item]
                table.sums[row, column] += meaning.sign * value
                table.counts[row, column] += 1
    return tables


def _resampled(key: Key, tables: Mapping[str, Table]) -> dict[str, NDArray[np.float64]]:
    """Each system's mean in every draw of raters and items."""
    raters, items = next(iter(tables.values())).sums.shape
    if raters == 0 or items == 0:
        return {name: np.empty(0) for name in tables}
    rows = stats.draws(raters, RESAMPLES, SEED, f"{key.test} raters")
    columns = stats.draws(items, RESAMPLES, SEED, f"{key.test} items")
    return {name: stats.crossed_means(t.sums, t.counts, rows, columns) for name, t in tables.items()}


def _interval(values: NDArray[np.float64]) -> list[float]:
    return list(stats.percentiles(values[np.isfinite(values)], LEVEL))


def _system_row(name: str, table: Table, everyone: Table, means: NDArray[np.float64]) -> dict[str, Any]:
    note = table.no_interval
    counts = {"raters": table.raters, "items": table.items, "ratings": table.ratings}
    before = {"mean": everyone.mean, "raters": everyone.raters, "ratings": everyone.ratings}
    ci = _interval(means) if note is None else None
    return {"system": name, "mean": table.mean, "ci": ci, "note": note, **counts, "without_exclusion": before}


def _anchor_row(key: Key, kind: str, kept: Sequence[Received]) -> dict[str, Any]:
    values = [
        key.meanings[trial].sign * value
        for one in kept
        for trial, value in one.values.items()
        if key.meanings[trial].kind == kind
    ]
    return {"anchor": kind, "mean": float(np.mean(values)) if values else None, "ratings": len(values)}


def _difference(
    name: str, best: str, tables: Mapping[str, Table], means: Mapping[str, NDArray[np.float64]]
) -> dict[str, Any]:
    """system - best over the same draws: raters and items that both share cancel."""
    mine, other = tables[name], tables[best]
    note = mine.no_interval or other.no_interval
    value = None if mine.mean is None or other.mean is None else mine.mean - other.mean
    ci = None if note else _interval(means[name] - means[best])
    differs = None if ci is None else bool(ci[0] > 0 or ci[1] < 0)
    return {"system": name, "against": best, "difference": value, "ci": ci, "differs": differs, "note": note}
