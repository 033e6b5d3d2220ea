"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Move the folder `new` to `place` on the same disk; what was there is gone then, or still there if this fails."""
    former = place.with_name(f".{place.name}.{os.getpid()}.{secrets.token_hex(4)}.old")
    had = place.exists()
    if had:
        place.rename(former)
    try:
        new.rename(place)
    except OSError:
        if had:
            former.rename(place)
        raise
    shutil.rmtree(former, ignore_errors=True)
