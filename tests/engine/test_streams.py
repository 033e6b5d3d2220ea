"""What keeps large runs small and honest: progress by weight, scores on disk, outputs that are looked at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metis_bench.config import Config
from metis_bench.engine.executor import Crash
from metis_bench.engine.generating import GenerateHandler, Job, WorkerInit
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.prepare import prepare
from metis_bench.engine.progress import Counted
from metis_bench.engine.run import run
from metis_bench.engine.spool import Spool
from metis_bench.engine.store import Made, Store
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import sha256_file
from metis_bench.suite.schema import Suite

MakeSuite = Callable[..., Suite]


def test_progress_is_weighed() -> None:
    """Nine tenths of the work are done when the long one of two items is."""
    told: list[tuple[Any, ...]] = []
    counted = Counted(lambda *what: told.append(what), "scores", 2, 10.0)
    counted.one(9.0)
    counted.one(1.0)
    assert told == [("scores", 0, 2, 0.0), ("scores", 1, 2, 0.9), ("scores", 2, 2, 1.0)]


def test_items_without_length_count_alike() -> None:
    told: list[tuple[Any, ...]] = []
    counted = Counted(lambda *what: told.append(what), "x", 4, 0.0)
    counted.one(0.0)
    assert told[-1] == ("x", 1, 4, 0.25)


def test_a_run_tells_every_stage_to_its_end(make_suite: MakeSuite, config: Config, monkeypatch: Any) -> None:
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder)
    told: dict[str, list[tuple[int, int, float | None]]] = {}

    def progress(what: str, done: int, total: int, share: float | None = None, /) -> None:
        told.setdefault(what, []).append((done, total, share))

    metrics = [{"toy-level": {"network": "raise", "at": 9.0}}]
    run(make_suite(metrics=metrics), config, progress=progress)
    for what in ("toy-gain", "features", "scores"):
        counts, shares = [one[0] for one in told[what]], [one[2] or 0.0 for one in told[what]]
        assert counts == list(range(7)) and {one[1] for one in told[what]} == {6}
        assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == pytest.approx(1.0)


def test_a_spool_holds_values_in_order_and_by_place(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    values = [{"text": "zwei\nZeilen ü"}, "key", [1, None], {"x": 0.1}]
    places = [spool.add(value) for value in values]
    assert list(spool) == values
    assert [spool.at(place) for place in reversed(places)] == values[::-1]
    both = zip(spool, spool, strict=True)
    assert [left == right for left, right in both] == [True] * 4, "two readers do not disturb each other"
    with pytest.raises(ValueError, match="not JSON compliant"):
        spool.add(math.nan)
    assert list(tmp_path.iterdir()) == [], "nothing is left of it, whatever ends the run"


@pytest.fixture
def outputs(make_suite: MakeSuite, config: Config) -> Outputs:
    systems = ["toy-noise", {"again": {"system": "toy-noise"}}]
    return Outputs(prepare(make_suite(systems=systems), config).plan, Store(config.store))  # type: ignore[arg-type]


def test_rows_with_one_key_are_made_once(outputs: Outputs) -> None:
    rows = outputs.lacking("toy-noise")
    assert len(rows) == 6
    for row in rows:
        outputs.take(str(row.key), {"record": Made("0" * 64, 1, 8000, 1.0, 0, 1.0, 1.0, 1.0, {}).to_json()})
    assert outputs.lacking("again") == [], "the same system under another name"
    assert all(isinstance(outputs.of(row), Made) for row in outputs.plan.rows)


def test_what_workers_say_of_an_output(outputs: Outputs) -> None:
    one, two, three, *_ = outputs.lacking("toy-noise")
    outputs.take(str(one.key), Crash("it died"))
    outputs.take(str(two.key), {"reason": "out of tune"})
    assert [outputs.of(row) for row in (one, two, three)] == ["it died", "out of tune", "not generated (interrupted)"]
    with pytest.raises(MissingPrerequisite, match="no space"):
        outputs.take(str(three.key), {"abort": "no space"})
    lines = list(outputs.lines())
    assert {line["status"] for line in lines} == {"failed"} and len(lines) == 12


def test_what_was_made_since_the_plan_is_not_made_again(house: Path, config: Config) -> None:
    """By another run on the same store, or by a worker that was lost after it had kept its output."""
    path = house / "a.wav"
    path.write_bytes(b"not audio: who reads it fails")
    store = Store(config.store)
    handler = GenerateHandler(WorkerInit(config.plugins, "toy-noise", {}, config.store))
    files = {"source": (str(path), sha256_file(path))}
    jobs = tuple(Job(key, key, "", "se", "en", 0, {}, files, None, 1.0) for key in ("aa", "bb", "cc"))
    record = Made(store.put_audio(b"x"), 1, 8000, 1.0, 0, 1.5, 1.5, 2.0, {"cpu": "another"}).to_json()
    store.put("generation", "bb", record)
    first, second, third = handler.run(jobs, 0)
    assert second == {"record": record}
    assert "reason" in first and "reason" in third
    assert list(handler.run(jobs, 1)) == [second, third]
