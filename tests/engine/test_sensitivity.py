"""Transcripts that a real run kept are found again by the signature alone, and the report shows the panel."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from click.testing import CliRunner

from metis_bench.cli import cli
from metis_bench.config import Config
from metis_bench.engine.features import transcript
from metis_bench.engine.inspect import run_store
from metis_bench.engine.run import run
from metis_bench.sensitivity import sensitivity
from metis_bench.suite.schema import Suite

SYSTEMS = [{"loud": {"system": "toy-noise", "level": 0.05}}, {"soft": {"system": "toy-noise", "level": 0.0}}]


def test_a_run_is_read_otherwise(make_suite: Callable[..., Suite], config: Config, house: Path) -> None:
    suite = make_suite(systems=SYSTEMS, metrics=[{"wer": {"asr": "toy-ears"}}])
    result = run(suite, config)
    store = run_store(result.folder)
    (panel,) = sensitivity(result.folder, partial(transcript, store))
    assert [p.system for p in panel.headline.places] == ["soft", "loud"]
    found = {reading.label: reading for reading in panel.readings}
    literal = found["WER (toy-ears), normalised as seed_vc"]
    assert literal.refused is None and {p.system: p.value for p in literal.places}["soft"] == 50, (
        "tone 3 is not tone 3!"
    )
    assert found["WER (toy-ears), normalised as hubert"].places[0].value == 0

    done = CliRunner().invoke(cli, ["sensitivity", str(result.folder), "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    assert len(json.loads(done.output)[0]["readings"]) == len(panel.readings)
    done = CliRunner().invoke(
        cli, ["sensitivity", str(result.folder), "--out", str(house / "s.md")], standalone_mode=False
    )
    assert done.exception is None and "normalised as hubert" in (house / "s.md").read_text(encoding="utf-8")

    page = (result.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert '<details class="sensitivity">' in page and "normalised as hubert" in page and "Read otherwise:" in page
    for record in (config.store / "feature").rglob("*.json"):
        record.unlink()
    (panel,) = sensitivity(result.folder, partial(transcript, store))
    assert {r.refused for r in panel.readings if "normalised" in r.label} == {"not every transcript is in the store"}
