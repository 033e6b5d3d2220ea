"""An adapter that does at the item "bad" whatever `options["how"]` says; a sine at every other. No imports of ours.

What the host must survive: see `conformance.py`, which runs it behind this machine's launchers.
"""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RATE = 16_000


def load(ctx: Any) -> Adapter:
    """As the worker calls it."""
    return Adapter(ctx.options["how"], Path(ctx.work))


class Adapter:
    """One behaviour."""

    def __init__(self, how: str, work: Path) -> None:
        self.how, self.work = how, work

    def run(self, item: dict[str, Any]) -> Any:
        """A second of a sine, unless the item is "bad"."""
        tone = [0.3 * math.sin(i / 7) for i in range(RATE)]
        if item["id"] != "bad":
            return tone, RATE
        found = getattr(self, self.how.replace("-", "_"))(tone)
        return (tone, RATE) if found is None else found

    def raises(self, _: list[float]) -> None:
        """An exception like any other."""
        raise ValueError("no such phoneme")

    def segfaults(self, _: list[float]) -> None:
        """A bug in C code."""
        ctypes.string_at(0)

    def exits(self, _: list[float]) -> None:
        """Without a word."""
        os._exit(9)

    def hangs(self, _: list[float]) -> None:
        """For longer than any deadline."""
        time.sleep(3600)

    def hangs_and_leaves_a_child(self, _: list[float]) -> None:
        """Dies while a forked child keeps its pipes open, as data loaders do."""
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(7)

    def prints(self, _: list[float]) -> None:
        """From Python, to what it takes for stdout."""
        print('{"event": "made"}')  # noqa: T201
        sys.stdout.flush()

    def prints_from_c(self, _: list[float]) -> None:
        """Past Python's own stdout."""
        os.write(1, b'{"event": "end"}\n')
        libc = ctypes.CDLL(None)
        libc.puts(b"noise of a C library")
        libc.fflush(None)

    def prints_from_a_child(self, _: list[float]) -> None:
        """As tools do that a competitor calls."""
        subprocess.run(["echo", "noise of a child"], check=True)

    def reads_stdin(self, tone: list[float]) -> Any:
        """A question to the user: nobody answers."""
        if sys.stdin.read() != "":
            raise RuntimeError("it got an answer")
        return tone, RATE

    def wrong_rate(self, tone: list[float]) -> Any:
        """Not what its manifest says."""
        return tone, 22_050

    def stereo(self, tone: list[float]) -> Any:
        """A wav file of two channels."""
        import wave

        path = self.work / "stereo.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(b"\1\2" * 2 * len(tone))
        return str(path)

    def nan(self, tone: list[float]) -> Any:
        """One sample is no number."""
        return [*tone, math.nan], RATE

    def empty(self, _: list[float]) -> Any:
        """No sample at all."""
        return [], RATE

    def silent(self, tone: list[float]) -> Any:
        """Nothing to hear."""
        return [0.0] * len(tone), RATE

    def endless(self, tone: list[float]) -> Any:
        """A model that does not find its end: ten minutes."""
        import array

        return array.array("f", tone) * 600, RATE

    def writes_elsewhere(self, tone: list[float]) -> Any:
        """An output outside of its folder."""
        folder = self.work.parent  # the host's
        path = folder.with_name(f"{folder.name}-elsewhere.wav")
        path.write_bytes(b"RIFF")
        del tone
        return str(path)

    def forks(self, _: list[float]) -> None:
        """Leaves a daemon behind, in a session of its own."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(3600)
            os._exit(0)

    def eats_memory(self, _: list[float]) -> None:
        """2 GiB, and keeps it until somebody stops it: no more, or a watcher that fails would cost the machine."""
        hoard: list[bytearray] = []
        while len(hoard) < 64:
            hoard.append(bytearray(os.urandom(1 << 20)) * 32)
            time.sleep(0.02)
        time.sleep(3600)

    def returns_nothing(self, _: list[float]) -> Any:
        """Not what an adapter returns."""
        return 42
