"""What a text normalisation profile is: named, versioned, and applied to reference and hypothesis before WER."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from metis_bench.errors import SuiteError
from metis_bench.hashing import JSON
from metis_bench.registry import Registry


class Profile(ABC):
    """Register with `@profiles.register("name")`. Stateless.

    version:   raise it when any output changes; it is part of every WER's signature
    languages: the only ones it has rules for
    """

    name: ClassVar[str]
    version: ClassVar[str]
    languages: ClassVar[frozenset[str]]

    def check(self, language: str) -> None:
        """Raise SuiteError when this profile has no rules for `language`."""
        if language not in self.languages:
            raise SuiteError(
                f"normalisation profile '{self.name}' has no rules for language '{language}'"
                f" (valid: {', '.join(sorted(self.languages))})",
                fix="choose another profile for this corpus, or leave wer out of it",
            )

    @abstractmethod
    def reference(self, text: str, language: str) -> str:
        """The text that should have been said, words separated by spaces. Raises SuiteError for an unknown language."""

    def hypothesis(self, text: str, language: str) -> str:
        """The transcript, words separated by spaces; the same as is done to the reference, unless a profile differs."""
        return self.reference(text, language)

    def signature(self) -> Mapping[str, JSON]:
        """Everything that decides the two functions."""
        return {"name": self.name, "version": self.version}


profiles: Registry[Profile] = Registry("normalisation profile", "metis_bench.text")
