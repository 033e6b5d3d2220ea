"""eSpeak NG in a process of its own, `_espeak_server`: the library (GPL-3, optional) never enters this one."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from types import TracebackType
from typing import IO, Any, TypeVar

from reference_models import _espeak_server
from reference_models.errors import MetisError

LIBRARY_VARIABLE = "METIS_ESPEAK_LIBRARY"  # path of another eSpeak NG library
START_S = 30.0  # how long the server may take to load
GRACE_S = 5.0  # how long it may outlast the request's own time limit

Self = TypeVar("Self", bound="EspeakProcess")


class EspeakProcess:
    """One server process, started at the first use and again after a crash, hang or fork. Thread-safe.

    timeout_s: what one request may take. Use as a context manager, call close(), or drop it.
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._server: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._owner = 0
        self._hello: dict[str, Any] = {}

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        with self._lock:
            self._stop()

    def library(self) -> tuple[str, str]:
        """(library, data folder; empty: the library's own). Raises MissingPackage."""
        raise NotImplementedError

    def hello(self) -> dict[str, Any]:
        """What the server said when it started: `version` of the library, such as '1.52.0', and `rate` in Hz."""
        with self._lock:
            self._start()
        return self._hello

    def ask(self, do: str, timeout_s: float | None = None, **request: Any) -> tuple[dict[str, Any], bytes]:
        """The reply to one request (a function of `_espeak_server`) and its bytes; a failed one has an `error`.

        timeout_s: another limit than this object's. Raises MissingPackage, MetisError (the library does not start).
        """
        with self._lock:
            return self._ask({**request, "do": do, "timeout_s": timeout_s or self.timeout_s}, again=True)

    def _ask(self, request: dict[str, Any], again: bool) -> tuple[dict[str, Any], bytes]:
        """A server that died since the last request (`again`) is replaced once."""
        self._start()
        assert self._server is not None and self._server.stdin is not None
        try:
            _espeak_server.write_all(self._server.stdin.fileno(), _espeak_server.pack(request))
            return self._receive(request["timeout_s"] + GRACE_S)
        except TimeoutError as error:
            self._stop()
            return {"error": str(error)}, b""
        except (OSError, EOFError):
            status = self._server.wait()
            self._stop()
            return self._ask(request, again=False) if again else ({"error": f"eSpeak NG has ended ({status})"}, b"")

    def _start(self) -> None:
        if self._server is not None and self._owner == os.getpid() and self._server.poll() is None:
            return
        self._stop()
        command = [sys.executable, "-I", "-S", _espeak_server.__file__, *self.library(), str(os.getpid())]
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._server, self._owner = server, os.getpid()
        self._end = weakref.finalize(self, _kill, server, os.getpid())
        try:
            self._hello, _ = self._receive(START_S)
        except (TimeoutError, EOFError) as error:
            self._hello = {"error": str(error)}
        if "error" in self._hello:
            self._stop()
            raise MetisError(f"eSpeak NG does not start: {self._hello['error']}", fix=self.reinstall())

    def reinstall(self) -> str:
        """What to do about a library that does not start."""
        return 'pip install --force-reinstall "espeakng-loader>=0.2.4"'

    def _stop(self) -> None:
        if self._end is not None and self._owner == os.getpid():
            self._end()
        self._server = self._end = None

    def _receive(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """One message. Raises TimeoutError when the server is late, EOFError when it is gone."""
        assert self._server is not None and self._server.stdout is not None
        pipe, deadline = self._server.stdout, time.monotonic() + timeout_s
        try:
            size = _espeak_server.LENGTH.unpack(_read(pipe, _espeak_server.LENGTH.size, deadline))[0]
            message: dict[str, Any] = json.loads(_read(pipe, size, deadline))
            return message, _read(pipe, message["bytes"], deadline)
        except TimeoutError:
            raise TimeoutError(f"eSpeak NG does not answer within {timeout_s:g} s") from None


def _read(pipe: IO[bytes], count: int, deadline: float) -> bytes:
    """`count` bytes. Raises TimeoutError after `deadline` (monotonic seconds), EOFError when the pipe is closed."""
    waiting = select.poll()  # select() knows no file numbers above 1023
    waiting.register(pipe, select.POLLIN)
    data = b""
    while len(data) < count:
        if not waiting.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        block = pipe.read(count - len(data))
        if not block:
            raise EOFError("eSpeak NG has ended")
        data += block
    return data


def _kill(server: subprocess.Popen[bytes], owner: int) -> None:
    """End `server`, unless this process is a fork of its owner."""
    if owner != os.getpid():
        return
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()
    server.kill()  # it holds nothing worth saving; a child in flight ends at its own alarm
    server.wait()
