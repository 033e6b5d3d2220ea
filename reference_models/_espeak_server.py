"""A process that has eSpeak NG: initialised once, forked once a request. Standard library only.

Run as a script by `espeak`: the library (GPL-3) and its global state stay out of the caller's process; never imported
into a process that has threads, because it forks. eSpeak keeps state between texts (1.51 and 1.52 say the 5 of "no. 5"
at the start of the next text), and its consonant noise comes from a random generator whose state survives calls and
even espeak_Terminate. A child forked from the freshly initialised process answers every request as if it were the
first: the answer depends on the request alone, bit by bit. It also contains crashes.

Protocol, both directions: 4-byte little-endian length, JSON of that length, and after a reply `bytes` of PCM16 mono.
Hello: {"version", "rate"} or {"error"}. Requests have {"do", "timeout_s"} and what the function of that name reads;
a reply is what it returns, or {"error"}.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

LENGTH = struct.Struct("<I")
MAX_EVENTS = 100_000  # of one callback; eSpeak keeps far fewer
POLL_S = 1.0  # how often an idle server looks whether its parent still lives

# espeak-ng: src/include/espeak-ng/speak_lib.h
SYNCHRONOUS, CHARS_UTF8, END_PAUSE = 2, 1, 0x1000
PHONEME_EVENTS, EVENTS_IN_IPA, DONT_EXIT = 1, 2, 0x8000  # what to initialise with
EVENT_END, EVENT_PHONEME = 0, 7
NOTATIONS = {"ipa": 0x02 | ord("_") << 8, "mnemonics": ord("_") << 8}  # phonemes with `_` between them
PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}


class VoiceStruct(ctypes.Structure):
    """espeak_VOICE; `languages` is a list of (priority byte, zero-terminated name), closed by a zero byte."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class EventStruct(ctypes.Structure):
    """espeak_EVENT; `name` is its union as the eight bytes of a phoneme's name."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(EventStruct))


def pack(message: dict[str, Any], pcm: bytes = b"") -> bytes:
    """One message as bytes."""
    data = json.dumps({**message, "bytes": len(pcm)}).encode()
    return LENGTH.pack(len(data)) + data + pcm


def write_all(fd: int, data: bytes) -> None:
    """Write every byte of `data`. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def load_library(library_path: str, data_path: str) -> tuple[ctypes.CDLL, int]:
    """The initialised library and its sample rate in Hz; an empty `data_path` is the library's own. Raises OSError."""
    library = ctypes.CDLL(library_path)
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_Info.argtypes = [ctypes.POINTER(ctypes.c_char_p)]
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(VoiceStruct))
    library.espeak_ListVoices.argtypes = [ctypes.c_void_p]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [CALLBACK]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    options = PHONEME_EVENTS | EVENTS_IN_IPA | DONT_EXIT
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data_path) or None, options)
    if rate <= 0:
        raise OSError(f"espeak_Initialize failed ({rate})")
    return library, rate


def voices(library: ctypes.CDLL, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """{"voices": the language names espeak_SetVoiceByName accepts, "variants": what may follow after a `+`}."""
    del request
    names: set[str] = set()
    listed = library.espeak_ListVoices(None)
    index = 0
    while listed[index]:
        at = listed[index].contents.languages
        while at and ctypes.string_at(at, 1) != b"\0":
            name = ctypes.string_at(at + 1)
            names.add(name.decode("utf-8", "replace"))
            at += len(name) + 2
        index += 1
    home = ctypes.c_char_p()
    library.espeak_Info(ctypes.byref(home))
    variants = Path(os.fsdecode(home.value or b""), "voices", "!v")
    return {"voices": sorted(names), "variants": sorted(p.name for p in variants.iterdir())}, b""


def phonemes(library: ctypes.CDLL, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """{"clauses": [[...] of each of `texts`]} in `notation`: `_` between phonemes, a space between words."""
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": f"eSpeak NG has no voice '{request['voice']}'"}, b""
    mode = NOTATIONS[request["notation"]]
    return {"clauses": [clauses(library, text.encode(), mode) for text in request["texts"]]}, b""


def clauses(library: ctypes.CDLL, text: bytes, mode: int) -> list[str]:
    """One string a clause."""
    rest, found = ctypes.c_char_p(text), []
    while rest.value:  # a call reads one clause, moves the pointer, and sets it to NULL at the end
        found.append(library.espeak_TextToPhonemes(ctypes.byref(rest), CHARS_UTF8, mode).decode())
    return found


def speak(library: ctypes.CDLL, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """{"phones": [milliseconds, symbol in IPA] where each phoneme starts, in order}, and the sound of `text`."""
    chunks: list[bytes] = []
    phones: list[tuple[int, str]] = []

    def keep(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        for event in takewhile(lambda e: e.type != EVENT_END, map(events.__getitem__, range(MAX_EVENTS))):
            if event.type == EVENT_PHONEME:
                phones.append((event.audio_position, event.name.decode("utf-8", "replace")))
        return 0

    callback = CALLBACK(keep)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": f"eSpeak NG has no voice '{request['voice']}'"}, b""
    for name, number in PARAMETERS.items():
        library.espeak_SetParameter(number, request[name], 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(request["seed"]))  # since 1.52
    text = request["text"].encode()
    status = library.espeak_Synth(text, len(text) + 1, 0, 1, 0, CHARS_UTF8 | END_PAUSE, None, None)
    if status != 0:
        return {"error": f"espeak_Synth failed ({status})"}, b""
    return {"phones": phones}, b"".join(chunks)


REQUESTS = {"voices": voices, "phonemes": phonemes, "speak": speak}


def child(library: ctypes.CDLL, request: dict[str, Any], out: int) -> NoReturn:
    """Do it, send it, and leave without running anything of the parent. Its own alarm ends a hang."""
    try:
        signal.setitimer(signal.ITIMER_REAL, request["timeout_s"])  # default action: the process ends
        write_all(out, pack(*REQUESTS[request["do"]](library, request)))
        os._exit(0)
    finally:
        os._exit(1)


def answer(library: ctypes.CDLL, request: dict[str, Any]) -> bytes:
    """Fork, collect the child's message, and turn a child that ended badly into an error message."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        child(library, request, write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        reply = pipe.read()
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number == -signal.SIGALRM:
        return pack({"error": f"eSpeak NG takes longer than {request['timeout_s']:g} s over this text"})
    if number != 0 or not reply:
        return pack({"error": f"eSpeak NG dies over this text (exit status {number})"})
    return reply


def read_exactly(fd: int, count: int, parent: int) -> bytes | None:
    """`count` bytes, or None once the parent is gone (its end closed, or another process took its place)."""
    data = b""
    while len(data) < count:
        if not select.select([fd], [], [], POLL_S)[0]:
            if os.getppid() != parent:  # a fork of the parent may still hold the other end open
                return None
            continue
        block = os.read(fd, count - len(data))
        if not block:
            return None
        data += block
    return data


def main(library_path: str, data_path: str, parent: int) -> None:
    """Answer requests on stdin until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    out = os.dup(1)
    os.dup2(2, 1)  # whatever the library prints cannot enter the protocol
    try:
        library, rate = load_library(library_path, data_path)
    except (OSError, AttributeError) as error:
        write_all(out, pack({"error": f"{library_path}: {error}"}))
        return
    write_all(out, pack({"rate": rate, "version": library.espeak_Info(None).decode()}))
    while (head := read_exactly(0, LENGTH.size, parent)) is not None:
        body = read_exactly(0, LENGTH.unpack(head)[0], parent)
        if body is None:
            return
        write_all(out, answer(library, json.loads(body)))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
