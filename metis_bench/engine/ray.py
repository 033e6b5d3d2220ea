"""The executor on a Ray cluster: workers on every node that has what a system or a metric needs.

What they make lies in a store that all nodes share; only records and scores travel to the driver. Ray places workers
and notices when they, or their nodes, are lost. What a worker was at, and who is to blame, the pool knows, as on one
machine (`executor.py`). Workers die with the driver: the same command goes on where it was.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from metis_bench.config import RAY, Config, cpu_count
from metis_bench.engine.executor import Executor, Link, Outcome, Pool, Task, Work
from metis_bench.engine.fitness import Probe, shared
from metis_bench.engine.process import environment
from metis_bench.engine.ray_link import RayLink, pickled
from metis_bench.engine.ray_nodes import Node, Nodes, Shape, keyed, shape
from metis_bench.engine.store import Store
from metis_bench.errors import Interrupted, MissingPrerequisite, missing_extra

KNOCK_S = 10.0  # how long an address may take to answer
TICK_S = 1.0  # how often nodes are looked at
LOST_S = 60.0  # how long a run without any node waits for another
BUSY_S = 30.0  # after so long without a free place people are told what is waited for
FAREWELL_S = 5.0
LIVES = 2  # a worker may be lost for reasons of its node; a step that two of them died at is to blame
CARRIED = ("METIS_",)  # environment variables that go with a worker by their beginning: the config's places
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
RESUME = "run the same command again to resume"


def address_of(executor: str) -> str:
    """`ray`, `ray:HOST:PORT` or `ray://HOST:PORT` -> what ray.init is told."""
    _, _, rest = executor.partition(":")
    return executor if rest.startswith("//") else rest or "auto"


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module `ray`, connected. Raises MissingPrerequisite without Ray or without a cluster."""
    try:
        import ray
    except ImportError:
        raise missing_extra(f"the executor '{RAY}'", "ray", "cluster") from None
    if ray.is_initialized():  # a program that uses a cluster itself
        yield ray
        return
    main = threading.current_thread() is threading.main_thread()
    former = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        told = " ".join(str(error).split())[:500]
        fix = "start one on this machine: ray start --head   (docs/scale.md), or name one: --executor ray:HOST:PORT"
        raise MissingPrerequisite(f"no Ray cluster at '{address}': {told}", fix=fix) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, former)  # Ray's would exit at once, and say nothing
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):  # it prints what its daemons say
            yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would go on asking for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()


class RayExecutor(Executor):
    """A cluster that runs already."""

    def __init__(self, config: Config, store: Store) -> None:
        """Raises MissingPrerequisite as `connected`."""
        self.config = config
        self.share = max(1, cpu_count() // config.workers)
        self._told: set[str] = set()
        with ExitStack() as stack:
            self.ray = stack.enter_context(connected(address_of(config.executor)))
            self.nodes = Nodes(self.ray, self._probe, stack.enter_context(shared(store)))
            self.nodes.refresh()
            stack.callback(self.nodes.close)
            self._stack = stack.pop_all()

    def __exit__(self, *exc: object) -> None:
        """Leave the cluster. Workers that are left die."""
        self._stack.close()

    def pool(self, work: Work) -> Pool:
        """Waits until the first node has said that it will do. Raises MissingPrerequisite where all will not."""
        pool = RayPool(self, work)
        pool.await_node()
        return pool

    @property
    def has_gpus(self) -> bool:
        """Whether the cluster has some that may be used."""
        return self.config.devices != () and self.nodes.had_gpus

    def link(self, node: Node, start: Any, made: Shape, gpu: str | None) -> RayLink:
        """A worker on a node."""
        carried = {k: v for k, v in os.environ.items() if k.startswith(CARRIED) or k in OFFLINE}
        env = {**carried, **environment(made.threads, made.workers, gpu)}
        return RayLink(self.ray, node.id, start, env, cpus=made.cpus, gpus=made.gpus)

    def _probe(self, node: Node) -> RayLink:
        """A process that answers checks. It takes nothing, and sees a GPU where workers will."""
        start = self.ray.put(pickled((f"{Probe.__module__}:{Probe.__name__}", None)))
        return self.link(node, start, Shape(1), "0" if node.gpus and self.has_gpus else "")

    def tell(self, line: str) -> None:
        """On stderr, once."""
        if line not in self._told:
            self._told.add(line)
            sys.stderr.write(f"metis-bench: {line}\n")


class RayPool(Pool):
    """Workers for one kind of work, on all nodes that will do for it."""

    lives = LIVES

    def __init__(self, executor: RayExecutor, work: Work) -> None:
        super().__init__(work.timeout_s, work.grace_s)
        self._executor, self._ray, self._nodes = executor, executor.ray, executor.nodes
        self._work, self._start = work, executor.ray.put(pickled((work.factory, work.init)))
        self._checks = [keyed(check) for check in work.checks]
        self._links: list[RayLink] = []
        self._dropped: dict[str, str] = {}  # nodes where nothing gets ready, and why
        self._looked = 0.0
        self._alone_since: float | None = None
        self._waited_since = time.monotonic()

    def await_node(self) -> None:
        """Return as soon as one node will do. Raises MissingPrerequisite when none is left that might."""
        while True:
            fit, unfit, asked = self._candidates()
            if fit:
                return
            if not asked:
                raise self._nowhere(unfit)
            self.wait((), TICK_S)

    def _nowhere(self, unfit: Mapping[str, str]) -> MissingPrerequisite:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in unfit.items()) or "\n  it has no nodes"
        return MissingPrerequisite(f"no node of the Ray cluster can do '{self._work.what}':{reasons}")

    def _candidates(self) -> tuple[list[tuple[Node, Shape]], dict[str, str], bool]:
        """Nodes that will do, with their workers; the others with the reason; whether some have not answered yet."""
        if time.monotonic() - self._looked > TICK_S or not self._nodes.alive:
            self._nodes.refresh()
            self._looked = time.monotonic()
        self._nodes.collect()
        fit: list[tuple[Node, Shape]] = []
        unfit: dict[str, str] = {}
        asked = False
        for node in self._nodes.alive.values():
            made = shape(self._work, node, gpus=self._executor.has_gpus, share=self._executor.share)
            if isinstance(made, str):
                unfit[node.name] = made
                continue
            try:
                reason = self._dropped.get(node.id) or self._nodes.why_not(node, self._checks)
            except LookupError:
                asked = True
                continue
            if reason is None:
                fit.append((node, made))
            else:
                unfit[node.name] = reason
                self._executor.tell(f"node {node.name} is left out for '{self._work.what}': {reason}")
        return fit, unfit, asked

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """As every pool. Raises Interrupted where Ray's client has lost the cluster."""
        try:
            yield from super().run(tasks)
        except ConnectionError as error:
            raise Interrupted(f"the connection to the Ray cluster is lost: {error}", fix=RESUME) from None

    def open(self, avoid: str | None) -> Link | None:
        """On the node with the most room."""
        self._links = [link for link in self._links if not link.closed]
        if len(self._links) >= self._work.tasks:
            return None
        used = [link.place for link in self._links]
        fit, _, _ = self._candidates()
        room = [(node, made) for node, made in fit if used.count(node.id) < made.workers]
        if not room:
            return None
        node, made = min(room, key=lambda one: (one[0].id == avoid, used.count(one[0].id) / one[1].workers))
        gpu = None if made.gpus else ""  # Ray says which
        self._links.append(self._executor.link(node, self._start, made, gpu))
        return self._links[-1]

    def wait(self, links: Collection[Link], patience_s: float) -> Collection[Link]:
        """Those that have something to say, after a TICK at most: nodes come and go."""
        news = {link.next: link for link in links if isinstance(link, RayLink)}
        asked = [*news, *self._nodes.pending]
        if asked:
            self._ray.wait(asked, num_returns=1, timeout=min(patience_s, TICK_S))
            ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0)
        else:
            ready = []
            time.sleep(min(patience_s, TICK_S))
        self._nodes.collect()
        self._watch(links)
        return [news[ref] for ref in ready if ref in news]

    def _watch(self, links: Collection[Link]) -> None:
        """Say what is waited for; end a run that nobody is left to work for."""
        now = time.monotonic()
        if any(link.placed for link in links):
            self._waited_since, self._alone_since = now, None
            return
        fit, unfit, asked = self._candidates()
        if fit or asked:
            self._alone_since = None
            if now - self._waited_since > BUSY_S:
                what = "room on the cluster" if fit else "the nodes of the cluster to answer"
                self._executor.tell(f"waiting for {what}: '{self._work.what}'")
            return
        self._alone_since = self._alone_since or now
        if now - self._alone_since > LOST_S:
            error = self._nowhere(unfit)
            raise MissingPrerequisite(error.message, fix=f"bring nodes back, then {RESUME}")

    def lost(self, link: Link) -> bool:
        """Whether its node is no more."""
        known = self._nodes.alive.get(link.place)
        self._nodes.refresh()
        gone = link.place not in self._nodes.alive
        if gone and known is not None:
            self._executor.tell(f"node {known.name} is lost: its work goes to the others")
        return gone

    def drop(self, place: str, reason: str) -> bool:
        """No worker gets ready on this node."""
        self._dropped[place] = reason
        fit, _, asked = self._candidates()
        return bool(fit) or asked

    def farewell(self, links: Collection[Link]) -> None:
        """Let all of them close at once."""
        ends = [link.end(FAREWELL_S) for link in links if isinstance(link, RayLink)]
        if ends:
            self._ray.wait(ends, num_returns=len(ends), timeout=FAREWELL_S)
