"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that no reader ever sees a part of it. Creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
