"""A pydantic validator for parameters that name an entry of a registry (a recogniser, a normalisation profile)."""

from __future__ import annotations

from typing import Any

from pydantic import AfterValidator

from metis_bench.errors import SuiteError
from metis_bench.registry import Registry


def registered(registry: Registry[Any]) -> AfterValidator:
    """For `Annotated[str, registered(recognisers)]`: an unknown name is a ValueError telling the nearest valid one."""

    def check(name: str) -> str:
        try:
            registry.get(name)
        except SuiteError as error:
            raise ValueError(error.message) from None
        return name

    return AfterValidator(check)
