"""Where the randomness of decoding comes from, as an object that is handed in.

`TorchNoise` draws as the release does: one generator, whole vocabulary, whole batch. `SeededNoise` is a counter-based
hash: the number for (seed, draw, position, token) is always the same, whatever else is in the batch, whatever the
device, and whether or not other tokens are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Noise(Protocol):
    """Uniform numbers in [0, 1), asked for in a fixed order: tokens (but in a greedy step), then positions."""

    def tokens(self, ids: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
        """One number a candidate token. shape: (B, T, V); ids: (B, T, K) to get those only, None for all."""

    def positions(self, shape: tuple[int, int]) -> Tensor:
        """One number a position: (B, T)."""

    def fork(self, part: int) -> Noise:
        """The noise of one part (a model, a codebook): independent of how many numbers other parts have asked for."""


class TorchNoise:
    """The release's draws: `torch.manual_seed(seed)` before it gives the same numbers (source: `maskgct_t2s.py`)."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, device=self.generator.device).uniform_(0, 1, generator=self.generator)

    def tokens(self, ids: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
        """(B, T, V), or the (B, T, K) of it that `ids` name."""
        full = self._uniform(shape)
        return full if ids is None else full.gather(2, ids)

    def positions(self, shape: tuple[int, int]) -> Tensor:
        """(B, T)."""
        return self._uniform(shape)

    def fork(self, part: int) -> TorchNoise:  # noqa: ARG002 - the protocol's
        """Itself: one stream for everything, as in the release."""
        return self


class SeededNoise:
    """Numbers that depend on a sample's own seed only. keys: (B, 2) words of 32 bits, two a sample."""

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys
        self.draws = 0

    @classmethod
    def of(cls, seeds: Sequence[int], device: torch.device | str = "cpu") -> SeededNoise:
        """From one integer a sample, of which the lowest 64 bits count."""
        words = [[seed & _WORD, (seed >> 32) & _WORD] for seed in seeds]
        return cls(torch.tensor(words, dtype=torch.int64, device=device))

    def fork(self, part: int) -> SeededNoise:
        """New words for each part."""
        return SeededNoise(_mix(self.keys ^ _mix(torch.full_like(self.keys, part + 1))))

    def _key(self, length: int) -> tuple[Tensor, Tensor]:
        """Two words a position, new ones at every draw: (B, T, 1) each."""
        self.draws += 1
        position = torch.arange(length, device=self.keys.device)  # (T,)
        low = _mix(self.keys[:, :1] ^ _mix(position + self.draws * 0x9E3779B1 & _WORD))  # (B, T)
        high = _mix(self.keys[:, 1:] ^ _mix(low ^ 0x5BD1E995))
        return low[..., None], high[..., None]

    def tokens(self, ids: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
        """(B, T, V), or the (B, T, K) of it that `ids` name, without computing the rest."""
        low, high = self._key(shape[1])
        ids = torch.arange(shape[2], device=self.keys.device)[None, None] if ids is None else ids
        return _unit(_mix(_mix(ids ^ low) ^ high))

    def positions(self, shape: tuple[int, int]) -> Tensor:
        """(B, T)."""
        low, high = self._key(shape[1])
        return _unit(_mix(low ^ high)[..., 0])


_WORD = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit words with low bias (Ettinger's triple32, in int64 so that shifts are logical)."""
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = x ^ (x >> shift)
        x = (x * factor) & _WORD  # wraps modulo 2**64, of which the low word is right
    return x ^ (x >> 14)


def _unit(x: Tensor) -> Tensor:
    """The upper 24 bits as fp32 in [0, 1)."""
    return (x >> 8).float() * 2.0**-24
