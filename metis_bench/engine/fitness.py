"""Whether a machine will do for some work: asked on every node of a cluster before it is given any (`Probe`).

A node must not only have what a system or a metric needs. It must have the very same: outputs and scores are known by
what the plan's machine read there (weights, packages, adapters), and what another made under that name would be a lie.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metis_bench import resources
from metis_bench.baselines.host import sweep
from metis_bench.config import Config, load_plugins
from metis_bench.engine.bound import signature_of
from metis_bench.engine.executor import Check
from metis_bench.engine.store import Store
from metis_bench.engine.worker import named
from metis_bench.errors import MetisBenchError
from metis_bench.hashing import JSON, sha256_file, sha256_json
from metis_bench.metrics.base import MetricContext, metrics
from metis_bench.places import Place
from metis_bench.suite.plan import SystemFacts
from metis_bench.suite.schema import SystemSpec
from metis_bench.systems.base import System, causes, systems

CAUSES = {  # of a system, for people
    "source": "adapter",
    "params": "parameters, or the files that they name",
    "packages": "packages",
    "identity": "weights or environment",
    "audio": "version of metis-bench",
}
CODE = ("metis_bench", "reference_models")
SAME_PATH = "inputs must lie under the same path on every node: put them on a shared file system"


@dataclass(frozen=True)
class SystemAsked:
    """A system with its parameters, and the hashes of its causes on the plan's machine, by name."""

    plugins: tuple[str, ...]
    type: str
    params: Mapping[str, Any]
    causes: Mapping[str, str]


@dataclass(frozen=True)
class MetricsAsked:
    """Metrics (type, parameters, context) with their signatures on the plan's machine."""

    plugins: tuple[str, ...]
    bound: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...]
    signatures: tuple[str, ...]


@dataclass(frozen=True)
class FileAsked:
    """An input file of the plan."""

    path: str
    sha256: str


@dataclass(frozen=True)
class PlaceAsked:
    """The store of the run, a file that is in it now, and the hash of the code that makes its records."""

    store: Place
    name: str
    code: str


class Probe:
    """Lives in a worker process of a node; its steps are checks."""

    def __init__(self, init: None) -> None:
        """Tidies up what workers that were killed could not."""
        del init
        sweep()

    def run(self, checks: tuple[Check, ...], start: int) -> Iterator[str | None]:
        """Why this machine will not do, or None, for each."""
        for check in checks[start:]:
            asked: Callable[[Any], str | None] = named(check.factory)
            yield asked(check.argument)

    def close(self) -> None:
        """Nothing to free."""


@contextmanager
def shared(store: Store) -> Iterator[Check]:
    """Whether a machine has this very store, and the same code. While the block lasts."""
    name = f".shared-{secrets.token_hex(8)}"
    store.files.write(name, name.encode())
    try:
        yield Check(f"{__name__}:place_fits", PlaceAsked(store.root, name, code_hash()))
    finally:
        store.files.remove(name)


def code_hash() -> str:
    """Of the Python files that metis-bench consists of here, by name."""
    files = sorted(p for name in CODE for p in (resources.PACKAGE.parent / name).rglob("*.py"))
    own = [p.relative_to(resources.PACKAGE.parent) for p in files if resources.DATA not in p.parts]
    return sha256_json([[p.as_posix(), sha256_file(resources.PACKAGE.parent / p)] for p in own])


def place_fits(asked: PlaceAsked) -> str | None:
    """Why this machine cannot work for the run at all, or None."""
    try:
        found = Store(asked.store).files.read(asked.name)
    except MetisBenchError as error:
        return _told(error)
    if found != asked.name.encode():
        fix = "set one that all nodes share (a network file system, or a URL such as s3://...)"
        return f"the store {asked.store} is not there, or another one: {fix}"
    if code_hash() != asked.code:
        return "another version of metis-bench is installed there: install the same on every node"
    return None


def system_check(spec: SystemSpec, facts: SystemFacts, config: Config) -> Check:
    """Whether a system is there, and the same."""
    asked = SystemAsked(config.plugins, spec.type, spec.params.model_dump(), facts.causes)
    return Check(f"{__name__}:system_fits", asked)


def file_checks(files: Iterable[tuple[str, str]]) -> tuple[Check, ...]:
    """Whether input files (path, sha256) can be read."""
    return tuple(Check(f"{__name__}:file_fits", FileAsked(*file)) for file in files)


def metric_check(
    plugins: tuple[str, ...],
    bound: Sequence[tuple[str, Mapping[str, Any], Mapping[str, Any]]],
    signatures: Sequence[Mapping[str, JSON]],
) -> Check:
    """Whether metrics are there, and the same."""
    asked = MetricsAsked(plugins, tuple(bound), tuple(sha256_json(s) for s in signatures))
    return Check(f"{__name__}:metrics_fit", asked)


def system_fits(asked: SystemAsked) -> str | None:
    """Why outputs of this machine would not be those of the plan, or None."""
    try:
        load_plugins(asked.plugins)
        cls = systems.get(asked.type)
        system: System = cls(cls.params_type.model_validate(asked.params))
        system.check()
        found = causes(system)
    except (MetisBenchError, OSError) as error:
        return _told(error)
    other = [name for name, cause in found.items() if sha256_json(cause) != asked.causes.get(name)]
    if not other:
        return None
    words = [CAUSES.get(name, name) + (f" ({found[name]})" if name == "packages" else "") for name in other]
    return f"the system is another one there: it differs from the plan's in its {', '.join(words)}"


def metrics_fit(asked: MetricsAsked) -> str | None:
    """Why scores of this machine would not be those of the plan, or None."""
    try:
        load_plugins(asked.plugins)
        for (name, params, context), signature in zip(asked.bound, asked.signatures, strict=True):
            cls = metrics.get(name)
            metric = cls(cls.params_type.model_validate(params), MetricContext(**context))
            metric.check()
            if sha256_json(signature_of(metric)) != signature:
                return (
                    f"the metric '{name}' has another signature there (packages, weights or device): "
                    "start the run on a machine like the nodes"
                )
    except (MetisBenchError, OSError) as error:
        return _told(error)
    return None


def file_fits(asked: FileAsked) -> str | None:
    """Why an input of the plan cannot be had on this machine, or None."""
    try:
        same = sha256_file(Path(asked.path)) == asked.sha256
    except OSError as error:
        return f"cannot read the input {asked.path} ({error.strerror}): {SAME_PATH}"
    return None if same else f"the input {asked.path} is another file there: {SAME_PATH}"


def _told(error: MetisBenchError | OSError) -> str:
    """In one line, with the fix."""
    return " ".join(str(error).split())
