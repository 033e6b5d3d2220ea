"""Published results in results.json: beside the numbers of a run, deciding none of them."""

from __future__ import annotations

from collections.abc import Callable

from metis_bench.engine.run import RunResult


def test_they_are_in_results_and_change_no_number(go: Callable[..., RunResult]) -> None:
    with_them, without = go(published="metis-paper").results, go().results
    assert "published" not in without
    assert {k: v for k, v in with_them.items() if k != "published"} == dict(without)
    rows = with_them["published"]["rows"]
    assert {row["set"] for row in rows} == {None} and {row["dataset"] for row in rows} == {"unspecified (SE)"}
    assert {s["name"] for s in with_them["systems"]} == {"toy-gain"}
