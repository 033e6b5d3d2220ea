"""eSpeak NG as a function: the same request gives the same bits, in any order, process and repetition.

The library (GPL-3, optional, from the `espeakng-loader` wheel) never enters this process: `_espeak_server` does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import unicodedata
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError, MetisError, MissingPackage, VoiceError, nearest
from reference_models.mini._espeak_server import LENGTH
from reference_models.mini._espeak_server import __file__ as SERVER
from reference_models.mini.alignment import Phone, spans

START_S = 30.0  # how long the server may take to load
GRACE_S = 5.0  # how long the server may outlast the utterance's own time limit


@dataclass(frozen=True)
class Voice:
    """How to say it. name: language and optional variant (`en-us+f2`); rate: words a minute (80..450);

    pitch, range: 0..99, eSpeak's own scale; volume: 0..200, 100 is the voice's own level.
    """

    name: str = "en-us"
    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


@dataclass(frozen=True)
class Spoken:
    """samples: (T,) at `rate` Hz; phones: all of it, pauses too, without gaps."""

    samples: NDArray[np.float32]
    rate: int
    phones: tuple[Phone, ...]

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def library_paths() -> tuple[str, str]:
    """(library, data folder) of the espeakng-loader wheel. Raises MissingPackage."""
    try:
        import espeakng_loader
    except ImportError:
        raise MissingPackage("eSpeak NG speech", "espeakng-loader", "embedded") from None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def plain_text(text: str) -> str:
    """`text` without control characters: eSpeak reads commands after Ctrl-A, and stops at NUL.

    Raises InputError for text without a single visible character or not expressible in UTF-8.
    """
    clean = "".join(" " if unicodedata.category(c) in {"Cc", "Co", "Cn"} else c for c in text).strip()
    if not clean:
        raise InputError("there is no text to speak")
    if any(unicodedata.category(c) == "Cs" for c in clean):
        raise InputError("the text holds lone surrogates, which are not UTF-8")
    return clean


class EspeakEngine:
    """Speaks through one server process, started at the first use and again after a crash or a fork of this process.

    timeout_s: what one utterance may take. Use as a context manager, or call close().
    """

    def __init__(self, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        self._server: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._hello: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> EspeakEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def synthesize(self, text: str, voice: Voice, seed: int = 0) -> Spoken:
        """`text` said by `voice`, mono at eSpeak's 22050 Hz; markup is read out, never interpreted.

        Raises InputError (nothing to speak, crash, timeout), VoiceError, MissingPackage.
        """
        clean = plain_text(text)
        with self._lock:
            self._start()
            self._check_voice(voice.name)
            reply, pcm = self._ask(self._request(clean, voice, seed))
            rate = int(self._hello["rate"])
        if "error" in reply:
            raise InputError(reply["error"])
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
        if not samples.any():
            raise InputError(f"eSpeak voice '{voice.name}' finds nothing to speak in {clean[:40]!r}")
        return Spoken(samples, rate, spans(reply["phones"], samples, rate))

    def check_voice(self, name: str) -> None:
        """Raise VoiceError with the nearest valid name when eSpeak has no voice `name`."""
        with self._lock:
            self._start()
            self._check_voice(name)
            reply, _ = self._ask(self._request("a", Voice(name), 0))
        if "error" in reply:  # eSpeak lists a few voices that it cannot load, such as en-gb
            raise VoiceError(f"{reply['error']}{nearest(name, [v for v in self._hello['voices'] if v != name])}")

    def close(self) -> None:
        """End the server."""
        server, self._server = self._server, None
        if server is None or self._owner != os.getpid():
            return
        for pipe in (server.stdin, server.stdout):
            if pipe is not None:
                pipe.close()
        server.kill()  # it holds nothing worth saving; a child in flight ends at its own alarm
        server.wait()

    def _request(self, text: str, voice: Voice, seed: int) -> dict[str, Any]:
        return {**asdict(voice), "voice": voice.name, "text": text, "seed": seed, "timeout_s": self.timeout_s}

    def _check_voice(self, name: str) -> None:
        language, _, variant = name.partition("+")
        if language not in self._hello["voices"]:
            raise VoiceError(f"eSpeak has no voice '{language}'{nearest(language, self._hello['voices'])}")
        if variant and variant not in self._hello["variants"]:
            raise VoiceError(f"eSpeak has no voice variant '{variant}'{nearest(variant, self._hello['variants'])}")

    def _start(self) -> None:
        if self._server is not None and self._owner == os.getpid() and self._server.poll() is None:
            return
        self.close()
        library, data = library_paths()
        command = [sys.executable, "-I", "-S", SERVER, library, data, str(os.getpid())]
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        self._owner = os.getpid()
        self._hello, _ = self._receive(START_S)
        if "error" in self._hello:
            reason = self._hello["error"]
            self.close()
            raise MetisError(
                f"eSpeak NG does not start: {reason}",
                fix='pip install --force-reinstall "espeakng-loader>=0.2.4"',
            )

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        data = json.dumps(request).encode()
        assert self._server is not None and self._server.stdin is not None
        try:
            self._server.stdin.write(LENGTH.pack(len(data)) + data)
        except BrokenPipeError:
            return {"error": f"the eSpeak server ended ({self._server.wait()})"}, b""
        return self._receive(self.timeout_s + GRACE_S)

    def _receive(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """One message, or an error message in its place once the server is late or gone (it is ended then)."""
        assert self._server is not None and self._server.stdout is not None
        deadline = time.monotonic() + timeout_s
        try:
            size = LENGTH.unpack(_read(self._server.stdout, LENGTH.size, deadline))[0]
            message: dict[str, Any] = json.loads(_read(self._server.stdout, size, deadline))
            return message, _read(self._server.stdout, message["bytes"], deadline)
        except (TimeoutError, EOFError) as error:
            self.close()
            return {"error": str(error)}, b""


def _read(pipe: IO[bytes], count: int, deadline: float) -> bytes:
    """`count` bytes. Raises TimeoutError after `deadline` (monotonic seconds), EOFError when the server is gone."""
    data = b""
    while len(data) < count:
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise TimeoutError("the eSpeak server does not answer")
        block = pipe.read(count - len(data))
        if not block:
            raise EOFError("the eSpeak server ended")
        data += block
    return data
