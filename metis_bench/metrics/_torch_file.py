"""Read what `torch.save` wrote without running what is pickled in it, and load it strictly."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metis_bench.errors import MissingPrerequisite

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def expected(what: str, path: Path, fix: str) -> Iterator[None]:
    """Within: whatever a damaged or different file causes becomes MissingPrerequisite, "not `what`"."""
    damage = (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError, AttributeError)
    try:
        yield
    except (*damage, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        own = isinstance(error, ValueError)  # what torch says of pickles is advice for those who trust a file
        reason = (
            str(error).splitlines()[0] if own and str(error) else f"damaged, or another file ({type(error).__name__})"
        )
        raise MissingPrerequisite(f"not {what}: {reason}", where=path, fix=fix) from None


def read(path: Path) -> Any:
    """The content of the file, on the CPU; objects of unknown classes are refused."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def load_strictly(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Every key and every shape must match. Raises ValueError naming the first keys that do not."""
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    parts = [
        f"{len(keys)} keys {how} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for keys, how in ((missing, "missing"), (unknown, "unknown"), (shapes, "of another shape"))
        if keys
    ]
    if parts:
        raise ValueError("; ".join(parts))
    module.load_state_dict(state, strict=True)
