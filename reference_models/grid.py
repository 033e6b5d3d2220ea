"""One entry of a list that stands for many, of systems in a suite or of runs to train: all combinations in its `grid`.

    - steps-{steps}: {system: metis-tts, steps: "{steps}", grid: {steps: [4, 8, 16, 25]}}

`{steps}` in the name, and in any value, is replaced; a value that is nothing else keeps the type of what replaces it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from reference_models.errors import InputError, nearest

GRID = "grid"
Scalar = (str, int, float)
_HOLE = re.compile(r"\{(\w+)\}")
MOST = 500  # of one entry


def expand(name: str, raw: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, parameters, values of the grid) of everything that an entry stands for; of itself, where it has no grid.

    Raises InputError for a grid that is none, a `{key}` that it does not have, and a key that the name does not show.
    """
    if GRID not in raw:
        yield name, dict(raw), {}
        return
    grid = _checked(name, raw[GRID])
    for values in itertools.product(*grid.values()):
        factors = dict(zip(grid, values, strict=True))
        params = {key: _filled(value, factors) for key, value in raw.items() if key != GRID}
        yield str(_filled(name, factors)), params, factors


def _checked(name: str, grid: Any) -> dict[str, list[Any]]:
    if not isinstance(grid, dict) or not grid:
        raise InputError("a grid maps keys to lists of values, as in grid: {steps: [4, 8, 16]}")
    count = 1
    for key, values in grid.items():
        plain = isinstance(values, list) and values and all(isinstance(v, Scalar) for v in values)
        if not plain or len({str(v) for v in values}) != len(values):
            raise InputError(f"grid: '{key}' must be a list of different words or numbers")
        if f"{{{key}}}" not in name:
            raise InputError(
                f"grid: the name '{name}' must hold {{{key}}}, or its systems would all be called the same"
            )
        count *= len(values)
    if count > MOST:
        raise InputError(f"grid: {count} combinations; {MOST} at most")
    return grid


def _filled(value: Any, factors: Mapping[str, Any]) -> Any:
    """The value with every hole filled."""
    if isinstance(value, dict):
        return {str(_filled(key, factors)): _filled(part, factors) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, factors) for part in value]
    if not isinstance(value, str):
        return value
    for key in _HOLE.findall(value):
        if key not in factors:
            raise InputError(f"'{value}': the grid has no '{key}'{nearest(key, factors)}")
    whole = _HOLE.fullmatch(value)
    return factors[whole[1]] if whole else _HOLE.sub(lambda hole: str(factors[hole[1]]), value)
