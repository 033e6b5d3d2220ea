"""Whisper's own normalisers, from the package `openai-whisper` (MIT): `whisper_en` spells numbers alike, and more.

`whisper_basic` (what VERSA's default is, there named whisper_basic) knows every language: lower case, no symbols.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import metadata
from typing import Any, ClassVar

from metis_bench.errors import missing_extra
from metis_bench.hashing import JSON
from metis_bench.text.profiles import Profile, profiles


@functools.cache
def _normaliser(name: str) -> Any:
    try:
        from whisper import normalizers
    except ImportError:
        raise missing_extra("Whisper's text normalisation", "openai-whisper", "asr") from None
    return getattr(normalizers, name)()


class _Whisper(Profile):
    version = "1"
    normaliser: ClassVar[str]

    def check(self, language: str) -> None:
        """Raise SuiteError for a language without rules, MissingPrerequisite without the package."""
        super().check(language)
        _normaliser(self.normaliser)

    def reference(self, text: str, language: str) -> str:
        """Words, separated by single spaces."""
        super().check(language)
        return " ".join(_normaliser(self.normaliser)(text).split())

    def signature(self) -> Mapping[str, JSON]:
        """And the package's version: its rules are in there."""
        return {**super().signature(), "openai-whisper": metadata.version("openai-whisper")}


@profiles.register("whisper_en")
class WhisperEnglish(_Whisper):
    """`EnglishTextNormalizer`: numbers as digits, contractions in full, British spelling as American, no fillers."""

    name = "whisper_en"
    languages = frozenset({"en"})
    normaliser = "EnglishTextNormalizer"


@profiles.register("whisper_basic")
class WhisperBasic(_Whisper):
    """`BasicTextNormalizer`: lower case, symbols to spaces, brackets left out. Words are what spaces separate."""

    name = "whisper_basic"
    languages = frozenset({"en", "de", "fr", "es", "it", "nl", "pl", "pt", "ko"})
    normaliser = "BasicTextNormalizer"
