"""Models of three sizes, and prepared jobs of any length: what `generate.py` runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias, cast

import torch

from reference_models.acoustic import S2A
from reference_models.config import SEMANTIC_RATE, S2AConfig, Task, TransformerConfig
from reference_models.jobs import DEFAULTS
from reference_models.parts import Parts
from reference_models.prepare import Prepared
from reference_models.random_weights import RandomWeights
from reference_models.registry import FILES
from reference_models.sizes import sized
from reference_models.stage1 import Stage1
from reference_models.variants import Stage1Files, variant_files

Size: TypeAlias = Literal["tiny", "mini", "full"]

PHONES_PER_SECOND = 13
USED_PHONES = 363
MINI_TRANSFORMER = TransformerConfig(hidden_size=192, num_layers=5, num_heads=4, mlp_ratio=2)


class MiniWeights(RandomWeights):
    """Masked models of a size that trains on a laptop; codebooks are official, everything else is tiny."""

    def stage1(self, variant: str | Stage1Files) -> Stage1:
        """A stage 1 that takes what the variant takes."""
        config = replace(sized(variant_files(variant).config, "tiny"), transformer=MINI_TRANSFORMER)
        return self._random(f"stage1 {config.adapter} {config.phones}", lambda: Stage1(config), self.dtype)

    def _s2a(self, name: str) -> S2A:
        config = replace(cast(S2AConfig, FILES[name].config), transformer=MINI_TRANSFORMER)
        return self._random(name, lambda: S2A(config), self.dtype)


def source_of(size: Size, dtype: torch.dtype, device: torch.device) -> RandomWeights:
    """Random weights; those of two dtypes are the same but for rounding."""
    if size == "mini":
        return MiniWeights("tiny", dtype=dtype, device=device)
    return RandomWeights(size, dtype=dtype, device=device)


def prepared(task: Task, parts: Parts, seconds: float, prompt_seconds: float, seed: int) -> Prepared:
    """A job of random tokens and features, as `reference_models.prepare` would make of speech so long."""
    device = parts.stage1.cond_emb.weight.device
    draw = torch.Generator().manual_seed(seed)
    frames, prompt = round(seconds * SEMANTIC_RATE), 0 if task == "se" else round(prompt_seconds * SEMANTIC_RATE)
    config, fine = parts.stage1.config, parts.fine.config
    phones = condition = None
    if task == "tts":
        phones = torch.randint(USED_PHONES, (round(PHONES_PER_SECOND * (seconds + prompt_seconds)),), generator=draw)
    else:
        condition = torch.randn(prompt + frames, config.condition_dim, generator=draw)
    tokens = torch.randint(config.codebook_size, (prompt,), generator=draw)
    codes = torch.randint(fine.codebook_size, (prompt, fine.num_quantizers), generator=draw)
    return Prepared(
        tokens.to(device),
        codes.to(device),
        None if phones is None else phones.to(device),
        None if condition is None else condition.to(device),
        frames,
        seed,
        DEFAULTS[task],
    )
