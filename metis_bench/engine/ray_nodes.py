"""The nodes of a Ray cluster: which are there, what each has, and which of them will do for some work.

A node is asked once for each check, by a process of its own there (`fitness.Probe`). Those that answer late join late.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from metis_bench.engine.executor import Check, Died, Task, Work
from metis_bench.engine.ray_link import RayLink, pickled
from metis_bench.hashing import sha256_bytes

PROBE_S = 900.0  # what a node may take for one answer: it may have to hash gigabytes of weights
SMALLEST = 10_000  # Ray knows GPUs in ten thousandths


@dataclass(frozen=True)
class Node:
    """A node that is alive. cpus, gpus: what it gives to Ray."""

    id: str
    name: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Shape:
    """The workers that a node gets for some work: how many, and what each of them has."""

    workers: int
    cpus: int = 0
    gpus: float = 0.0
    threads: int = 1


def shape(work: Work, node: Node, *, gpus: bool, share: int) -> Shape | str:
    """The workers of a node, or why it has room for none.

    gpus: whether there are any in the cluster that may be used. share: the cores of a worker that is not alone.
    """
    if work.gpu == "own" and gpus:
        if node.gpus < 1:
            return "it has no GPU"
        cpus = node.cpus // node.gpus
        return Shape(node.gpus, cpus, 1.0, work.threads or max(1, cpus))
    if node.cpus < 1:
        return "it has no CPU for Ray"
    cpus = node.cpus if work.alone else min(share, node.cpus)
    workers = node.cpus // cpus
    part = min(1.0, node.gpus * SMALLEST // workers / SMALLEST) if gpus and work.gpu == "shared" else 0.0
    return Shape(workers, cpus, part, work.threads or cpus)


Keyed = tuple[str, Check]  # checks are compared by hash: some hold all texts of a corpus


def keyed(check: Check) -> Keyed:
    """A check with its key."""
    return sha256_bytes(pickled(check)), check


@dataclass
class _Probe:
    link: RayLink
    asked: deque[str] = field(default_factory=deque)  # keys of the checks that it has not answered yet
    queue: deque[Keyed] = field(default_factory=deque)  # those that it has not been asked yet
    deadline: float = 0.0


class Nodes:
    """Keeps asking. `start` makes a link to a node that can answer checks."""

    def __init__(self, ray: Any, start: Callable[[Node], RayLink], everywhere: Check) -> None:
        """everywhere: what every node is asked first."""
        self._ray, self._start, self._everywhere = ray, start, keyed(everywhere)
        self.alive: dict[str, Node] = {}
        self.had_gpus = False  # stays so when the nodes that have them are lost: a CPU is no substitute for those
        self._probes: dict[str, _Probe] = {}
        self._answers: dict[tuple[str, str], str | None] = {}

    def refresh(self) -> None:
        """Look which nodes are there."""
        self.alive = {}
        for found in self._ray.nodes():
            if found["Alive"]:
                has, id_ = found["Resources"], found["NodeID"]
                name = f"{found['NodeManagerHostname']} ({found['NodeManagerAddress']}, {id_[:6]})"
                self.alive[id_] = Node(id_, name, int(has.get("CPU", 0)), int(has.get("GPU", 0)))
        self.had_gpus |= any(node.gpus for node in self.alive.values())
        for gone in set(self._probes) - set(self.alive):
            self._probes.pop(gone).link.kill()

    @property
    def pending(self) -> list[Any]:
        """References that tell when a node has answered."""
        return [probe.link.next for probe in self._probes.values() if probe.asked]

    def why_not(self, node: Node, checks: Iterable[Keyed]) -> str | None:
        """Why a node will not do; None if it will. Raises LookupError while it is still being asked."""
        waiting = False
        for key, check in (self._everywhere, *checks):
            if (node.id, key) not in self._answers:
                self._ask(node, key, check)
                waiting = True
            elif (answer := self._answers[node.id, key]) is not None:
                return answer
        if waiting:
            raise LookupError(node.name)
        return None

    def _ask(self, node: Node, key: str, check: Check) -> None:
        if node.id not in self._probes:
            self._probes[node.id] = _Probe(self._start(node))
        probe = self._probes[node.id]
        if key not in probe.asked and key not in [k for k, _ in probe.queue]:
            probe.queue.append((key, check))
        if not probe.asked:
            self._send(probe)

    def _send(self, probe: _Probe) -> None:
        checks = [check for _, check in probe.queue]
        probe.asked.extend(key for key, _ in probe.queue)
        probe.queue.clear()
        probe.deadline = time.monotonic() + PROBE_S * len(checks)
        probe.link.send(Task(tuple(checks), len(checks)))

    def collect(self) -> None:
        """Take the answers that have come."""
        for id_, probe in list(self._probes.items()):
            while probe.asked and self._ray.wait([probe.link.next], num_returns=1, timeout=0)[0]:
                try:
                    kind, answer = probe.link.receive()
                except Died as death:
                    self._lose(id_, f"it cannot be asked: {death}")
                    break
                if kind == "step":
                    self._answers[id_, probe.asked.popleft()] = answer
            if probe.asked and time.monotonic() > probe.deadline:
                self._lose(id_, f"it did not answer within {PROBE_S:.0f} s")

    def _lose(self, id_: str, reason: str) -> None:
        """A node that cannot be asked: the same for all that it should have answered."""
        probe = self._probes.pop(id_)
        probe.link.kill()
        for key in (*probe.asked, *(key for key, _ in probe.queue)):
            self._answers[id_, key] = reason

    def close(self) -> None:
        """Ask no more."""
        for probe in self._probes.values():
            probe.link.kill()
        self._probes.clear()
