"""Toy speech: tokens with a structure that can be learned, and no meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reference_models.training.shards import Example, ShardWriter

PHONES, CODES, CHANNELS = 12, 256, 96


def toy(number: int, *, prompt: int | None = None) -> Example:
    """Phones of random lengths; a token says its phone, codes follow from tokens, the condition shows them."""
    rng = np.random.default_rng(number)
    phones = rng.integers(PHONES, size=6)
    semantic = np.repeat(phones * 3, rng.integers(3, 6, size=6)) + 1
    codes = np.stack([(semantic * k) % CODES for k in (1, 3, 5, 7)], axis=1)
    condition = np.cos(semantic[:, None] * np.arange(1, CHANNELS + 1) / 7).astype(np.float16)
    arrays = {"semantic": semantic, "codes": codes, "phones": phones, "condition": condition}
    facts = {"text": "toy", "speaker": str(number % 3), **({} if prompt is None else {"prompt": prompt})}
    return Example(f"toy-{number:03d}", len(semantic), arrays, facts)


def toy_shards(folder: Path, count: int = 20, per_shard: int = 8, first: int = 0) -> Path:
    with ShardWriter(folder, per_shard) as writer:
        for i in range(first, first + count):
            writer.write(toy(i))
    return folder
