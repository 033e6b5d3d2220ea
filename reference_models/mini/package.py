"""From a work folder of `make mini` to what is shipped: half precision, a model card each, at most 25 MB together."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
CARD_SUFFIX = ".card.md"
CARD = """# {title}

Part of the mini family of metis-bench: models small enough to train and run on a laptop, on synthetic speech only. They
show that suites, systems and metrics work; nothing they score says anything about human speech.

| | |
|---|---|
{rows}

Licence: MIT, as the package. Training speech: eSpeak NG voices saying sentences of a closed grammar, none of them in
any evaluation of the mini corpus; made by `make mini`, which trains everything again from nothing.
"""
SPEAKS = {  # folder or file -> the system whose measured numbers belong on its card
    "acoustic_codec": "metis-mini-codec",
    "t2s_model": "metis-mini-tts",
    "metis_vc": "metis-mini-vc",
    "metis_tse": "metis-mini-tse",
    "metis_se": "metis-mini-se",
    "metis_l2s": "metis-mini-l2s",
    "metis_omni": "metis-mini-omni",
}
FACTS = {  # what is shown of a file's provenance, and how
    "note": "what it is",
    "phone_accuracy_unseen": "phone accuracy, unseen voices",
    "perplexity": "codes in use (perplexity)",
    "word_error_rate_held_voices": "word error rate, held voices",
    "word_error_rate_10_db": "the same in noise, 10 dB",
    "word_error_rate_0_db": "the same in noise, 0 dB",
    "torch": "torch",
    "hardware": "hardware",
}
METRICS = {
    "validation_loss": "validation loss, other voices and sentences",
    "validation_accuracy": "hidden tokens right, the same",
}


def pack(work: Path, to: Path = SHIPPED, *, results: Mapping[str, Mapping[str, str]] | None = None) -> int:
    """Copy all weight files of a work folder in fp16, each with its configuration and a card. Returns the bytes.

    results: what was measured, by system and by what it is, for the cards (`benchmarks/mini_family.py --json`)
    Errors: CheckpointError too much to ship, a file without a card or provenance; nothing of `to` is removed
    """
    weights, total = work / "weights", 0
    paths = sorted(p for p in weights.rglob("*") if p.suffix in (".safetensors", ".pt", ".pth"))
    for path in paths:
        if not (path.with_suffix(PROVENANCE).is_file() or path.with_suffix(CARD_SUFFIX).is_file()):
            raise CheckpointError(
                f"{path} has neither provenance ({path.with_suffix(PROVENANCE).name}) nor a card: it cannot be told of",
                fix="copy the file that lay beside it where it was trained or shipped",
            )
    for path in paths:
        name = path.relative_to(weights)
        place = to / name
        store(load_tensors(path), place, torch.float32 if path.name in FP32 else torch.float16)
        if config_path(path).is_file():
            config_path(place).write_bytes(config_path(path).read_bytes())
        card, told = path.with_suffix(CARD_SUFFIX), path.with_suffix(PROVENANCE)
        total += place.stat().st_size
        if not told.is_file() and card.is_file():  # adopted as it was
            place.with_suffix(CARD_SUFFIX).write_bytes(card.read_bytes())
            continue
        rows = _rows(json.loads(told.read_text(encoding="utf-8")), work / "done")
        rows |= (results or {}).get(SPEAKS.get(name.parts[0], ""), {})
        table = "\n".join(f"| {label} | {value} |" for label, value in rows.items())
        place.with_suffix(CARD_SUFFIX).write_text(CARD.format(title=name.as_posix(), rows=table), encoding="utf-8")
    if total > LIMIT:
        raise CheckpointError(f"the mini family has {total / 1e6:.1f} MB; {LIMIT / 1e6:.0f} MB can be shipped")
    return total


def _rows(facts: Mapping[str, Any], done: Path) -> dict[str, Any]:
    """Label and value of what is known of how a file came to be."""
    rows: dict[str, Any] = {}
    if facts.get("recipe"):
        rows["what it is"] = facts["recipe"]["description"]
    data = [facts["data"]] if isinstance(facts["data"], str) else [_told(name, done) for name in facts["data"]]
    rows["trained on"] = "; ".join(data)
    rows["steps"] = facts["steps"] if isinstance(facts["steps"], int) else " + ".join(map(str, facts["steps"]))
    rows["minutes of training"] = round(facts["seconds"] / 60)
    if "trained" in facts:
        rows["trained numbers"] = f"{facts['trained']:,}"
    rows |= {label: facts[key] for key, label in FACTS.items() if key in facts}
    return rows | {label: f"{facts['metrics'][k]:.3f}" for k, label in METRICS.items() if k in facts.get("metrics", {})}


def _told(data: str, done: Path) -> str:
    """A data set and how much it is: `tts=tokens` -> `tokens: 9000 examples, 10.87 h`."""
    name = data.rpartition("=")[2]
    size = json.loads((done / f"{name}.json").read_text(encoding="utf-8"))
    return f"{name}: {size['examples']} examples, {size['hours']} h"
