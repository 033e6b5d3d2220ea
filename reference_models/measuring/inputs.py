"""Models with random weights, what they need of memory, and prepared jobs of any length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, get_args

import torch
from torch import nn

from reference_models.config import SEMANTIC_RATE, Task
from reference_models.jobs import DEFAULTS
from reference_models.parts import Parts
from reference_models.prepare import Prepared
from reference_models.registry import FILES, state
from reference_models.sizes import Size, sized
from reference_models.stage1 import Stage1
from reference_models.variants import variant_files

Bytes: TypeAlias = int

SIZES: tuple[Size, ...] = get_args(Size)
TASKS: tuple[Task, ...] = get_args(Task)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PHONES_PER_SECOND = 13
USED_PHONES = 363  # as many rows of the phone table are phones
MASKED = ("maskgct_s2a_model_1layer", "maskgct_s2a_model_full")  # beside stage 1: what has the precision asked for


def weights(size: Size, task: Task, dtypes: Iterable[str]) -> Bytes:
    """What the weights take in memory, once in each precision; the decoder is always in fp32. Nothing is built."""
    with torch.device("meta"):
        stage1 = Stage1(sized(variant_files(task).config, size)).state_dict()
        masked = [stage1, *(state(FILES[name], sized(FILES[name].config, size)) for name in MASKED)]
        decoder = state(FILES["acoustic_codec_decoder"], sized(FILES["acoustic_codec_decoder"].config, size))
    numbers = sum(tensor.numel() for tensors in masked for tensor in tensors.values())
    vocoder = sum(tensor.numel() * tensor.element_size() for tensor in decoder.values())
    sizes: list[Bytes] = [numbers * DTYPES[name].itemsize for name in dtypes]
    return sum(sizes) + vocoder


def held(*models: nn.Module) -> Bytes:
    """What the parameters and buffers of models take."""
    return sum(t.numel() * t.element_size() for model in models for t in model.state_dict().values())


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
