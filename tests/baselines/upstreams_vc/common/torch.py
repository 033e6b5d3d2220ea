"""Stands in for torch, which takes seconds to import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_tools import record

bfloat16, float16, float32 = "bfloat16", "float16", "float32"


class device:  # noqa: N801 - torch's name
    def __init__(self, name: str) -> None:
        assert isinstance(name, str)
        self.name, self.type = name, name.split(":")[0]

    def __str__(self) -> str:
        return self.name


class cuda:  # noqa: N801
    @staticmethod
    def is_available() -> bool:
        return False


class hub:  # noqa: N801
    @staticmethod
    def set_dir(d: str) -> None:
        record("torch.hub.set_dir", d=d)


def manual_seed(seed: int) -> None:
    record("seed", seed=seed)


class inference_mode:  # noqa: N801
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def inside(*args: Any, **kwargs: Any) -> Any:
            record("inference_mode")
            return function(*args, **kwargs)

        return inside
