"""German text to phones (Amphion: models/tts/maskgct/g2p/g2p/german.py). eSpeak reads the numbers."""

from __future__ import annotations

from reference_models.text.espeak import Espeak
from reference_models.text.punctuation import plain_punctuation
from reference_models.text.spoken import spoken
from reference_models.text.tokenizer import Mode, speak


def to_phones(text: str, espeak: Espeak, mode: Mode = "fixed") -> list[str]:
    """Phones of German `text`. Raises InputError, MissingPackage."""
    return speak(plain_punctuation(spoken(text, "de") if mode == "fixed" else text), "de", espeak, mode)
