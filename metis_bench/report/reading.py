"""JSON and JSONL files of a run, read fast and strictly: NaN and halves of characters are errors with file and line."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from metis_bench.errors import MetisBenchError

RERUN = "a report needs a finished run: run the suite again with the same command, it resumes"
BATCH = 5000  # lines of a file parsed at a time
NOT_NUMBERS = (b"NaN", b"Infinity")
T = TypeVar("T")


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the garbage collector: nothing of what is read is garbage, and it looks at all of it again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def read_file(path: Path, adapter: TypeAdapter[T]) -> T:
    """A file that is one JSON value. Raises MetisBenchError."""
    return _parse(_bytes(path), adapter, path, None)


def read_lines(path: Path, adapter: TypeAdapter[list[T]]) -> Iterator[T]:
    """The values of a JSONL file. Raises MetisBenchError with the line.

    Thousands are read at a time, which is several times as fast; line by line where one is wrong, to tell which.
    """
    lines = _bytes(path).split(b"\n")
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        text = _list(batch)
        try:
            if any(word in text for word in NOT_NUMBERS):  # pydantic takes them where anything may stand
                raise ValueError
            yield from adapter.validate_json(text)
        except ValueError:
            for number, line in enumerate(batch, start=start + 1):
                if line.strip():
                    yield from _parse(_list([line]), adapter, path, number)


def _list(lines: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(line for line in lines if line.strip()) + b"]"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MetisBenchError(
            f"cannot read a file of the run folder ({error.strerror})", where=path, fix=RERUN
        ) from None


def _parse(data: bytes, adapter: TypeAdapter[T], path: Path, line: int | None) -> T:
    try:
        value = json.loads(data, parse_constant=_refuse)
        if b"\\ud" in data.lower():  # half a surrogate pair could be read, but never be written
            json.dumps(value, ensure_ascii=False).encode()
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = first["loc"] if line is None else first["loc"][1:]  # a line is read as a list of one
        message = f"'{'.'.join(str(part) for part in place)}': {first['msg']}"
    except ValueError as error:  # not JSON, not UTF-8, or NaN
        message = f"not valid JSON ({error})"
    raise MetisBenchError(message, where=path, line=line, fix=RERUN)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
