"""What another machine must have, to the bit, before it may work for a plan: each way in which it may not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metis_bench.config import Config
from metis_bench.engine import fitness
from metis_bench.engine.bound import signature_of
from metis_bench.engine.executor import Check
from metis_bench.engine.fitness import FileAsked, Probe, file_checks, file_fits, metric_check, shared, system_check
from metis_bench.engine.prepare import Prepared, prepare
from metis_bench.engine.store import Store
from metis_bench.suite.schema import Suite

MakeSuite = Callable[..., Suite]


def answer(check: Check) -> str | None:
    """What a node says: the check travels, and may be one of several."""
    (found,) = Probe(None).run((pickle.loads(pickle.dumps(check)),), 0)
    return found


def check_of(prepared: Prepared, config: Config) -> Check:
    (spec,) = prepared.suite.systems
    return system_check(spec, prepared.plan.facts[spec.name], config)


def test_the_same_system_will_do(make_suite: MakeSuite, config: Config) -> None:
    assert answer(check_of(prepare(make_suite(), config), config)) is None


def test_other_weights_under_the_same_path_will_not(make_suite: MakeSuite, config: Config, house: Path) -> None:
    check = check_of(prepare(make_suite(), config), config)
    (house / "one.ckpt").write_text("2.0")
    assert answer(check) == (
        "the system is another one there: it differs from the plan's in its parameters, or the files that they name"
    )
    (house / "one.ckpt").unlink()
    assert "checkpoint not found" in str(answer(check)) and "fix: put it there" in str(answer(check))


@pytest.mark.parametrize(
    ("cause", "told"), [("packages", "packages ("), ("source", "adapter"), ("audio", "version of")]
)
def test_every_cause_is_told(make_suite: MakeSuite, config: Config, cause: str, told: str) -> None:
    check = check_of(prepare(make_suite(), config), config)
    other = replace(check.argument, causes={**check.argument.causes, cause: "another"})
    assert told in str(answer(replace(check, argument=other)))


def test_a_system_that_is_not_there_is_told_with_its_fix(
    make_suite: MakeSuite, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_KEY", "1")
    check = check_of(prepare(make_suite(systems=["toy-keyed"]), config), config)
    assert answer(check) is None
    monkeypatch.delenv("TOY_KEY")
    assert answer(check) == "there is no key here fix: export TOY_KEY"


def test_a_plug_in_that_is_not_there(make_suite: MakeSuite, config: Config) -> None:
    check = check_of(prepare(make_suite(), config), config)
    other = replace(check.argument, plugins=("/nowhere/mine.py",))
    assert answer(replace(check, argument=other)) == "plug-in file not found: /nowhere/mine.py"


def test_metrics_must_have_the_same_signatures(make_suite: MakeSuite, config: Config) -> None:
    (one,) = prepare(make_suite(), config).bound
    context = {"task": "se", "language": "en", "texts": ()}

    def asked(signature: Any, **params: Any) -> str | None:
        return answer(metric_check(config.plugins, [("toy-level", params, context)], [signature]))

    assert asked(signature_of(one.metric)) is None
    assert "the metric 'toy-level' has another signature there" in str(asked({"metric": "toy-level", "version": 0}))
    assert asked(signature_of(one.metric), locked="en") == "en needs a key fix: find it"


def test_inputs_must_be_the_same_under_the_same_path(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"audio")
    (check,) = file_checks([(str(path), "not this")])
    assert "is another file there" in str(answer(check))
    path.unlink()
    assert "cannot read the input" in str(answer(check)) and "shared file system" in str(answer(check))
    path.write_bytes(b"")
    assert file_fits(FileAsked(str(path), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")) is None


def test_the_store_must_be_the_very_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of that name on the node's own disk would take all outputs, and nobody would ever see them."""
    with shared(Store(tmp_path / "store")) as check:
        assert answer(check) is None
        elsewhere = replace(check.argument, store=tmp_path / "copy")
        assert "is not there, or another one: set one that all nodes share" in str(
            answer(replace(check, argument=elsewhere))
        )
        monkeypatch.setattr(fitness, "code_hash", lambda: "other code")
        assert "another version of metis-bench" in str(answer(check))
    assert list((tmp_path / "store").iterdir()) == [], "what it wrote is gone"


def test_the_code_is_known_by_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("metis_bench/a.py", "metis_bench/_data/baselines/b.py", "reference_models/c.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr("metis_bench.resources.PACKAGE", tmp_path / "metis_bench")
    before = fitness.code_hash()
    (tmp_path / "metis_bench/_data/baselines/b.py").write_text("2")
    assert fitness.code_hash() == before, "data is part of what systems are known by"
    (tmp_path / "reference_models/c.py").write_text("2")
    assert fitness.code_hash() != before
