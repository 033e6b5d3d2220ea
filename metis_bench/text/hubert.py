"""How LibriSpeech is scored with HuBERT: letters, digits and straight apostrophes, lower case.

Source: k2-fsa/ZipVoice@2f7326f zipvoice/eval/wer/hubert.py `post_process`. Seed-VC's own is `seed_vc`.
"""

from __future__ import annotations

import re

from metis_bench.text.profiles import Profile, profiles

_QUOTES = str.maketrans("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}", "''")
_OTHER = re.compile(r"[^a-zA-Z0-9']")


@profiles.register("hubert")
class Hubert(Profile):
    """English. Everything else, hyphens too, becomes a space."""

    name = "hubert"
    version = "1"
    languages = frozenset({"en"})

    def reference(self, text: str, language: str) -> str:
        """`post_process` of both texts."""
        self.check(language)
        return " ".join(_OTHER.sub(" ", text.translate(_QUOTES).lower()).split())


@profiles.register("librispeech_pc")
class LibriSpeechPC(Hubert):
    """As `hubert`, with apostrophes inside words alone: LibriSpeech-PC (arXiv 2310.02943) adds quotation marks.

    Its texts are LibriSpeech's with case and punctuation; scored like this they are LibriSpeech's again. (Ours: the
    papers that use the list name no normaliser of their own.)
    """

    name = "librispeech_pc"
    version = "1"

    def reference(self, text: str, language: str) -> str:
        """Words of letters, digits, and apostrophes within."""
        words = (word.strip("'") for word in super().reference(text, language).split())
        return " ".join(word for word in words if word)


@profiles.register("seed_vc")
class SeedVC(Profile):
    """Lower case and nothing else: punctuation counts (Plachtaa/seed-vc@d334fb7 eval.py:402-413)."""

    name = "seed_vc"
    version = "1"
    languages = frozenset({"en"})

    def reference(self, text: str, language: str) -> str:
        """Lower case."""
        self.check(language)
        return text.lower()
