"""The rules that all executors share, with workers that do what the test says: who is blamed, and what goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from metis_bench.engine.executor import TIMED_OUT, Crash, Died, Link, Message, Pool, Task
from metis_bench.errors import MetisBenchError

DIES = "the worker died"


class Scripted:
    """A worker that answers at once; payloads say what it does with each step, by the place where it is."""

    def __init__(self, place: str, *, starts: bool = True, placed: bool = True) -> None:
        self.place, self.placed, self.killed = place, placed, False
        self.messages: deque[Message | str | None] = deque([("ready", None) if starts else DIES])
        self.given: list[Task] = []

    def send(self, task: Task) -> None:
        self.given.append(task)
        for what in task.payload[task.done :]:
            does = what.get(self.place, "ok") if isinstance(what, dict) else what
            self.messages.append({"die": DIES, "hang": None}.get(does, ("step", does)))
            if does in ("die", "hang"):
                return
        self.messages.append(("done", None))

    def receive(self) -> Message:
        message = self.messages.popleft()
        if not isinstance(message, tuple):
            raise Died(str(message))
        return message

    def kill(self) -> None:
        self.killed = True


class Scene(Pool):
    """Places with room for one worker each. cast: makes the worker of a place."""

    def __init__(self, *places: str, lives: int = 1, cast: Callable[[str], Scripted] = Scripted) -> None:
        super().__init__(timeout_s=0.05, grace_s=0.05)
        self.lives, self.cast = lives, cast
        self.places = list(places)
        self.links: list[Scripted] = []
        self.gone: set[str] = set()

    def open(self, avoid: str | None) -> Link | None:
        free = [p for p in self.places if p not in [link.place for link in self.links if not link.killed]]
        if not free:
            return None
        self.links.append(self.cast(min(free, key=lambda p: (p == avoid, self.places.index(p)))))
        return self.links[-1]

    def wait(self, links: Collection[Link], patience_s: float) -> Collection[Link]:
        able = [link for link in links if isinstance(link, Scripted) and link.messages and link.messages[0] is not None]
        if not able:
            time.sleep(min(patience_s, 0.2))
        return able

    def lost(self, link: Link) -> bool:
        return link.place in self.gone

    def drop(self, place: str, reason: str) -> bool:
        self.places = [p for p in self.places if p != place]
        return bool(self.places)


def played(scene: Scene, *payloads: list[Any]) -> list[list[Any]]:
    """Results by task; each step exactly once, in order."""
    tasks = [Task(payload, len(payload)) for payload in payloads]
    out: list[list[Any]] = [[] for _ in tasks]
    with scene as pool:
        for task, step, result in pool.run(iter(tasks)):
            number = [task is t for t in tasks].index(True)
            assert step == len(out[number])
            out[number].append(result)
    assert [len(results) for results in out] == [len(payload) for payload in payloads]
    return out


def test_on_one_machine_the_step_is_blamed_at_once() -> None:
    scene = Scene("here")
    assert played(scene, ["a", "die", "b"], ["c"]) == [["a", Crash(DIES), "b"], ["c"]]
    assert len(scene.links) == 2


def test_on_a_cluster_a_lost_worker_is_no_ones_fault_the_first_time() -> None:
    """The step that was under way is given to another worker, elsewhere; what was done before stays done."""
    scene = Scene("one", "two", lives=2)
    (results,) = played(scene, ["a", {"one": "die", "two": "b"}, "c"])
    assert results == ["a", "b", "c"]
    assert [(link.place, link.given[0].payload[0]) for link in scene.links] == [("one", "a"), ("two", "a")]


def test_a_step_that_two_workers_died_at_is_to_blame() -> None:
    scene = Scene("one", "two", lives=2)
    assert played(scene, ["a", "die", "b", {"one": "die"}, "c"]) == [["a", Crash(DIES), "b", "ok", "c"]]


def test_the_chances_of_a_step_are_its_own() -> None:
    """Two deaths at two steps blame neither."""
    each = {"one": "die", "two": "fine"}
    assert played(Scene("one", "two", lives=2), [each, "a", each]) == [["fine", "a", "fine"]]


def test_a_hang_is_blamed_at_once_everywhere() -> None:
    scene = Scene("one", "two", lives=2)
    assert played(scene, ["a", "hang", "b"]) == [["a", Crash(TIMED_OUT.format(0.05)), "b"]]
    assert scene.links[0].killed


def test_what_dies_while_loading_is_given_up_where_there_is_no_other_place() -> None:
    results = played(Scene("here"), ["die"], ["die"], ["die", "c"], ["d"])
    given_up = f"given up after 3 workers failed to load: {DIES}"
    assert results[2] == [Crash(DIES), Crash(given_up)]
    assert results[3] == [Crash(given_up)], "also what was never begun"


def test_a_place_where_nothing_loads_is_left_to_itself() -> None:
    """Others go on: what a broken node killed is not given up."""
    broken = {"one": "die", "two": "fine"}
    scene = Scene("one", "two", lives=2)
    assert played(scene, *([broken] for _ in range(8))) == [["fine"]] * 8
    assert scene.places == ["two"]
    assert sum(link.place == "one" for link in scene.links) == 3


def test_a_place_that_is_gone_is_not_held_against_what_ran_there() -> None:
    scene = Scene("one", "two", lives=2)
    scene.gone = {"one"}
    assert played(scene, *([{"one": "die"}] for _ in range(6))) == [["ok"]] * 6
    assert scene.places == ["one", "two"], "nobody doubted it"


def test_workers_that_cannot_start_are_told_once() -> None:
    def dead(place: str) -> Scripted:
        return Scripted(place, starts=False)

    with pytest.raises(MetisBenchError, match=f"cannot start: {DIES}"):
        played(Scene("here", cast=dead), ["a"])


def test_a_node_where_workers_cannot_start_is_left_out() -> None:
    def half(place: str) -> Scripted:
        return Scripted(place, starts=place != "bad")

    scene = Scene("bad", "good", cast=half)
    assert played(scene, ["a"], ["b"], ["c"]) == [["a"], ["b"], ["c"]]
    assert scene.places == ["good"]


def test_what_waits_for_room_is_taken_over_by_the_idle() -> None:
    """A worker that finds no place on a busy cluster must not keep its task to the end."""

    def crowded(place: str) -> Scripted:
        link = Scripted(place, placed=place != "full")
        if place == "full":
            link.messages = deque([None])
        return link

    scene = Scene("full", "free", cast=crowded)
    assert played(scene, ["a"], ["b"]) == [["a"], ["b"]]
    assert [link.killed for link in scene.links if link.place == "full"] == [True]


def test_tasks_are_taken_when_there_is_time_for_them() -> None:
    """Ten thousand payloads must not be in memory at once."""
    taken: list[int] = []

    def tasks() -> Iterator[Task]:
        for i in range(20):
            taken.append(i)
            yield Task([i])

    with Scene("one", "two") as pool:
        ahead = [len(taken) - done for done, _ in enumerate(pool.run(tasks()), start=1)]
    assert len(ahead) == 20 and max(ahead) <= 3
