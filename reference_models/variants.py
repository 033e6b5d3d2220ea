"""Which files make up which stage 1: full fine-tunes, and LoRA fine-tunes of the pre-trained base."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reference_models.config import Stage1Config, Task
from reference_models.errors import CheckpointError
from reference_models.registry import BASE, FINE_TUNES, LIPS, OMNI, SPEECH, TTS


@dataclass(frozen=True)
class Stage1Files:
    """What one stage 1 is made of: a full checkpoint, or the base with what fine-tuning added and/or a LoRA.

    config:      sizes, and what it takes (phones, frame conditions); a `*.config.json` of a file changes it
    checkpoint, adapter, lora: names in `registry.FILES`, or paths
    rank, alpha: of the LoRA; None: the rank that is found, twice the rank
    tasks:       what it was trained for; empty: not known, so whatever its inputs allow
    """

    config: Stage1Config
    checkpoint: str | Path
    adapter: str | Path | None = None
    lora: str | Path | None = None
    rank: int | None = None
    alpha: float | None = None
    tasks: tuple[Task, ...] = ()


def _full(config: Stage1Config, name: str, *tasks: Task) -> Stage1Files:
    return Stage1Files(config, name, tasks=tasks)


VARIANTS: dict[str, Stage1Files] = {
    "base": Stage1Files(BASE, "metis_base"),
    "tts": _full(TTS, "maskgct_t2s", "tts"),
    "vc": _full(SPEECH, "metis_vc", "vc"),
    "tse": _full(SPEECH, "metis_tse_full", "tse"),
    "se": _full(SPEECH, "metis_se_full", "se"),
    "l2s": _full(LIPS, "metis_l2s", "l2s"),
    "omni": _full(OMNI, "metis_omni", "tts", "vc", "tse", "se"),
}


def _lora(task: str, rank: int) -> Stage1Files:
    name = f"metis_{task}_lora_{rank}"
    tasks = VARIANTS[task].tasks
    return Stage1Files(FINE_TUNES[task], "metis_base", f"{name}_adapter", name, rank, tasks=tasks)


VARIANTS |= {f"{task}-lora-{rank}": _lora(task, rank) for task, rank in (("tse", 32), ("se", 32), ("vc", 16))}
_LORA = re.compile(rf"({'|'.join(FINE_TUNES)})-lora-([1-9]\d*)")


def variant_files(variant: str | Stage1Files) -> Stage1Files:
    """The files of a variant: one of VARIANTS, or TASK-lora-RANK. Errors: CheckpointError for an unknown name."""
    if isinstance(variant, Stage1Files):
        return variant
    lora = _LORA.fullmatch(variant)
    if lora is not None:
        return _lora(lora[1], int(lora[2]))
    if variant not in VARIANTS:
        known = ", ".join(VARIANTS)
        raise CheckpointError(f"there is no stage 1 named '{variant}'", fix=f"one of {known}, or TASK-lora-RANK")
    return VARIANTS[variant]
