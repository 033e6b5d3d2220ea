"""A process that turns text into eSpeak NG phonemes: initialised once, forked once a request. Standard library only.

Run as a script by `espeak`: the library (GPL-3) and its global state stay out of the caller's process.
eSpeak keeps state between texts (1.51 and 1.52 say the 5 of "no. 5" at the start of the next text); a child forked
from the freshly initialised process answers every request as if it were the first. It also contains crashes.

Protocol: one JSON object a line. Hello: {"version"} or {"error"}. Request: {"voice", "texts", "notation", "timeout_s"}.
Reply: {"clauses": [[...] of each text]} or {"error"}; in a clause `_` stands between phonemes, a space between words.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

POLL_S = 1.0  # how often an idle server looks whether its parent still lives

# espeak-ng: src/include/espeak-ng/speak_lib.h
SYNCHRONOUS, DONT_EXIT, CHARS_UTF8 = 2, 0x8000, 1
NOTATIONS = {"ipa": 0x02 | ord("_") << 8, "mnemonics": ord("_") << 8}


def load_library(library_path: str, data_path: str) -> ctypes.CDLL:
    """The initialised library; an empty `data_path` is the library's own. Raises OSError."""
    library = ctypes.CDLL(library_path)
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_Info.argtypes = [ctypes.c_void_p]
    status = library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data_path) or None, DONT_EXIT)
    if status <= 0:
        raise OSError(f"espeak_Initialize failed ({status})")
    return library


def phonemes(library: ctypes.CDLL, request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request, from a process that has answered none before."""
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": f"eSpeak NG has no voice '{request['voice']}'"}
    mode = NOTATIONS[request["notation"]]
    return {"clauses": [clauses(library, text.encode(), mode) for text in request["texts"]]}


def clauses(library: ctypes.CDLL, text: bytes, mode: int) -> list[str]:
    """One string a clause."""
    rest, found = ctypes.c_char_p(text), []
    while rest.value:  # a call reads one clause, moves the pointer, and sets it to NULL at the end
        found.append(library.espeak_TextToPhonemes(ctypes.byref(rest), CHARS_UTF8, mode).decode())
    return found


def child(library: ctypes.CDLL, request: dict[str, Any], out: int) -> NoReturn:
    """Answer, and leave without running anything of the parent. Its own alarm ends a hang."""
    signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])
    reply = phonemes(library, request)
    signal.setitimer(signal.ITIMER_REAL, 0)  # one reply only, even at the last moment
    write_line(out, reply)
    os._exit(0)


def answer(library: ctypes.CDLL, request: dict[str, Any], out: int) -> None:
    """Have a child answer; say so if it dies instead."""
    pid = os.fork()
    if pid == 0:
        child(library, request, out)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGALRM:
        write_line(out, {"error": f"eSpeak NG takes longer than {request['timeout_s']:g} s over this text"})
    elif code != 0:
        write_line(out, {"error": f"eSpeak NG dies over this text (exit status {code})"})


def write_line(fd: int, message: dict[str, Any]) -> None:
    """Write one message. Raises OSError."""
    view = memoryview(json.dumps(message).encode() + b"\n")
    while view:
        view = view[os.write(fd, view) :]


def main(library_path: str, data_path: str, parent: int) -> None:
    """Answer requests on stdin until it closes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints cannot enter the protocol
    try:
        library = load_library(library_path, data_path)
    except (OSError, AttributeError) as error:
        write_line(out, {"error": f"{library_path}: {error}"})
        return
    write_line(out, {"version": library.espeak_Info(None).decode()})
    pending = b""
    while os.getppid() == parent:  # a fork of the parent may hold the pipe open when it is gone
        if not select.select([0], [], [], POLL_S)[0]:
            continue
        block = os.read(0, 65536)
        if not block:
            return
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            answer(library, json.loads(line), out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
