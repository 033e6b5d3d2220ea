"""Which examples make up the batch of a step, and what a batch is: pure functions of (seed, step).

Examples of about equal length share a batch of at most so many tokens, padding included. How many batches an epoch has
depends on the lengths only; which examples meet, and in which order batches come, is drawn anew for every epoch. So a
step needs no state of the steps before: runs resume exactly, and every rank can work out its share alone.
Letters: B batch, T tokens, P phones, Q codebooks, C channels of a condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_models.errors import InputError
from reference_models.noise import SeededNoise
from reference_models.seeds import derive_seed
from reference_models.training.shards import Example, Shards

B = TypeVar("B", covariant=True)

GRAIN = 16  # frames: lengths closer than this count as equal, so that different examples meet
CYCLE = 20  # steps in which a mixture keeps its shares
DRAWN = -1  # `TokenBatch.prompt` where training draws one


def generator(*parts: int | str) -> np.random.Generator:
    """A counter-based generator for them."""
    return np.random.Generator(np.random.Philox(derive_seed(*parts, bits=64)))


class Batches(Protocol[B]):
    """The batch of a step, or one share of it: rows `share`, `share + shares`, ...; None: this share has no row."""

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> B | None:
        """Depends on its arguments only."""


@dataclass(frozen=True)
class TokenBatch:
    """Rows for masked models.

    semantic: (B, T) tokens; valid: (B, T) True at tokens; codes: (B, T, Q); phones: (B, P), phone_valid: (B, P)
    condition: (B, T, C); prompt: (B,) frames of a given prompt, -1 where training draws one
    noise: a row's own randomness; draw: one number in [0, 1) for the whole step, the same in all shares
    """

    semantic: Tensor
    valid: Tensor
    prompt: Tensor
    keys: Tensor
    draw: float
    codes: Tensor | None = None
    phones: Tensor | None = None
    phone_valid: Tensor | None = None
    condition: Tensor | None = None

    @property
    def tokens(self) -> int:
        """Semantic tokens and phones of the examples."""
        return int(self.valid.sum()) + (0 if self.phone_valid is None else int(self.phone_valid.sum()))

    @property
    def places(self) -> int:
        """Positions that the model computes: tokens and padding."""
        return self.valid.numel() + (0 if self.phone_valid is None else self.phone_valid.numel())

    @property
    def noise(self) -> SeededNoise:
        """Numbers that depend on (seed, step, example) only."""
        return SeededNoise(self.keys)

    def to(self, device: torch.device) -> TokenBatch:
        """On another device."""
        moved = {f.name: v.to(device) for f in fields(self) if isinstance(v := getattr(self, f.name), Tensor)}
        return replace(self, **moved)  # type: ignore[arg-type]  # mypy takes every field for every value


class Order:
    """The plan of one data set. lengths: tokens of every example; limit: padded tokens a batch."""

    def __init__(self, lengths: NDArray[np.int64], limit: int, seed: int) -> None:
        self.rounded = -(-lengths // GRAIN) * GRAIN
        self.bounds = _bounds(np.sort(self.rounded), limit)  # where batches start, and the end: the same in every epoch
        self.seed = seed
        self._epochs: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def rows(self, step: int) -> NDArray[np.int64]:
        """Examples of the batch of a step."""
        epoch, place = divmod(step, len(self.bounds) - 1)
        examples, batches = self._epoch(epoch)
        number = batches[place]
        return examples[self.bounds[number] : self.bounds[number + 1]]

    def _epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Examples by (rounded length, chance), and the order of the batches."""
        if epoch not in self._epochs:
            rng = generator("order", self.seed, epoch)
            examples = np.lexsort((rng.random(len(self.rounded)), self.rounded))
            self._epochs = {epoch: (examples, rng.permutation(len(self.bounds) - 1))}
        return self._epochs[epoch]


def _bounds(lengths: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    starts = [0]
    for i, length in enumerate(lengths.tolist()):
        if i > starts[-1] and (i + 1 - starts[-1]) * length > limit:
            starts.append(i)
    return np.array([*starts, len(lengths)])


class TokenBatches:
    """Batches of tokenised examples. shape: what of an example becomes a row (see `rows`), e.g. a crop."""

    def __init__(
        self,
        data: Shards,
        *,
        tokens: int,
        seed: int,
        names: Sequence[str],
        longest: int | None = None,
        prepare: Callable[[Example, int], Example] = lambda example, _seed: example,
    ) -> None:
        """tokens: padded tokens a batch, phones included; names: arrays that are wanted; longest: frames, longer ones
        are cut at random; prepare: called with an example and its seed before that (simulation on the fly).
        """
        frames = data.frames if longest is None else np.minimum(data.frames, longest)
        lengths = frames.astype(np.int64) + (data.phones if "phones" in names else 0)
        if int(lengths.max()) > tokens:
            raise InputError(
                f"an example has {int(lengths.max())} tokens, a batch takes {tokens}",
                fix="raise batch_tokens, or lower max_seconds",
            )
        self.data, self.seed, self.names, self.longest, self.prepare = data, seed, tuple(names), longest, prepare
        self.order = Order(lengths, tokens, seed)

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> TokenBatch | None:
        """See `Batches`."""
        rows = self.order.rows(step)[share::shares]
        if not len(rows):
            return None
        seeds = [derive_seed(self.seed, step, self.data.key(int(i)), bits=64) for i in rows]
        examples = [self.prepare(self.data.read(int(i)), seed) for i, seed in zip(rows, seeds, strict=True)]
        examples = [crop(e, self.longest, seed) for e, seed in zip(examples, seeds, strict=True)]
        return collate(examples, self.names, seeds, generator("step", self.seed, step).random())


class Mixture:
    """Several data sets in fixed shares of the steps (Omni: tts .5, vc .1, tse .2, se .2). One data set a step."""

    def __init__(self, parts: Sequence[tuple[Batches[Any], float]], seed: int) -> None:
        self.parts = [batches for batches, _ in parts]
        self.seed = seed
        weights = np.array([weight for _, weight in parts]) / sum(weight for _, weight in parts)
        counts = np.floor(weights * CYCLE).astype(int)
        for i in np.argsort(counts - weights * CYCLE)[: CYCLE - counts.sum()]:
            counts[i] += 1  # largest remainders
        self.counts = counts

    def __call__(self, step: int, share: int = 0, shares: int = 1) -> Any:
        """See `Batches`: the n-th step of its data set."""
        cycle, place = divmod(step, CYCLE)
        turns = generator("mixture", self.seed, cycle).permutation(np.repeat(np.arange(len(self.parts)), self.counts))
        part = int(turns[place])
        earlier = cycle * int(self.counts[part]) + int((turns[:place] == part).sum())
        return self.parts[part](earlier, share, shares)


def crop(example: Example, longest: int | None, seed: int) -> Example:
    """At most `longest` frames, from a random point. Phones would no longer match, so an example with them is whole."""
    if longest is None or example.frames <= longest:
        return example
    if "phones" in example.arrays:
        raise InputError(
            f"{example.key} is longer than {longest} frames and has a text, so it cannot be cut",
            fix="leave it out when tokenizing (max_seconds), or raise the limit",
        )
    start = int(generator("crop", seed).integers(example.frames - longest + 1))
    arrays = {k: v[start : start + longest] for k, v in example.arrays.items()}
    return Example(example.key, longest, arrays, {k: v for k, v in example.facts.items() if k != "prompt"})


def collate(examples: Sequence[Example], names: Sequence[str], seeds: Sequence[int], draw: float) -> TokenBatch:
    """Rows padded to the longest. Errors: InputError for an example that lacks an array"""
    for example in examples:
        missing = [name for name in ("semantic", *names) if name not in example.arrays]
        if missing:
            raise InputError(f"example {example.key} has no {missing[0]}", fix="tokenize with what this recipe needs")
    valid = _padded([np.ones(e.frames, bool) for e in examples])
    return TokenBatch(
        semantic=_padded([e.arrays["semantic"].astype(np.int64) for e in examples]),
        valid=valid,
        prompt=torch.tensor([_given_prompt(e) for e in examples]),
        keys=SeededNoise.of(seeds).keys,
        draw=draw,
        codes=_padded([e.arrays["codes"].astype(np.int64) for e in examples]) if "codes" in names else None,
        phones=_padded([e.arrays["phones"].astype(np.int64) for e in examples]) if "phones" in names else None,
        phone_valid=_padded([np.ones(len(e.arrays["phones"]), bool) for e in examples]) if "phones" in names else None,
        condition=_padded([e.arrays["condition"].astype(np.float32) for e in examples])
        if "condition" in names
        else None,
    )


def _given_prompt(example: Example) -> int:
    prompt = example.facts.get("prompt")
    if prompt is None:
        return DRAWN
    if not 0 <= int(prompt) < example.frames:
        raise InputError(
            f"{example.key}: a prompt of {prompt} of its {example.frames} frames leaves nothing to predict"
        )
    return int(prompt)


def _padded(rows: Sequence[NDArray[Any]]) -> Tensor:
    """(n_b, ...) each -> (B, N, ...), zeros behind."""
    out = np.zeros((len(rows), max(len(row) for row in rows), *rows[0].shape[1:]), rows[0].dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)
