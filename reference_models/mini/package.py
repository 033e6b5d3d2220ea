"""From a work folder of `make mini` to what is shipped: half precision, a model card each, at most 25 MB together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from reference_models.errors import CheckpointError
from reference_models.hub import SHIPPED
from reference_models.loading import load_tensors
from reference_models.sizes import config_path
from reference_models.training.models import PROVENANCE, store

LIMIT = 25_000_000  # bytes of all files together
FP32 = ("wav2vec2bert_stats.pt",)  # two rows of numbers
CARD = """# {title}

Part of the mini family of metis-bench: models small enough to train and run on a laptop, on synthetic speech only. They
show that suites, systems and metrics work; nothing they score says anything about human speech.

| | |
|---|---|
{rows}

Licence: MIT, as the package. Training speech: eSpeak NG voices saying sentences of a closed grammar, none of them in
any evaluation of the mini corpus; made by `make mini`, which trains everything again from nothing.
"""
LABELS = {
    "note": "what it is",
    "data": "trained on",
    "steps": "steps",
    "seconds": "seconds of training",
    "hardware": "hardware",
    "torch": "torch",
    "phone_accuracy_unseen": "phone accuracy, unseen voices",
    "perplexity": "codes in use (perplexity)",
}


def pack(
    weights: Path, to: Path = SHIPPED, *, hardware: str, results: dict[str, dict[str, float]] | None = None
) -> int:
    """Copy all weight files of a folder in fp16, each with its configuration and a card. Returns the bytes written.

    results: measured numbers by file name, for the cards
    Errors: CheckpointError where it is too much to ship; nothing of `to` is removed
    """
    total = 0
    for path in sorted(p for p in weights.rglob("*") if p.suffix in (".safetensors", ".pt", ".pth")):
        dtype = torch.float32 if path.name in FP32 else torch.float16
        place = to / path.relative_to(weights)
        facts: dict[str, Any] = json.loads(path.with_suffix(PROVENANCE).read_text(encoding="utf-8"))
        store(load_tensors(path), place, dtype)
        if config_path(path).is_file():
            config_path(place).write_bytes(config_path(path).read_bytes())
        described = {**facts, "hardware": hardware, **(results or {}).get(path.name, {})}
        place.with_suffix(".card.md").write_text(_card(path.relative_to(weights), described), encoding="utf-8")
        total += place.stat().st_size
    if total > LIMIT:
        raise CheckpointError(f"the mini family has {total / 1e6:.1f} MB; {LIMIT / 1e6:.0f} MB can be shipped")
    return total


def _card(file: Path, facts: dict[str, Any]) -> str:
    recipe = facts.get("recipe") or {}
    known = {LABELS.get(name, name): value for name, value in facts.items() if not isinstance(value, dict)}
    if recipe:
        known["recipe"] = recipe["description"]
    rows = "\n".join(f"| {name} | {value} |" for name, value in known.items())
    return CARD.format(title=file.as_posix(), rows=rows)
