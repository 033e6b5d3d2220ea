"""The normaliser of SeedTTS-eval, which the Metis paper's WER uses, reproduced with its quirks.

Source: BytedanceSpeech/seed-tts-eval@752f429 run_wer.py:31-58 (process_one). The quirks are the protocol: curly quotes
are punctuation but the straight apostrophe is not (don\N{RIGHT SINGLE QUOTATION MARK}t becomes dont, don't stays);
hyphens are deleted, not turned into spaces; a double space is replaced once; Chinese is scored by character, and so
are the Latin letters and digits in it; there is no number or spelling normalisation.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Mapping
from typing import ClassVar

from metis_bench.hashing import JSON, sha256_bytes
from metis_bench.text.profiles import Profile, profiles

# zhon.hanzi.punctuation of zhon 2.1.1 (MIT), in its order; a test compares it with the installed package
ZHON_PUNCTUATION = (
    "\uff02\uff03\uff04\uff05\uff06\uff07\uff08\uff09\uff0a\uff0b\uff0c\uff0d"
    "\uff0f\uff1a\uff1b\uff1c\uff1d\uff1e\uff20\uff3b\uff3c\uff3d\uff3e\uff3f"
    "\uff40\uff5b\uff5c\uff5d\uff5e\uff5f\uff60\uff62\uff63\uff64\u3000\u3001\u3003"
    "\u3008\u3009\u300a\u300b\u300c\u300d\u300e\u300f\u3010\u3011"
    "\u3014\u3015\u3016\u3017\u3018\u3019\u301a\u301b\u301c\u301d\u301e\u301f"
    "\u3030\u303e\u303f\u2013\u2014\u2018\u2019\u201b\u201c\u201d\u201e\u201f\u2026\u2027\ufe4f\ufe51\ufe54\u00b7"
    "\uff0e\uff01\uff1f\uff61\u3002"
)
REMOVED = (ZHON_PUNCTUATION + string.punctuation).replace("'", "")


@functools.cache
def _removing(characters: str) -> Mapping[int, int | None]:
    return str.maketrans("", "", characters)


@profiles.register("seed_tts_eval")
class SeedTTSEval(Profile):
    """en: words, lower case; zh: characters. Same function for reference and hypothesis.

    The original converts Chinese transcripts to simplified characters before this; that belongs to the recogniser.
    """

    name = "seed_tts_eval"
    version = "1"
    languages = frozenset({"en", "zh"})
    removed: ClassVar[str] = REMOVED

    def reference(self, text: str, language: str) -> str:
        """`process_one`'s truth and hypo: the same is done to both."""
        self.check(language)
        text = text.translate(_removing(self.removed)).replace("  ", " ")  # once: jiwer collapses what is left
        return " ".join(text) if language == "zh" else text.lower()

    def signature(self) -> Mapping[str, JSON]:
        """Name, version and sha256 of the removed characters."""
        return {**super().signature(), "removed_sha256": sha256_bytes(self.removed.encode())}
