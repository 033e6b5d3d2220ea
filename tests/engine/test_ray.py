"""A cluster of two nodes on this machine: the same results as without it, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from metis_bench.config import Config
from metis_bench.engine.executor import Work
from metis_bench.engine.ray import address_of
from metis_bench.engine.ray_nodes import Node, Shape, shape
from metis_bench.engine.run import run
from metis_bench.errors import MissingPrerequisite
from tests.engine.conftest import TOYS
from tests.engine.test_kill import results_without_costs, stamps

ray = pytest.importorskip("ray")
MakeSuite = Callable[..., Any]
ROOT = Path(__file__).parent.parent.parent
SLOW = {"slow": {"system": "toy-noise", "delay_s": 0.15}}
MOODS = {"toy-moody": {"mood": {"item3": "raise", "item5": "crash"}}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that does no work and two nodes with a CPU each; the second has TOY_KEY in its environment."""
    from ray.cluster_utils import Cluster

    patch, former = pytest.MonkeyPatch(), signal.getsignal(signal.SIGTERM)
    for name, value in (("RAY_AUTH_MODE", "disabled"), ("PYTHONPATH", str(ROOT)), ("RAY_USAGE_STATS_ENABLED", "0")):
        patch.setenv(name, value)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.add_node(num_cpus=1, env_vars={"TOY_KEY": "1"})
    ray.init(address=made.address, log_to_driver=False)  # a program that uses the cluster itself; `command` does not
    yield made
    ray.shutdown()
    made.shutdown()
    patch.undo()
    signal.signal(signal.SIGTERM, former)  # nodes of a process put their own in its place


@pytest.fixture
def remote(cluster: Any, config: Config, house: Path) -> Config:
    """The cluster, with a store of its own."""
    return replace(
        config, executor=f"ray:{cluster.address}", store=house / "remote", runs=house / "remote-runs", timeout_s=120
    )


def comparable(run_folder: Path) -> dict[str, Any]:
    """Everything but what was measured of the machine."""
    out = results_without_costs(run_folder)
    results = json.loads(out["results"])  # type: ignore[arg-type]
    for system in results["systems"]:
        del system["hardware"]
    return {**out, "results": results}


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder / "report" / "index.html")


def test_a_cluster_gives_what_one_machine_gives(make_suite: MakeSuite, config: Config, remote: Config) -> None:
    """Generated outputs, a crash, features of a network and scores; a second run finds all of it."""
    metrics = [{"toy-level": {"network": "raise", "at": 9.0}}]
    made = make_suite(systems=["toy-noise", MOODS], metrics=metrics, seeds=[0, 1])
    here, there = run(made, config), run(made, remote)
    assert there.exit_code == here.exit_code == 6
    assert comparable(there.folder) == comparable(here.folder)
    assert [f["reason"] for f in there.results["failures"] if "killed by signal 11" in f["reason"]]
    before = stamps(remote.store)  # type: ignore[arg-type]
    run(make_suite(systems=["toy-noise"], metrics=metrics, seeds=[0, 1]), replace(remote, executor="local"))
    assert stamps(remote.store) == before, "one machine finds what the cluster made"  # type: ignore[arg-type]


def test_a_node_without_an_environment_is_not_given_its_cells(
    make_suite: MakeSuite, remote: Config, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_KEY", "1")  # on the machine of the plan
    result = run(make_suite(systems=["toy-keyed", "toy-noise"]), remote)
    assert result.exit_code == 0, result.results["failures"]
    told = [line for line in capfd.readouterr().err.splitlines() if "is left out" in line]
    assert len(told) == 1, "one node, told once, and for one system"
    assert "for 'toy-keyed': there is no key here fix: export TOY_KEY" in told[0]


def test_where_no_node_will_do_nothing_waits(make_suite: MakeSuite, remote: Config, house: Path) -> None:
    """The checkpoint is another one by the time the nodes look at it."""
    made = make_suite()
    prepared_later = house / "one.ckpt"

    def swap(what: str, done: int, *_: Any) -> None:
        if what == "toy-gain" and done == 0:
            prepared_later.write_text("2.0")

    with pytest.raises(MissingPrerequisite, match=r"no node .* 'toy-gain'(.|\n)*differs from the plan's in its param"):
        run(made, remote, progress=swap)


def test_gpus_are_asked_for_where_there_are_some(
    cluster: Any, make_suite: MakeSuite, remote: Config, house: Path
) -> None:
    """Ray says which GPU a worker has; nodes without one are not asked to do without."""
    log = house / "batches.log"
    node = cluster.add_node(num_cpus=2, num_gpus=2, env_vars={"TOY_BATCH_LOG": str(log)})
    metrics = [{"toy-level": {"network": "raise", "at": 9.0}}]
    try:
        result = run(make_suite(systems=["toy-lazy"], metrics=metrics), remote)
    finally:
        cluster.remove_node(node)
    assert result.exit_code == 0
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"0", "1"}


def test_a_lost_node_costs_nothing(
    cluster: Any, make_suite: MakeSuite, config: Config, remote: Config, capfd: pytest.CaptureFixture[str]
) -> None:
    made = make_suite(systems=[SLOW], corpora={"toy": {"corpus": "toy", "count": 24}})
    third = cluster.add_node(num_cpus=2)

    def pull_the_plug() -> None:
        while len(stamps(remote.store)) < 6:  # type: ignore[arg-type]
            time.sleep(0.05)
        cluster.remove_node(third, allow_graceful=False)

    thread = threading.Thread(target=pull_the_plug)
    thread.start()
    there = run(made, remote)
    thread.join()
    assert there.exit_code == 0, there.results["failures"]
    assert comparable(there.folder) == comparable(run(made, config).folder)


def command(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "metis_bench.cli", "run", "suite.yaml", "--json", *more],
        cwd=folder,
        env={**os.environ, "METIS_BENCH_HOME": str(folder / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def workers() -> dict[int, int]:
    """Worker processes that actors started, and the actors."""
    found = {}
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            parent = proc.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            mine = b"metis_bench.engine.worker" in proc.joinpath("cmdline").read_bytes()
            if mine and b"ray::" in Path(f"/proc/{parent}/cmdline").read_bytes():
                found[int(proc.name)] = int(parent)
        except OSError:
            continue
    return found


def await_(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.mark.long
def test_kill_a_worker_and_then_the_driver(cluster: Any, house: Path) -> None:
    """Nothing that was finished is done again, and the results are those of a quiet run on one machine."""
    suite = {
        "name": "kill",
        "task": "se",
        "corpora": {"toy": {"corpus": "toy", "count": 20}},
        "systems": [SLOW, {"toy-moody": {"mood": {"item3": "raise"}}}],
        "metrics": ["toy-level"],
        "stats": {"resamples": 200},
    }
    (house / "suite.yaml").write_text(yaml.safe_dump(suite))
    (house / "metis-bench.yaml").write_text(yaml.safe_dump({"plugins": [TOYS], "workers": 2}))
    quiet = command(house, "--store", "quiet", "--out", "quiet-run")
    told = quiet.communicate(timeout=300)[1]
    assert quiet.returncode == 6, told.decode()

    there = ("--store", "killed", "--out", "killed-run", "--executor", f"ray:{cluster.address}")
    first = command(house, *there)
    await_(lambda: len(stamps(house / "killed")) >= 3)
    for number, pids in enumerate(workers().items()):  # a worker, an actor, a worker
        os.kill(pids[number % 2], signal.SIGKILL)
    await_(lambda: len(stamps(house / "killed")) >= 8)
    first.send_signal(signal.SIGKILL)
    first.wait()
    await_(lambda: not workers())
    seen = stamps(house / "killed")

    second = command(house, *there)
    told = second.communicate(timeout=300)[1]
    assert second.returncode == 6, told.decode()
    after = stamps(house / "killed")
    assert {k: after[k] for k in seen} == seen, "a finished piece of work was done again"
    assert comparable(house / "killed-run") == comparable(house / "quiet-run")
    assert b"Traceback" not in told


def test_without_ray_there_is_one_line(make_suite: MakeSuite, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPrerequisite, match="needs the Python package 'ray'") as told:
        run(make_suite(), replace(config, executor="ray"))
    assert told.value.fix is not None and "[cluster]" in told.value.fix


def test_without_a_cluster_it_says_how_to_start_one(
    make_suite: MakeSuite, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(MissingPrerequisite, match=r"no Ray cluster at 'auto': Could not find"):
        run(make_suite(), replace(config, executor="ray"))


def test_where_nobody_listens_nothing_waits(
    make_suite: MakeSuite, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for executor in (f"ray:{address}", f"ray://{address}"):
            with pytest.raises(MissingPrerequisite, match=r"no Ray cluster at .*refused"):
                run(make_suite(), replace(config, executor=executor))


def test_addresses() -> None:
    assert [address_of(name) for name in ("ray", "ray:auto", "ray:head:6379", "ray://head:10001")] == [
        "auto",
        "auto",
        "head:6379",
        "ray://head:10001",
    ]


GPU = Node("a", "a", cpus=16, gpus=4)
CPU = Node("b", "b", cpus=6, gpus=0)
WORK = Work("x", "", None, tasks=99, timeout_s=1)


@pytest.mark.parametrize(
    ("work", "node", "gpus", "share", "expected"),
    [
        (WORK, CPU, False, 1, Shape(6, 1, 0.0, 1)),
        (WORK, CPU, False, 4, Shape(1, 4, 0.0, 4)),
        (WORK, CPU, False, 64, Shape(1, 6, 0.0, 6)),
        (WORK, GPU, True, 1, Shape(16, 1, 0.0, 1)),
        (replace(WORK, gpu="own"), GPU, True, 1, Shape(4, 4, 1.0, 4)),
        (replace(WORK, gpu="own"), CPU, True, 1, "it has no GPU"),
        (replace(WORK, gpu="own", alone=True), CPU, False, 1, Shape(1, 6, 0.0, 6)),
        (replace(WORK, gpu="own"), CPU, False, 2, Shape(3, 2, 0.0, 2)),
        (replace(WORK, gpu="shared", threads=1), GPU, True, 1, Shape(16, 1, 0.25, 1)),
        (replace(WORK, gpu="shared", threads=1), GPU, False, 1, Shape(16, 1, 0.0, 1)),
        (replace(WORK, gpu="shared"), GPU, True, 5, Shape(3, 5, 1.0, 5)),
        (WORK, replace(CPU, cpus=0), False, 1, "it has no CPU for Ray"),
    ],
)
def test_what_a_node_gets(work: Work, node: Node, gpus: bool, share: int, expected: Shape | str) -> None:
    assert shape(work, node, gpus=gpus, share=share) == expected
