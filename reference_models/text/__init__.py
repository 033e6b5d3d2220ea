"""Text to phones: `phonemize` for six languages, `target_frames` for how long it shall be. Nothing here needs torch."""

from __future__ import annotations

from reference_models.text.espeak import Espeak, default_espeak
from reference_models.text.frontend import LANGUAGES, Language, phonemize
from reference_models.text.lengths import DurationPolicy, target_frames
from reference_models.text.phones import PHONE_IDS, PHONES, Phones, encode
from reference_models.text.tokenizer import Mode

__all__ = [
    "LANGUAGES",
    "PHONES",
    "PHONE_IDS",
    "DurationPolicy",
    "Espeak",
    "Language",
    "Mode",
    "Phones",
    "default_espeak",
    "encode",
    "phonemize",
    "target_frames",
]
