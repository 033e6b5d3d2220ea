"""Where a metric's network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def device() -> str:
    """The first GPU that this process may see, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def full_precision() -> Iterator[None]:
    """Inference whose float32 is float32: a GPU would round convolutions and products to TF32, which a CPU does not."""
    import torch

    products = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = products
