"""Where a metric's network runs."""

from __future__ import annotations


def device() -> str:
    """The first GPU that this process may see, else the CPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
