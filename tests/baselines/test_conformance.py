"""Adapters that misbehave, run for real: each costs its own row, and leaves nothing behind."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from metis_bench.baselines import processes
from metis_bench.baselines.conformance import EXPECTED, FINE, endure, examine
from metis_bench.baselines.misbehaving import Adapter
from metis_bench.cli import cli
from tests.baselines.conftest import TONE, Write


def test_every_behaviour_is_expected_to_do_something() -> None:
    methods = {name.replace("_", "-") for name in vars(Adapter) if not name.startswith("_")} - {"run"}
    assert methods == set(EXPECTED) and len(EXPECTED) >= 16
    assert sum(reason != FINE for reason in EXPECTED.values()) >= 12


@pytest.mark.parametrize("how", EXPECTED)
def test_misbehaviour_costs_one_row_and_leaves_nothing(how: str) -> None:
    (check,) = endure([how])
    assert check.ok, f"{how}: {check.detail}"


def test_a_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPECTED, "raises", FINE)
    (check,) = endure(["raises"])
    assert not check.ok and "no such phoneme" in check.detail


def test_processes_are_known_by_their_mark() -> None:
    assert processes.marked("no such mark") == []
    assert processes.resident_gb(os.getpid()) > 0.01
    assert next(iter(processes.tree(os.getpid()))) == os.getpid()


def test_an_adapter_that_keeps_its_promises_passes(write: Write) -> None:
    checks = list(examine(write(adapter=SEEDED), {}))
    assert [c.ok for c in checks] == [True, True, True], checks


def test_an_adapter_that_remembers_is_found_out(write: Write) -> None:
    checks = {c.name: c for c in examine(write(adapter=REMEMBERS), {})}
    assert not checks["another order gives the same"].ok
    assert "before" in checks["another order gives the same"].detail
    honest = {c.name: c for c in examine(write(adapter=REMEMBERS, determinism="none"), {})}
    assert honest["another order gives the same"].ok


def test_an_adapter_that_does_not_load_says_why(write: Write) -> None:
    (check,) = examine(write(adapter="import no_such_package\n" + TONE), {})
    assert not check.ok and "no_such_package" in check.detail


def test_the_command_tells_and_its_exit_code_says(
    write: Write, machine_says: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_says()
    monkeypatch.setattr("metis_bench.config.find_config", lambda _: None)
    for adapter, code in ((SEEDED, 0), (REMEMBERS, 6)):
        write(adapter=adapter)
        done = CliRunner().invoke(cli, ["baselines", "conformance", "toy", "--json"], standalone_mode=False)
        assert done.exception is None and done.return_value == code, (done.output, done.exception)
        assert [check["ok"] for check in json.loads(done.stdout)] == [True, True, code == 0]


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert all(check.ok for check in endure(["raises", "exits"]))
    assert list(tmp_path.iterdir()) == []


SEEDED = """
import random

def load(ctx):
    return Noise()

class Noise:
    def run(self, item):
        return [random.uniform(-0.3, 0.3) for _ in range(8000)], 16000
"""
REMEMBERS = """
def load(ctx):
    return Counter()

class Counter:
    count = 0
    def run(self, item):
        self.count += 1
        return [0.1 * self.count, -0.1] * 4000, 16000
"""
