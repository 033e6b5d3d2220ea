"""Reading a run folder: everything is there, and everything wrong is told with file and line."""

from __future__ import annotations

import pytest

from metis_bench.errors import MetisBenchError
from metis_bench.report.data import load_run
from tests.report.conftest import Fabricated


def test_reads_everything(fabricated: Fabricated) -> None:
    data = load_run(fabricated.save().path)
    assert len(data.rows) == sum(line["type"] == "row" for line in fabricated.plan)
    assert len(data.items) == len(fabricated.plan) - len(data.rows)
    assert sum(map(len, data.scores.values())) == len(fabricated.scores)
    assert len(data.cells) == len(fabricated.results["cells"])


@pytest.mark.parametrize("name", ["run.json", "plan.jsonl", "generations.jsonl", "scores.jsonl", "results.json"])
def test_missing_file_names_it_and_the_way_out(fabricated: Fabricated, name: str) -> None:
    (fabricated.save().path / name).unlink()
    with pytest.raises(MetisBenchError, match=f"{name}.*cannot read") as caught:
        load_run(fabricated.path)
    assert caught.value.fix and "resumes" in caught.value.fix


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"system":"s","set":"a","item":"i","seed":0,"column":"c","status":"ok","value":NaN}', "NaN"),
        (
            '{"system":"s","set":"a","item":"i","seed":0,"column":"c","status":"ok","detail":{"x":[Infinity]}}',
            "Infinity",
        ),
        ('{"system":"s","set":"a","item":"i","seed":0,"column":"c","status":"ok","value":1e999}', "value"),
        ('{"system":"s","set":"a","item":"i","seed":0,"column":"c"}', "status"),
        ('{"system":"s","set":"a","it', "not valid JSON"),
        ('{"system":"s","set":"a","item":"\\ud800","seed":0,"column":"c","status":"ok"}', "surrogates"),
    ],
)
def test_bad_line_is_told_with_its_number(fabricated: Fabricated, line: str, why: str) -> None:
    path = fabricated.save().path / "scores.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(MetisBenchError, match=why) as caught:
        load_run(fabricated.path)
    assert caught.value.line == len(fabricated.scores) + 1


def test_statistics_are_read_and_required(fabricated: Fabricated) -> None:
    stats = load_run(fabricated.save().path).results.stats
    assert (stats.resamples, stats.level, stats.seed) == (1000, 0.6, 0)
    for level in (0.0, 1.0, 95.0):
        fabricated.results["stats"]["level"] = level
        with pytest.raises(MetisBenchError, match=r"'stats\.level'"):
            load_run(fabricated.save().path)
    del fabricated.results["stats"]
    with pytest.raises(MetisBenchError, match="'stats': Field required"):
        load_run(fabricated.save().path)


def test_other_schema_and_unknown_names_are_refused(fabricated: Fabricated) -> None:
    fabricated.results["schema"] = 2
    with pytest.raises(MetisBenchError, match="schema 2"):
        load_run(fabricated.save().path)
    fabricated.results["schema"] = 1
    fabricated.results["cells"][0]["column"] = "nope"
    with pytest.raises(MetisBenchError, match=r"unknown.*nope"):
        load_run(fabricated.save().path)


def test_an_oracle_check_may_name_a_system_this_run_left_out(fabricated: Fabricated) -> None:
    fabricated.results["oracle_checks"][0].update(
        better="left-out", better_value=None, ok=None, reason="not in this run"
    )
    text = (fabricated.render() / "index.html").read_text()
    assert "left-out" in text and "not in this run" in text and "2 oracle checks not possible" in text
