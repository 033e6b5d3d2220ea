"""The straight line: plan -> generate -> measure -> aggregate -> report, each stage writing its file in the run folder.

    RUN/run.json  plan.jsonl  generations.jsonl  scores.jsonl  results.json  report/

The store is the only truth: a run folder can be deleted and made again without generating anything.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from metis_bench import provenance
from metis_bench.baselines.host import sweep
from metis_bench.config import LOCAL, Config
from metis_bench.engine import seal
from metis_bench.engine.aggregate import aggregate
from metis_bench.engine.executor import Executor
from metis_bench.engine.features import transcript
from metis_bench.engine.generate import generate
from metis_bench.engine.local import LocalExecutor
from metis_bench.engine.measure import measure
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.prepare import Prepared, keep_rtf, keep_scoring, prepare
from metis_bench.engine.progress import Progress, quiet
from metis_bench.engine.protocol import score_lines
from metis_bench.engine.store import Store
from metis_bench.errors import Interrupted, UsageError
from metis_bench.files import atomic_writer, write_atomic
from metis_bench.hashing import JSON
from metis_bench.suite.schema import Suite

OK, VIOLATED, ITEMS_FAILED = 0, 3, 6
HEADER_KEYS = {"id", "suite", "store", "provenance"}


@dataclass(frozen=True)
class RunResult:
    """A finished run."""

    folder: Path
    report: Path
    results: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0 complete; 3 an oracle order is violated; 6 a row failed, or a ranked system has an undefined score."""
        if any(c["ok"] is False for c in self.results["oracle_checks"]):
            return VIOLATED
        ranked = {s["name"] for s in self.results["systems"] if s["ranked"]}
        bad = any(f["status"] == "failed" or f["system"] in ranked for f in self.results["failures"])
        return ITEMS_FAILED if bad else OK


def run_folder(prepared: Prepared, config: Config, out: Path | None) -> Path:
    """`out`, or runs/<suite>-<profile>-<hash>. Raises UsageError when `out` holds another run or is a file."""
    name = "-".join(x for x in (prepared.suite.name, prepared.suite.profile, prepared.id[:8]) if x)
    folder = out or config.runs / name
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder")
    # run.json is the first file to appear; hidden ones are of a run that is starting beside this one
    used = folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())
    if used and read_header(folder, missing_ok=True).get("id") != prepared.id:
        raise UsageError(f"{folder} is not empty, and not this run's", fix="choose another --out, or delete it")
    return folder


def read_header(folder: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    """A run's run.json. Raises UsageError when it is absent (unless `missing_ok`: {}) or damaged."""
    path = folder / "run.json"
    if missing_ok and not path.exists():
        return {}
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}", fix="delete the folder, or run the suite again") from None
    if not isinstance(header, dict) or not set(header) >= HEADER_KEYS:
        raise UsageError(f"{path} is not the header of a run", fix="delete the folder, or run the suite again")
    return header


def require_writable(folder: Path, what: str) -> None:
    """Raise UsageError now rather than after an hour of work."""
    probe = folder / f".write-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"the {what} {folder} cannot be written: {error.strerror}") from None


def require_store(config: Config) -> Store:
    """The store of this machine. Raises UsageError now rather than after an hour of work."""
    if isinstance(config.store, Path):
        require_writable(config.store, "store")
    elif config.store.startswith("memory:"):
        raise UsageError(f"{config.store} lives in one process, and workers are others", fix="choose another --store")
    store, probe = Store(config.store), f".write-{os.getpid()}"
    try:
        if isinstance(config.store, str):
            store.files.write(probe, b"")
            store.files.remove(probe)
    except OSError as error:
        raise UsageError(f"the store {config.store} cannot be written: {error.strerror or error}") from None
    return store


def executor_for(config: Config, store: Store) -> Executor:
    """Where the config says that work is done. Raises MissingPrerequisite where there is no cluster, or no Ray."""
    if config.executor == LOCAL:
        return LocalExecutor(config)
    from metis_bench.engine.ray import RayExecutor  # never imported unless it is chosen

    return RayExecutor(config, store)


def run(
    suite: Suite,
    config: Config,
    *,
    out: Path | None = None,
    progress: Progress = quiet,
    require: Callable[[Prepared], None] = Prepared.require_unblocked,
) -> RunResult:
    """Run a suite to its report; what the store already holds is not done again.

    require: raises MissingPrerequisite, before anything runs, where it must not (default: a system or all metrics are
    blocked). Raises Interrupted on Ctrl-C or SIGTERM (running again resumes).
    """
    store = require_store(config)
    prepared = prepare(suite, config, progress)
    require(prepared)
    folder = run_folder(prepared, config, out)
    require_writable(folder, "run folder")
    plan = prepared.plan
    write_json(folder / "run.json", header(prepared, config))
    items = (i.to_json() for s in plan.sets for i in s.items)
    write_lines(folder / "plan.jsonl", chain(items, (r.to_json() for r in plan.rows)))
    outputs = Outputs(plan, store)
    try:
        with executor_for(config, store) as executor:
            generate(suite, outputs, executor, config, progress)
            keep_rtf(prepared, outputs)
            write_lines(folder / "generations.jsonl", outputs.lines())
            started = time.monotonic()
            scores = measure(outputs, prepared.bound, executor, config, progress, folder)
            keep_scoring(prepared, store, time.monotonic() - started, scores.looked_at, config)
    except KeyboardInterrupt:
        write_lines(folder / "generations.jsonl", outputs.lines())
        raise Interrupted(
            f"stopped; everything finished so far is kept ({folder})", fix="run the same command again to resume"
        ) from None
    finally:
        sweep()  # workers that were killed could not tidy up
    write_lines(folder / "scores.jsonl", score_lines(suite, plan, prepared.bound, scores))
    results = aggregate(suite, outputs, prepared.bound, scores, prepared.fingerprints)
    write_json(folder / "results.json", results)
    write_json(folder / seal.FILE, seal.seal(folder))
    return RunResult(folder, render(folder, store), results)


def render(folder: Path, store: Store) -> Path:
    """(Re-)write RUN/report from the run's files; returns its index.html."""
    from metis_bench.report import render as render_report

    return render_report(folder, store.audio_path, partial(transcript, store))


def header(prepared: Prepared, config: Config) -> dict[str, JSON]:
    """run.json: the resolved suite and where this was made."""
    suite = prepared.suite
    return {
        "schema": 1,
        "id": prepared.id,
        "suite": suite.header(),
        "seeds": list(suite.seeds),
        "resolved": suite.to_json(),
        "store": str(config.store),
        "config": None if config.file is None else str(config.file),
        "provenance": provenance.collect(),
    }


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Atomically write indented JSON; NaN is refused."""
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Atomically write one JSON object a line, as they come; NaN is refused."""
    with atomic_writer(path) as stream:
        for line in lines:
            stream.write((json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n").encode())
