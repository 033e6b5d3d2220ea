"""Every error of the reference models that a user can meet.

MetisError
  +-- CheckpointError       a file is there but wrong: keys, shapes, rank, truncated, code inside
  +-- MissingCheckpoint     a file is not there: says which one, and where to put it
  +-- MissingPackage        an optional package is not installed: says which, and for what
  +-- VoiceError            eSpeak has no such voice
  +-- InputError            this text, audio or video cannot be used (ends one item, never a run)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MetisError(Exception):
    """What happened, and (`fix`) what to do next."""

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message + (f"\n  fix: {self.fix}" if self.fix else "")


class CheckpointError(MetisError):
    """A checkpoint file cannot be used as it is."""


class MissingCheckpoint(MetisError):
    """A checkpoint file is not on this machine."""


class MissingPackage(MetisError):
    """An optional package is not installed. `extra`: the metis-bench extra that brings it."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the Python package '{package}', which is not installed",
            fix=f'pip install "metis-bench[{extra}]"',
        )
        self.what, self.package, self.extra = what, package, extra

    def __reduce__(self) -> tuple[type[MissingPackage], tuple[str, str, str]]:
        """Pickled by its own arguments: it may come from another process."""
        return type(self), (self.what, self.package, self.extra)


class VoiceError(MetisError):
    """eSpeak NG has no such voice."""


class InputError(MetisError):
    """One input (text, audio, video) cannot be processed."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """'; did you mean X? Valid: ...' for error messages: the closest valid name first, then all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"{hint} (valid: {', '.join(names)})" if names else hint
