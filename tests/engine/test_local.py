"""The executor: every step of every task exactly once, whatever the workers do."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from metis_bench.engine.executor import TIMED_OUT, Crash, Task
from metis_bench.engine.local import LocalPool
from metis_bench.engine.process import environment
from metis_bench.errors import MetisBenchError

HANDLER = f"{__name__}:Handler"


class Handler:
    """Echoes its steps; some words make it misbehave."""

    def __init__(self, init: Any) -> None:
        if init == "cannot start":
            raise RuntimeError("no model")
        self.init = init

    def run(self, payload: list[str], start: int) -> Iterator[Any]:
        for word in payload[start:]:
            if word == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if word == "load slowly":
                time.sleep(3)
            if word == "sleep":
                time.sleep(60)
            if word == "stop short":
                return
            if word == "at exit":
                atexit.register(Path(self.init).touch)
            if word == "env":
                yield os.environ.get("CUDA_VISIBLE_DEVICES")
                continue
            if word == "complain":
                sys.stderr.write("I do not like this one\n")
            if word == "last words":
                sys.stderr.write("out of memory\n")
                os.kill(os.getpid(), signal.SIGKILL)
            print("noise on stdout")
            yield (self.init, word)

    def close(self) -> None:
        if isinstance(self.init, Path):
            self.init.with_name("closed").touch()


def pool_of(init: Any, gpus: Sequence[str | None] = (None, None), **options: Any) -> LocalPool:
    return LocalPool(HANDLER, init, [environment(1, len(gpus), gpu) for gpu in gpus], **{"timeout_s": 10, **options})


def run(tasks: list[Task], **options: Any) -> dict[tuple[int, int], Any]:
    with pool_of("hello", **options) as pool:
        seen = [([t is x for x in tasks].index(True), step, result) for t, step, result in pool.run(tasks)]
    assert len({s[:2] for s in seen}) == len(seen), "a step came twice"
    return {(t, s): r for t, s, r in seen}


def test_all_steps_once() -> None:
    results = run([Task([f"{i}", "x"], 2) for i in range(5)])
    assert results == {(i, s): ("hello", w) for i in range(5) for s, w in enumerate([f"{i}", "x"])}


def test_a_dying_worker_costs_one_step(capfd: pytest.CaptureFixture[str]) -> None:
    results = run([Task(["a", "die", "b"], 3), Task(["c"], 1)])
    assert results[0, 0] == ("hello", "a")
    assert isinstance(results[0, 1], Crash)
    assert "killed by signal 9" in results[0, 1].reason
    assert results[0, 2] == ("hello", "b")
    assert results[1, 0] == ("hello", "c")
    assert capfd.readouterr().out == "", "a worker's prints must not reach stdout"


def test_last_words_are_of_the_step_that_died() -> None:
    results = run([Task(["complain", "die", "a", "complain", "last words"], 5)], gpus=[None])
    assert results[0, 1] == Crash("the worker died (killed by signal 9)")
    assert results[0, 4] == Crash("the worker died (killed by signal 9): out of memory")


def test_a_worker_that_is_done_closes_its_handler_and_runs_exit_hooks(tmp_path: Path) -> None:
    with pool_of(tmp_path / "hook", [None]) as pool:
        list(pool.run([Task(["at exit"], 1)]))
        assert not (tmp_path / "closed").exists()
    assert (tmp_path / "closed").exists() and (tmp_path / "hook").exists()


def test_a_hanging_worker_is_killed() -> None:
    results = run([Task(["sleep", "after"], 2)], timeout_s=0.5, grace_s=2.0, gpus=[None])
    assert results[0, 0] == Crash(TIMED_OUT.format(0.5))
    assert results[0, 1] == ("hello", "after")


@pytest.mark.parametrize("end", ["die", "sleep"])
def test_a_worker_lost_after_its_last_step_costs_nothing(end: str) -> None:
    results = run([Task(["a", end], 1), Task(["b"], 1)], timeout_s=0.5, gpus=[None])
    assert results == {(0, 0): ("hello", "a"), (1, 0): ("hello", "b")}


def test_loading_a_model_has_a_grace_of_its_own() -> None:
    results = run([Task(["load slowly", "after"], 2)], timeout_s=1, gpus=[None])
    assert results == {(0, 0): ("hello", "load slowly"), (0, 1): ("hello", "after")}


def test_a_handler_that_stops_short_loses_no_row() -> None:
    results = run([Task(["a", "stop short", "b"], 3)])
    assert results[0, 0] == ("hello", "a")
    assert isinstance(results[0, 1], Crash)
    assert isinstance(results[0, 2], Crash)


def test_a_worker_that_is_slow_to_end_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All results are there when the executor takes its leave."""
    monkeypatch.setattr("metis_bench.engine.local.FAREWELL_S", 0.0)
    assert run([Task(["a", "b"], 2)])[0, 1] == ("hello", "b")


def test_one_worker_a_gpu() -> None:
    results = run([Task(["env"]) for _ in range(6)], gpus=["3", "5"])
    assert set(results.values()) <= {"3", "5"}


def test_a_worker_that_cannot_start_is_told_once() -> None:
    with (
        pytest.raises(MetisBenchError, match=r"cannot start.*no model"),
        pool_of("cannot start") as pool,
    ):
        list(pool.run([Task(["a"])]))
