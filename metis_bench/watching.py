"""A gate on every new checkpoint that appears in a folder, and the history of its verdicts.

    DIR/history.jsonl    one line a checkpoint: what it was, the verdict, every check
    DIR/history.html     the same to look at

A checkpoint is known by its name and content: one under an old name with other bytes is new. What is in the history is
never run again; delete its line to have it. The history is written after the gate: whatever stops this loses nothing,
because the store keeps what a run has finished.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from metis_bench.config import Config
from metis_bench.engine.prepare import Prepared
from metis_bench.engine.run import RunResult, run
from metis_bench.errors import Interrupted, MetisBenchError, MissingPrerequisite, UsageError
from metis_bench.files import write_atomic
from metis_bench.gating import EXIT_CODES, GRAVEST, Check, Gate, Policy, Verdict, gate
from metis_bench.hashing import sha256_file, sha256_json
from metis_bench.report.data import load_run
from metis_bench.report.history import history_page
from metis_bench.suite.schema import Suite

HISTORY, PAGE = "history.jsonl", "history.html"
POLL_S = 1.0
Outcome: TypeAlias = Verdict | Literal["BROKEN"]


@dataclass(frozen=True)
class Entry:
    """One checkpoint's line. state: sizes and times of its files; sha256: of their content.

    verdict: BROKEN where no run, or no output, came of it, `reason` says why
    run: its folder, relative to DIR where that is possible
    """

    checkpoint: str
    sha256: str
    state: str
    when: str
    verdict: Outcome
    reason: str
    run: str | None = None
    checks: tuple[Check, ...] = field(default=())

    @property
    def exit_code(self) -> int:
        """As the gate's; a broken checkpoint cannot be compared."""
        return EXIT_CODES["INVALID" if self.verdict == "BROKEN" else self.verdict]


@dataclass(frozen=True)
class Watch:
    """What to do with each checkpoint.

    folder, pattern: where they appear, and what they are called (a file, or a folder)
    param: NAME.PARAM, the system and its parameter that takes the path;  load: the suite with one more override
    settle_s: seconds that its files must stay as they are
    """

    folder: Path
    pattern: str
    param: str
    load: Callable[[str], Suite]
    config: Config
    policy: Policy
    against: Path
    settle_s: float = 5.0

    def suite(self, checkpoint: Path) -> Suite:
        """Raises SuiteError where the suite has no such system or parameter."""
        return self.load(f"systems.{self.param}={json.dumps(str(checkpoint.resolve()))}")


Require: TypeAlias = Callable[[Prepared], None]
Judge: TypeAlias = Callable[[Suite, Require], RunResult]


def watch(
    what: Watch, *, once: bool = False, told: Callable[[Entry], None] = lambda _: None, judge: Judge | None = None
) -> list[Entry]:
    """Handle checkpoints until Ctrl-C; once: until all that are there are settled and in the history.

    told: called with each new entry;  judge: runs the suite as it is required (default: engine.run.run)
    Returns the new entries. Raises what no checkpoint can be blamed for: UsageError, SuiteError, MissingPrerequisite,
    CorpusError; its checkpoint is not in the history then. Interrupted on Ctrl-C (resumable).
    """
    if not what.folder.is_dir():
        raise UsageError(f"{what.folder} is not a folder")
    system, _, parameter = what.param.rpartition(".")
    if not system or not parameter:
        raise UsageError(f"--param is NAME.PARAM, as metis-tts.stage1, not '{what.param}'")
    known = {(entry.checkpoint, entry.state) for entry in read_history(what.folder)}
    seen: dict[Path, tuple[str, float]] = {}
    new: list[Entry] = []
    try:
        while True:
            waiting = False
            for path, state in _unknown(what, known):
                if seen.get(path, ("", 0.0))[0] != state:
                    seen[path] = (state, time.monotonic())
                if time.monotonic() - seen[path][1] < what.settle_s:
                    waiting = True
                    continue
                known.add((_name(what, path), state))
                entry = _entry(what, path, state, judge or _run(what.config))
                if entry is not None:
                    _add(what.folder, entry)
                    new.append(entry)
                    told(entry)
            if once and not waiting:
                return new
            time.sleep(min(POLL_S, what.settle_s))
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {HISTORY} is complete", fix="run the same command again to go on") from None


def read_history(folder: Path) -> list[Entry]:
    """Oldest first. Raises MetisBenchError with file and line."""
    path, adapter = folder / HISTORY, TypeAdapter(Entry)
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                entries.append(adapter.validate_json(line))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise MetisBenchError(
                    f"not an entry of a history ({first['msg']})",
                    where=path,
                    line=number,
                    fix="delete the line: its checkpoint is then run again",
                ) from None
    return entries


def write_history(folder: Path, entries: list[Entry]) -> None:
    """Both files, each at once."""
    lines = (json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False) + "\n" for entry in entries)
    write_atomic(folder / HISTORY, "".join(lines).encode())
    write_atomic(folder / PAGE, history_page(folder.resolve().name, entries).encode())


def _add(folder: Path, entry: Entry) -> None:
    """Read anew: another command may watch the folder, for other checkpoints or the same."""
    history = read_history(folder)
    if not _there(history, entry.checkpoint, entry.sha256):
        write_history(folder, [*history, entry])


def _there(history: list[Entry], name: str, content: str) -> bool:
    return any((entry.checkpoint, entry.sha256) == (name, content) for entry in history)


def exit_code(entries: list[Entry]) -> int:
    """Of the gravest verdict; 0 without any."""
    found = {entry.exit_code for entry in entries}
    return next((EXIT_CODES[verdict] for verdict in GRAVEST if EXIT_CODES[verdict] in found), 0)


def _unknown(what: Watch, known: set[tuple[str, str]]) -> Iterator[tuple[Path, str]]:
    """Checkpoints with their states that are not in the history, the oldest first."""
    found = []
    for path in what.folder.glob(what.pattern):
        if path.name.startswith(".") or path.name in (HISTORY, PAGE):
            continue
        try:
            files = [(f.relative_to(what.folder).as_posix(), f.stat()) for f in _files(path)]
        except FileNotFoundError:  # it is just being replaced
            continue
        state = sha256_json([[name, stat.st_size, stat.st_mtime_ns] for name, stat in files])[:16]
        if files and (_name(what, path), state) not in known:
            found.append((max(stat.st_mtime_ns for _, stat in files), path, state))
    yield from ((path, state) for _, path, state in sorted(found))


def _files(path: Path) -> list[Path]:
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def _name(what: Watch, path: Path) -> str:
    return path.relative_to(what.folder).as_posix()


def _run(config: Config) -> Judge:
    return lambda suite, require: run(suite, config, require=require)


def _entry(what: Watch, path: Path, state: str, judge: Judge) -> Entry | None:
    """Run and gate one checkpoint; None where its content is in the history already, or it has vanished.

    An error that names its file is its fault: BROKEN. All others are the suite's or this machine's, and are raised.
    """
    name = _name(what, path)
    try:
        content = sha256_json({f.relative_to(path).as_posix(): sha256_file(f) for f in _files(path)})
    except FileNotFoundError:
        return None
    if _there(read_history(what.folder), name, content):
        return None
    suite = what.suite(path)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        result = judge(suite, partial(_require, what))
    except Interrupted:
        raise
    except MetisBenchError as error:
        if not path.exists():
            return None
        if str(path.resolve()) not in f"{error.where}: {error.message}":
            raise
        return Entry(name, content, state, when, "BROKEN", str(error))
    found = gate(result.folder, what.against, what.policy)
    place, lost = os.path.relpath(result.folder, what.folder), _nothing_made(what, result)
    if lost is not None:
        return Entry(name, content, state, when, "BROKEN", lost, place, found.checks)
    return Entry(name, content, state, when, found.verdict, _reason(found, result), place, found.checks)


def _nothing_made(what: Watch, result: RunResult) -> str | None:
    """Why no output at all came of the checkpoint (it cannot be loaded, or gives NaN everywhere); None if one did."""
    system = what.param.rpartition(".")[0]
    made = [g for key, g in load_run(result.folder).generations.items() if key[2] == system]
    if not made or any(g.status == "ok" for g in made):
        return None
    return f"none of {len(made)} outputs was made: {made[0].reason}"


def _require(what: Watch, prepared: Prepared) -> None:
    """As any run; and what the policy asks for and the baseline has must be measurable here."""
    prepared.require_unblocked()
    there = {cell.column for cell in load_run(what.against).results.cells if cell.value is not None}
    for bound in prepared.bound:
        for column in bound.metric.columns if bound.blocked else ():
            if column.id in there and {column.id, column.family} & set(what.policy.metrics):
                raise MissingPrerequisite(
                    f"the policy asks for '{column.id}', which cannot be measured here: {bound.blocked}",
                    fix="`metis-bench plan` says what is missing; or leave it out of the policy",
                )


def _reason(found: Gate, result: RunResult) -> str:
    """Why: of the run itself, else of the checks that decided; and what failed, where something did."""
    checks = [f"{c.system}, {c.set}, {c.column}: {c.reason}" for c in found.checks if c.verdict == found.verdict]
    failures = [f"first failure: {f['reason']}" for f in result.results["failures"][:1]]
    return "; ".join([*(found.problems or checks[:1]), *failures])
