"""French text to phones (Amphion: models/tts/maskgct/g2p/g2p/french.py). eSpeak reads the numbers."""

from __future__ import annotations

import re

from reference_models.text.espeak import Espeak
from reference_models.text.punctuation import plain_punctuation
from reference_models.text.spoken import spoken
from reference_models.text.tokenizer import Mode, speak

# Regular expressions, as in the release: an unescaped '.' is any character. First match first.
_WITH_DOT = {
    "M": "monsieur",
    "Mlle": "mademoiselle",
    "Mlles": "mesdemoiselles",
    "Mme": "Madame",
    "Mmes": "Mesdames",
    "N.B": "nota bene",
    "p.c.q": "parce que",
    "Pr": "professeur",
    "qqch": "quelque chose",
    "rdv": "rendez-vous",
    "max": "maximum",
    "min": "minimum",
    "no": "numéro",
    "adr": "adresse",
    "dr": "docteur",
    "st": "saint",
    "co": "companie",
    "jr": "junior",
    "sgt": "sergent",
    "capt": "capitain",
    "col": "colonel",
    "av": "avenue",
    "av. J.-C": "avant Jésus-Christ",
    "apr. J.-C": "après Jésus-Christ",
    "art": "article",
    "boul": "boulevard",
    "c.-à-d": "c’est-à-dire",
    "etc": "et cetera",
    "ex": "exemple",
    "excl": "exclusivement",
}
_WITHOUT_DOT = ("Mlle", "Mlles", "Mme", "Mmes")


def to_phones(text: str, espeak: Espeak, mode: Mode = "fixed") -> list[str]:
    """Phones of French `text`. Raises InputError, MissingPackage."""
    return speak(normalize(spoken(text, "fr") if mode == "fixed" else text), "fr", espeak, mode)


def normalize(text: str) -> str:
    """Abbreviations spelled out, punctuation reduced to , . ! ? '."""
    for short, long in _WITH_DOT.items():
        text = re.sub(rf"\b{short}\.", long, text, flags=re.IGNORECASE)
    for short in _WITHOUT_DOT:
        text = re.sub(rf"\b{short}", _WITH_DOT[short], text)
    return plain_punctuation(text, {"&": " et "})
