"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """What is written becomes `path` at the end of the block, and nothing does when that raises. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it. Creates the folder."""
    with atomic_writer(path) as stream:
        stream.write(data)


def replace_tree(new: Path, place: Path) -> None:
    """Move the folder `new` to `place` on the same disk; what was there is gone then, or still there if this fails.

    Of several at once the last one wins.
    """
    while True:
        former = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}.old")
        with suppress(FileNotFoundError):  # nothing there, or another process has just taken it away
            place.rename(former)
        try:
            new.rename(place)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process has put its own there since
                shutil.rmtree(former, ignore_errors=True)
                continue
            with suppress(OSError):
                former.rename(place)
            raise
        shutil.rmtree(former, ignore_errors=True)
        return
