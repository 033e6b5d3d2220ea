"""How numbers that are no scores are written."""

from __future__ import annotations


def clock(seconds: float | None) -> str:
    """Seconds as m:ss; never 0:00 for audio that is there."""
    whole = max(1, round(seconds)) if seconds else 0
    return f"{whole // 60}:{whole % 60:02d}"
