"""A line of the doctor's ladder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Row:
    """What was looked at and found. fix: the command, or the act, that mends it."""

    step: str
    status: Literal["ok", "warning", "missing", "skipped"]
    detail: str
    fix: str | None = None
