"""What a recogniser is to WER: an extractor of transcripts, registered by name."""

from __future__ import annotations

from typing import ClassVar

from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.base import MIXED, Extractor
from metis_bench.registry import Registry

# What the SeedTTS-eval protocol uses (BytedanceSpeech/seed-tts-eval@752f429 run_wer.py:85-101)
PROTOCOL_RECOGNISER = {"en": "whisper-large-v3", "zh": "paraformer-zh"}


class Recogniser(Extractor):
    """Register with `@recognisers.register("name")`. The feature is {"text": transcript}; empty is a legal transcript.

    languages: what it recognises
    """

    kind = "recogniser"
    languages: ClassVar[frozenset[str]]
    extra = "asr"

    def __init__(self, texts: tuple[str, ...], language: str) -> None:
        """`texts`: all texts of the corpus, for recognisers with a closed vocabulary."""
        self.texts = texts
        self.language = language

    def check(self) -> None:
        """Raise MissingPrerequisite when a package or weights are missing, or it does not know the language. Cheap."""
        if self.language == MIXED:
            raise MissingPrerequisite(
                f"the corpus has items in several languages, and recogniser '{self.name}' is told one",
                fix="name it once for each language in the suite (a folder: one manifest each)",
            )
        if self.language not in self.languages:
            known = (
                ", ".join(sorted(self.languages)) if len(self.languages) < 12 else f"{len(self.languages)} languages"
            )
            protocol = PROTOCOL_RECOGNISER.get(self.language, "whisper-large-v3")
            raise MissingPrerequisite(
                f"recogniser '{self.name}' knows only {known}, not '{self.language}'",
                fix=f"choose a recogniser for it (the protocol's is {protocol}), or leave wer out of this corpus",
            )
        super().check()


recognisers: Registry[Recogniser] = Registry("recogniser", "metis_bench.metrics.asr")
