"""Mandarin by character, with Latin words and numbers whole (as wenet-e2e/wenet: tools/compute-wer.py --char=1).

`seed_tts_eval` splits Latin letters and digits too, which makes one wrong English word cost as much as a clause.
"""

from __future__ import annotations

import re
import unicodedata

from metis_bench.text.profiles import Profile, profiles

_TOKEN = re.compile(r"[a-z0-9']+|\w")


@profiles.register("zh_char")
class ZhChar(Profile):
    """zh. Full-width forms are folded (NFKC), punctuation and symbols left out, letters in lower case."""

    name = "zh_char"
    version = "1"
    languages = frozenset({"zh"})

    def reference(self, text: str, language: str) -> str:
        """Tokens separated by spaces."""
        self.check(language)
        return " ".join(_TOKEN.findall(unicodedata.normalize("NFKC", text).lower()))
