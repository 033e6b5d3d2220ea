"""Packages that only some languages need, imported when they are first used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from reference_models.errors import MissingPackage


def optional(module: str, what: str, extra: str = "text") -> ModuleType:
    """The imported `module`, which `what` needs. Raises MissingPackage, which names the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackage(what, module, extra) from error
