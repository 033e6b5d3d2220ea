"""The mini family's own recogniser: open to any order of the mini grammar's words, and to no other word.

It was trained on synthetic speech of its own voices and sentences (`reference_models.mini.hear`); it forgives what a
recogniser of human speech would not, so pocketsphinx stands beside it in every suite.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from metis_bench.audio import AUDIO_VERSION
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON, sha256_file
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip
from metis_bench.systems.told import told
from metis_bench.text.seed_tts_eval import SeedTTSEval

if TYPE_CHECKING:
    from reference_models.mini.recognise import MiniRecogniser

RATE = 16_000  # Hz


@functools.lru_cache(maxsize=1)
def _recogniser() -> MiniRecogniser:
    from reference_models.hub import SHIPPED
    from reference_models.mini.recognise import open_recogniser

    with told():
        return open_recogniser(SHIPPED)


@functools.lru_cache(maxsize=1)
def _content() -> tuple[str, str]:
    """sha256 of the network and of the search."""
    from reference_models.hub import SHIPPED
    from reference_models.mini.recognise import FILE
    from reference_models.sizes import config_path

    return sha256_file(SHIPPED / FILE), sha256_file(config_path(SHIPPED / FILE))


@recognisers.register("mini")
class Mini(Recogniser):
    """English of the mini grammar, 16 kHz, whole clip; the same audio always gives the same transcript."""

    name = "mini"
    languages = frozenset({"en"})

    def check(self) -> None:
        """Raise MissingPrerequisite when a text holds a word that it does not know, or its weights are not here."""
        super().check()
        known = set(_recogniser().search.words)
        said = {word for text in self.texts for word in SeedTTSEval().hypothesis(text, "en").split()}
        if unknown := sorted(said - known):
            raise MissingPrerequisite(
                f"recogniser 'mini' knows only the words of the mini corpus, not '{unknown[0]}'",
                fix="take another recogniser for this corpus, such as pocketsphinx",
            )

    def signature(self) -> Mapping[str, JSON]:
        """The content of its files."""
        network, search = _content()
        return {
            "name": self.name,
            "version": "1",
            "network_sha256": network,
            "search_sha256": search,
            "rate": RATE,
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """{"text": transcript in lower case}. Raises AudioError."""
        return {"text": _recogniser().transcribe(clip.audio(RATE).samples)}
