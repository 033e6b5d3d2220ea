"""What a machine lacks for one metric costs that metric's columns, and says so; protocols have fingerprints."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest

from metis_bench.config import Config
from metis_bench.engine.inspect import read_lines
from metis_bench.engine.prepare import prepare
from metis_bench.engine.run import RunResult, run
from metis_bench.errors import MissingPrerequisite, SuiteError
from tests.engine.test_run import cells

Go = Callable[..., RunResult]
LOCKED = {"toy-level": {"locked": "en"}}
OTHER = {"second": {"metric": "toy-level", "name": "other"}}


def test_a_locked_metric_stops_nothing(go: Go, make_suite: Callable[..., Any], config: Config) -> None:
    result = go(metrics=[LOCKED, OTHER])
    assert result.exit_code == 0
    cell = cells(result)["toy-gain"]
    assert (cell["status"], cell["value"], cell["rank"], cell["signature"]) == ("not_applicable", None, None, None)
    assert list(cell["reasons"]) == ["en needs a key"]
    assert cells(result, "other")["toy-gain"]["status"] == "complete"
    assert "level is not measured: en needs a key" in result.results["warnings"]
    blocked = prepare(make_suite(metrics=[LOCKED, OTHER]), config, lambda *_: None).blocked
    assert [(b.what, b.name, b.fix) for b in blocked] == [("metric", "toy-level", "find it")]


def test_with_the_key_the_same_suite_is_another_run(go: Go) -> None:
    without = go(metrics=[LOCKED, OTHER])
    with_key = go(metrics=[{"toy-level": {"locked": "de"}}, OTHER])
    assert with_key.folder != without.folder
    assert cells(with_key)["toy-gain"]["value"] is not None


def test_when_nothing_can_be_measured_nothing_runs(go: Go) -> None:
    with pytest.raises(MissingPrerequisite, match="en needs a key"):
        go(metrics=[LOCKED])


def test_orders_hold_for_every_column_of_a_kind(go: Go) -> None:
    systems = ["toy-noise", {"quiet": {"system": "toy-noise"}}]
    order = {"better": "toy-noise", "worse": "quiet"}
    orders = [{"column": "toy", **order}, {"column": "toy-level.ratio", **order}]
    checks = go(systems=systems, oracle_order=orders).results["oracle_checks"]
    assert [c["column"] for c in checks] == ["toy-level", "toy-level.ratio"]
    with pytest.raises(SuiteError, match="no metric has the column 'toys'"):
        go(systems=systems, oracle_order=[{**order, "column": "toys"}])


def test_nothing_is_said_of_orders_that_cannot_be_seen(go: Go) -> None:
    """A column that this machine cannot measure neither holds an order nor violates it."""
    systems = ["toy-noise", {"quiet": {"system": "toy-noise"}}]
    order = {"column": "toy", "better": "toy-noise", "worse": "quiet"}
    checks = go(systems=systems, metrics=[LOCKED, OTHER], oracle_order=[order]).results["oracle_checks"]
    assert [c["column"] for c in checks] == ["other"]


def test_times_alone_are_no_result(go: Go) -> None:
    with pytest.raises(MissingPrerequisite, match="en needs a key"):
        go(metrics=[LOCKED, "rtf"])


def test_a_metric_without_rules_for_a_language_is_not_measured(go: Go) -> None:
    result = go(metrics=[{"toy-level": {"locked": "en", "lawless": True}}, OTHER])
    assert cells(result)["toy-gain"]["reasons"] == {"en has no rules": 0}


def test_every_number_carries_its_protocol(go: Go) -> None:
    def protocol(result: RunResult, column: str = "toy-level") -> str:
        return str(cells(result, column)["toy-gain"]["protocol"])

    first = go()
    (line,) = {s["protocol"] for s in read_lines(first.folder / "scores.jsonl") if s["column"] == "toy-level"}
    assert line == protocol(first) != protocol(first, "toy-level.ratio")
    others: tuple[dict[str, Any], ...] = (
        {"metrics": [{"toy-level": {"scale": 2.0}}]},
        {"corpora": {"toy": {"corpus": "toy", "count": 5}}},
        {"seeds": [0, 1]},
        {"stats": {"resamples": 300}},
    )
    assert len({protocol(first), *(protocol(go(**other)) for other in others)}) == 5
    assert protocol(go(title="another title", systems=[{"toy-gain": {"checkpoint": "one.ckpt"}}])) == protocol(first)


def test_the_protocol_is_in_the_tables(make_suite: Callable[..., Any], config: Config) -> None:
    result = run(make_suite(), config)
    for name in ("results.csv", "scores.csv"):
        with (result.report.parent / name).open(encoding="utf-8") as stream:
            assert all(row["protocol"] for row in csv.DictReader(stream) if row["column"] == "toy-level")
