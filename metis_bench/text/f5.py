"""The normaliser of F5-TTS: that of SeedTTS-eval, without apostrophes either (SWivid/F5-TTS@2ae2c9b utils_eval.py)."""

from __future__ import annotations

from metis_bench.text.profiles import profiles
from metis_bench.text.seed_tts_eval import SeedTTSEval


@profiles.register("f5")
class F5(SeedTTSEval):
    """en: words, lower case, no apostrophe (don't becomes dont); zh: characters."""

    name = "f5"
    version = "1"
    removed = SeedTTSEval.removed + "'"
