"""`metis-bench baselines doctor`: from the manifest to one item made, rung by rung, with a fix for what is missing.

A rung that is missing stops only those that stand on it, so one look tells all there is to do. The competitor's
libraries are imported by its own worker alone, when it is loaded: a package is found by its metadata.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from metis_bench.baselines import machine
from metis_bench.baselines.inspection import checkout, gpu, interpreter, licence, outputs, packages, tools, weights
from metis_bench.baselines.manifest import ADAPTER, MANIFEST, Baseline, Manifest, find_all, read
from metis_bench.baselines.rows import Row
from metis_bench.errors import ItemError, MetisBenchError, SuiteError, nearest
from metis_bench.systems.baseline import BaselineParams, BaselineSystem, class_of

Tell: TypeAlias = Callable[[str], None]
EMPTY_ADAPTER = "def load(ctx):\n    return None\n"  # what a worker that only has to start is given


@dataclass(frozen=True)
class Report:
    """All rungs in order."""

    name: str
    status: str
    rows: list[Row]

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not any(row.status == "missing" for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 ready, 2 for a manifest that is wrong, 5 for what is missing."""
        return 0 if self.ready else 2 if self.rows[0].status == "missing" else 5

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        rows = [asdict(row) for row in self.rows]
        return {"name": self.name, "status": self.status, "ready": self.ready, "ladder": rows}


@dataclass
class Patient:
    """What the rungs look at. tell: said before what takes long."""

    baseline: Baseline
    smoke: bool
    tell: Tell
    system: BaselineSystem | None = field(default=None)

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.baseline.manifest


Check: TypeAlias = Callable[[Patient], Iterator[Row]]


@dataclass(frozen=True)
class Rung:
    """A step of the ladder, and the steps that it stands on."""

    name: str
    on: tuple[str, ...]
    check: Check


def examine(name: str, *, smoke: bool = True, tell: Tell = lambda _: None) -> Report:
    """The whole ladder of one baseline; `smoke=False` neither loads it nor makes an item.

    Raises SuiteError for an unknown name.
    """
    known = find_all(machine.own_folders())
    if name not in known:
        raise SuiteError(f"unknown baseline '{name}'{nearest(name, known)}", fix="metis-bench baselines list")
    file = known[name] / MANIFEST
    try:
        patient = Patient(read(known[name]), smoke, tell)
    except SuiteError as error:
        wrong = Row("manifest", "missing", str(error), f"correct it, then: metis-bench baselines doctor {name}")
        later = [Row(rung.name, "skipped", "needs the manifest") for rung in LADDERS["runnable"]]
        return Report(name, "", [wrong, *later])
    status = patient.manifest.status
    rows = [Row("manifest", "ok", f"{file} ({status})")]
    try:
        rows += _climb(LADDERS[status], patient)
    finally:
        if patient.system is not None:
            patient.system.close()
    return Report(name, status, rows)


def _climb(ladder: tuple[Rung, ...], patient: Patient) -> Iterator[Row]:
    lacking: set[str] = set()
    for rung in ladder:
        blocked = [name for name in rung.on if name in lacking]
        rows = [Row(rung.name, "skipped", f"needs the {blocked[0]}")] if blocked else list(rung.check(patient))
        if any(row.status in ("missing", "skipped") for row in rows):
            lacking.add(rung.name)
        yield from rows


def _system(baseline: Baseline) -> BaselineSystem:
    """As a run would have it."""
    system = class_of(baseline)(BaselineParams())
    assert isinstance(system, BaselineSystem)
    return system


def _worker(patient: Patient) -> Iterator[Row]:
    """Its interpreter, behind its launcher and in its folder, runs our worker with an adapter that does nothing."""
    with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
        (Path(folder) / ADAPTER).write_text(EMPTY_ADAPTER)
        system = _system(Baseline(patient.manifest, Path(folder)))
        try:
            system.setup()
        except MetisBenchError as error:
            command = shlex.join(machine.command(patient.manifest))
            yield Row("worker", "missing", error.message, f"{command} -c pass   must run; {ABOUT_LAUNCHERS}")
            return
        system.close()
    yield Row("worker", "ok", "starts and answers")


ABOUT_LAUNCHERS = "behind a launcher the package's and the temporary folder must be visible (docs/baselines.md)"


def _load(patient: Patient) -> Iterator[Row]:
    if not patient.smoke:
        yield Row("load", "skipped", "not asked for (--no-smoke)")
        return
    manifest = patient.manifest
    patient.tell(f"loading {manifest.name} (at most {manifest.limits.load_s:g} s)")
    system = _system(patient.baseline)
    try:
        system.setup()
    except MetisBenchError as error:
        yield Row("load", "missing", error.message, _look_into(patient))
        return
    patient.system = system
    yield Row("load", "ok", "the model is loaded")


def _look_into(patient: Patient) -> str:
    name = patient.manifest.name
    return f"see its notes (metis-bench baselines show {name}) and {patient.baseline.adapter}, then try again"


def _smoke(patient: Patient) -> Iterator[Row]:
    from metis_bench.baselines import smoke

    assert patient.system is not None
    manifest = patient.manifest
    if manifest.io.languages and smoke.LANGUAGE not in manifest.io.languages:
        yield Row("smoke", "warning", f"not tried: the item is in '{smoke.LANGUAGE}', which it does not speak")
        return
    for task in manifest.tasks:
        patient.tell(f"making one item ({task})")
        with tempfile.TemporaryDirectory(prefix="metis-bench-") as folder:
            try:
                request = smoke.item(task, Path(folder))
                output = patient.system.generate(request)
            except ItemError as error:
                yield Row("smoke", "missing", f"{task}: {error.message}", _look_into(patient))
                continue
            except MetisBenchError as error:
                yield Row("smoke", "missing", f"{task}: {error.message}", error.fix or _look_into(patient))
                continue
        wrong = smoke.implausible(output, request, manifest)
        facts = f"{task}: {output.seconds:.2f} s at {output.rate} Hz"
        if wrong is None:
            yield Row("smoke", "ok", facts)
        else:
            yield Row("smoke", "missing", f"{facts}, which cannot be speech: {wrong}", _look_into(patient))


def _published(_: Manifest) -> Iterator[Row]:
    yield Row("outputs", "skipped", "there are only published numbers of it: nothing to run")


def _of_manifest(check: Callable[[Manifest], Iterator[Row]]) -> Check:
    return lambda patient: check(patient.manifest)


LADDERS: dict[Literal["runnable", "manual", "published"], tuple[Rung, ...]] = {
    "runnable": (
        Rung("licence", (), _of_manifest(licence)),
        Rung("interpreter", (), _of_manifest(interpreter)),
        Rung("packages", ("interpreter",), _of_manifest(packages)),
        Rung("checkout", (), _of_manifest(checkout)),
        Rung("weights", (), _of_manifest(weights)),
        Rung("tools", (), _of_manifest(tools)),
        Rung("gpu", (), _of_manifest(gpu)),
        Rung("worker", ("interpreter",), _worker),
        Rung("load", ("licence", "packages", "checkout", "weights", "tools", "gpu", "worker"), _load),
        Rung("smoke", ("load",), _smoke),
    ),
    "manual": (Rung("outputs", (), _of_manifest(outputs)),),
    "published": (Rung("outputs", (), _of_manifest(_published)),),
}
