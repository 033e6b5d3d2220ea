"""Every error a user can meet, and the exit code it ends the command with.

    MetisBenchError                 (exit 2)
      +-- UsageError                (exit 2)  a flag or an argument is wrong
      +-- SuiteError                (exit 2)  a suite, list or config file is wrong; carries file:line
      +-- CorpusError               (exit 2)  a corpus is there but its content is wrong
      +-- MissingPrerequisite       (exit 5)  a package, weight, corpus or licence step is missing; carries the fix
      +-- ItemError                 (exit 6)  one item cannot be processed: becomes a failed row, ends no run
      |     +-- AudioError          (exit 6)  an audio file cannot be decoded as speech
      +-- Interrupted               (exit 130) Ctrl-C or SIGTERM: the run is resumable

Code 3 is a finished run's own (an oracle order is violated), 70 a bug of ours; `gate` ends with 0, 1, 3 or 4.
"""

from __future__ import annotations

from pathlib import Path

from reference_models.errors import nearest as nearest


class MetisBenchError(Exception):
    """An error told in one screen: what, where, and what to do next."""

    exit_code = 2

    def __init__(
        self, message: str, *, where: Path | str | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.line = line
        self.fix = fix

    def __str__(self) -> str:
        place = "" if self.where is None else f"{self.where}:{self.line}: " if self.line else f"{self.where}: "
        return f"{place}{self.message}" + (f"\n  fix: {self.fix}" if self.fix else "")


class UsageError(MetisBenchError):
    """A flag or an argument is wrong."""


class SuiteError(MetisBenchError):
    """A suite, list or config file is wrong."""


class CorpusError(MetisBenchError):
    """A corpus is present, but its content contradicts its layout or list."""


class MissingPrerequisite(MetisBenchError):
    """Something the user has to get first: a package, weights, a corpus."""

    exit_code = 5


class ItemError(MetisBenchError):
    """One item cannot be processed; the engine turns it into a failed row."""

    exit_code = 6


class AudioError(ItemError):
    """An audio file is empty, truncated, not audio, or holds NaN."""


class Interrupted(MetisBenchError):
    """The user stopped the run; running the same command again resumes it."""

    exit_code = 130


def install_command(extra: str | None) -> str:
    """The pip line that adds an extra (or, None, the core) to this very installation: a checkout or the package."""
    checkout = Path(__file__).resolve().parent.parent
    in_checkout = (checkout / "pyproject.toml").is_file()
    what = str(checkout) if in_checkout else "metis-bench"
    return f'pip install {"-e " if in_checkout else ""}"{what}{f"[{extra}]" if extra else ""}"'


def missing_extra(what: str, package: str, extra: str) -> MissingPrerequisite:
    """The one line a missing optional package is worth: what needs it and the exact install command."""
    return MissingPrerequisite(
        f"{what} needs the Python package '{package}', which is not installed",
        fix=install_command(extra),
    )
