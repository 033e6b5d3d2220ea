"""The host's side of a worker: starts it, hands it items, and survives whatever it does.

An item at which the worker dies or hangs is tried once more in a fresh worker, then it is a failure with the last lines
of stderr; the others go on. Three items lost in a row, or a failed loading, end the baseline: nothing else of it runs.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from metis_bench.baselines import processes
from metis_bench.baselines.manifest import Limits

PROGRAM = Path(__file__).with_name("worker.py")
START_S = 60.0  # an interpreter's start, behind the slowest launcher
MAX_LOST = 3  # items in a row
LOOK_S = 0.5  # how often memory is looked at
LOG_BYTES = 1 << 26  # of stderr, before it begins anew
GRACE_S = 2.0  # for the adapter's `close`
LAST_LINES, LAST_CHARACTERS, LAST_BYTES = 5, 1000, 1 << 16  # of stderr
PREFIX, OWNER, TOKENS = "metis-bench-", "owner", "marks"  # of hosts' folders, and what says whose they are
POISON = ("CUDA error", "device-side assert", "cuBLAS", "CUDNN_STATUS")  # after which a process is of no use


@dataclass(frozen=True)
class Launch:
    """Everything that starts one baseline: data only."""

    command: Sequence[str]
    adapter: Path
    options: Mapping[str, Any]
    device: str
    repo: Path | None
    weights: Mapping[str, Path]
    cwd: Path | None  # None: the work folder
    pythonpath: Sequence[Path]
    env: Mapping[str, str]
    limits: Limits


@dataclass(frozen=True)
class Made:
    """An output file that the worker wrote, still to be validated."""

    path: Path
    seconds: float
    peak_mb: float | None
    cuda_mb: float | None


@dataclass(frozen=True)
class Failed:
    """Why an item has no output."""

    reason: str


class Unusable(Exception):
    """The baseline cannot be loaded, or loses every item: there is no sense in going on."""


class Miscounted(Exception):
    """A batch came back with more results than items: nobody knows whose is whose."""


class _Died(Exception):
    """The worker is gone, or had to be killed."""


def _with(reason: str, words: str) -> str:
    return f"{reason} [stderr: {words}]" if words else reason


class _Worker:
    """One process."""

    def __init__(self, launch: Launch, work: Path, log: IO[bytes]) -> None:
        self.limits, self.log, self.began = launch.limits, log, log.seek(0, os.SEEK_END)
        self.token = secrets.token_hex(12)
        self.looked = time.monotonic()
        paths = [*map(str, launch.pythonpath), *filter(None, [launch.env.get("PYTHONPATH")])]
        env = {**os.environ, **launch.env, processes.MARK: self.token, "TMPDIR": str(work), "PYTHONUNBUFFERED": "1"}
        env.pop("PYTHONPATH", None)  # ours is not the competitor's
        env |= {"PYTHONPATH": os.pathsep.join(paths)} if paths else {}
        try:
            self.process = subprocess.Popen(
                [*launch.command, str(PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=launch.cwd or work,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise Unusable(f"{launch.command[0]} cannot be started: {error.strerror}") from None
        assert self.process.stdout is not None
        self.pending = b""
        os.set_blocking(self.process.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def tell(self, **command: Any) -> None:
        """Send a command. A dead worker is noticed at the next answer."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()

    def answer(self, seconds: float) -> dict[str, Any]:
        """The next event. Raises _Died when it dies, hangs, swells, or says what is no event."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.pending:
            now = time.monotonic()
            if now > deadline:
                raise _Died(f"timed out after {seconds:g} s")
            if self.selector.select(timeout=min(LOOK_S, deadline - now)):
                data = os.read(self.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]  # checked in __init__
                if not data:
                    raise _Died(self._epitaph())
                self.pending += data
            elif self.process.poll() is not None:  # a child that it forked may hold its pipe open
                raise _Died(self._epitaph())
            self._weigh()
        line, _, self.pending = self.pending.partition(b"\n")
        try:
            event: dict[str, Any] = json.loads(line)
            assert isinstance(event["event"], str)
        except (ValueError, KeyError, TypeError, AssertionError):
            raise _Died(f"it wrote into the protocol's pipe: {line[:80]!r}") from None
        return event

    def _weigh(self) -> None:
        if time.monotonic() < self.looked + LOOK_S:
            return
        self.looked = time.monotonic()
        if os.fstat(self.log.fileno()).st_size > LOG_BYTES:
            os.ftruncate(self.log.fileno(), 0)
            self.began = 0
        limit = self.limits.memory_gb or 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        used = processes.resident_gb(self.process.pid)
        if used > limit:
            raise _Died(f"used {used:.1f} GiB of memory (limit {limit:.1f})")

    def _epitaph(self) -> str:
        code = self.process.wait()
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def last_words(self) -> str:
        """The end of what this process wrote to stderr, in one line."""
        self.log.seek(max(self.began, self.log.seek(0, os.SEEK_END) - LAST_BYTES))
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-LAST_LINES:])[-LAST_CHARACTERS:]

    def leave(self) -> None:
        """Let it close, then end it."""
        self.tell(op="quit")
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        self.end()

    def end(self) -> None:
        """Kill it and all that it started."""
        processes.end(self.process, self.token)
        self.selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


class Host:
    """One worker at a time, loaded when the first item comes. Its folder is gone when it is closed."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.work, self.items = self.folder / "work", self.folder / "items"
        (self.folder / OWNER).write_text(str(os.getpid()), encoding="ascii")
        self._log = (self.folder / "stderr.log").open("a+b")
        self._worker: _Worker | None = None
        self._lost: list[str] = []  # items in a row
        self._over: str | None = None
        self.load_s: float | None = None
        self.tokens: list[str] = []  # the marks of all workers it had

    def close(self) -> None:
        """End the worker and remove its folder."""
        if self._worker is not None:
            self._worker.leave()
        self._worker = None
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Load the baseline if it is not. Raises Unusable."""
        if self._over is not None:
            raise Unusable(self._over)
        if self._worker is not None:
            return
        for folder in (self.work, self.items):  # an adapter may have deleted them
            folder.mkdir(exist_ok=True)
        self._worker = worker = _Worker(self.launch, self.work, self._log)
        self.tokens.append(worker.token)
        (self.folder / TOKENS).write_text("\n".join(self.tokens), encoding="ascii")
        try:
            self._expect(worker, "hello", START_S)
            worker.tell(
                op="load",
                adapter=str(self.launch.adapter),
                options=dict(self.launch.options),
                device=self.launch.device,
                repo=None if self.launch.repo is None else str(self.launch.repo),
                weights={name: str(path) for name, path in self.launch.weights.items()},
                work=str(self.work),
            )
            self.load_s = float(self._expect(worker, "loaded", self.launch.limits.load_s)["seconds"])
        except _Died as death:
            raise self._give_up(f"cannot be loaded: {death}", worker) from None

    def _expect(self, worker: _Worker, event: str, seconds: float) -> dict[str, Any]:
        answer = worker.answer(seconds)
        if answer["event"] == "broken":
            raise _Died(f"{answer['kind']}: {answer['message']}")
        if answer["event"] != event:
            raise _Died(f"it answered {answer['event']!r}, not {event!r}")
        return answer

    def _give_up(self, reason: str, worker: _Worker) -> Unusable:
        self._over = f"the baseline {_with(reason, worker.last_words())}"
        self._drop()
        return Unusable(self._over)

    def _drop(self) -> None:
        if self._worker is not None:
            self._worker.end()
        self._worker = None

    def make(self, items: Sequence[Mapping[str, Any]]) -> Iterator[Made | Failed]:
        """One outcome an item, in their order, as they come; to be read to its end, or the worker is not at its own.

        Raises Unusable; what was not yielded is lost then. Raises Miscounted: then what was yielded is worth nothing.
        """
        at, tried = 0, -1
        while at < len(items):
            self.start()
            worker = self._worker
            assert worker is not None
            worker.tell(op="run", first=at, items=[dict(item) for item in items[at:]])
            try:
                for outcome in self._outcomes(worker, at, len(items)):
                    self._lost = [] if isinstance(outcome, Made) else self._lost
                    at += 1
                    yield outcome
                self._finish(worker)
            except _Died as death:
                reason, words = str(death), worker.last_words()
                if at == len(items):  # it died of nobody's item
                    self._drop()
                elif tried < at:
                    tried = at  # once more, in a fresh worker
                    self._drop()
                else:
                    self._lose(str(items[at]["id"]), reason, worker)
                    at += 1
                    yield Failed(f"the worker died twice at this item: {_with(reason, words)}")

    def _lose(self, item: str, reason: str, worker: _Worker) -> None:
        self._lost = [*(name for name in self._lost if name != item), item]
        if len(self._lost) >= MAX_LOST:
            raise self._give_up(f"lost {MAX_LOST} items in a row, the last: {reason}", worker)
        self._drop()

    def _finish(self, worker: _Worker) -> None:
        """After the last outcome."""
        event = worker.answer(self.launch.limits.item_s)
        if event["event"] != "end":
            raise _Died("it did not end its run")
        if event["surplus"]:
            raise Miscounted("run_batch returned more results than items, so nobody knows whose is whose")

    def _outcomes(self, worker: _Worker, first: int, end: int) -> Iterator[Made | Failed]:
        for number in range(first, end):
            start = worker.answer(self.launch.limits.item_s)
            event = worker.answer(self.launch.limits.item_s) if start["event"] == "start" else start
            if start["event"] != "start" or start["item"] != number or event.get("item") != number:
                raise _Died("it lost count of the items")
            if event["event"] == "made":
                yield Made(Path(event["path"]), event["seconds"], event["peak_mb"], event["cuda_mb"])
            elif event["event"] == "failed":
                if any(word in event["message"] for word in POISON):
                    raise _Died(f"{event['kind']}: {event['message']}")
                yield Failed(f"{event['kind']}: {event['message']}")
            else:
                raise _Died(f"it answered {event['event']!r}")


def sweep() -> None:
    """Remove what hosts of processes that were killed have left: folders, and competitors' processes."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with suppress(OSError, ValueError):
            if _alive(int(owner.read_text(encoding="ascii"))):
                continue
            marks = owner.with_name(TOKENS)
            for token in marks.read_text(encoding="ascii").split() if marks.is_file() else ():
                processes.end_marked(token)
            shutil.rmtree(owner.parent, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
