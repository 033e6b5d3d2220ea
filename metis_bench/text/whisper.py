"""Whisper's own normalisers, from the package `openai-whisper` (MIT): `whisper_en` spells numbers alike, and more.

`whisper_basic` (what VERSA's default is, there named whisper_basic) knows every language: lower case, no symbols.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from metis_bench.errors import missing_extra
from metis_bench.hashing import JSON
from metis_bench.text.profiles import Profile, profiles

NAME = f"{__name__}_normalizers"  # of the module in our process


@functools.cache
def _normaliser(name: str) -> Any:
    return getattr(_normalizers(), name)()


@functools.cache
def _normalizers() -> ModuleType:
    """`whisper.normalizers` alone: the package around it imports a compiler, which takes seconds in every worker."""
    absent = missing_extra("Whisper's text normalisation", "openai-whisper", "asr")
    package = find_spec("whisper")
    if package is None or not package.submodule_search_locations:
        raise absent
    folder = Path(package.submodule_search_locations[0]) / "normalizers"
    spec = spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None or not folder.is_dir():
        raise absent
    sys.modules[NAME] = module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError:  # of something that it needs
        del sys.modules[NAME]
        raise absent from None
    return module


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
