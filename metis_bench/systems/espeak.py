"""Text to speech by eSpeak NG: a formant synthesiser that clones nobody, and the same with a WORLD voice transfer."""

from __future__ import annotations

from pydantic import Field

from metis_bench.audio import Audio
from metis_bench.corpora.base import Params
from metis_bench.errors import ItemError, nearest
from metis_bench.systems.base import Request, System, systems
from metis_bench.systems.told import told
from metis_bench.systems.world_vocoder import load_pyworld, transfer
from reference_models.mini.espeak import EspeakEngine, Voice

VOICES = {"en": "en-us", "zh": "cmn", "de": "de", "fr": "fr", "ja": "ja", "ko": "ko"}  # language -> eSpeak voice


class EspeakParams(Params):
    """voice: an eSpeak voice with optional variant (`en-us+f2`), instead of the one the item's language implies.

    rate: words a minute; pitch, range: 0..99 on eSpeak's scale; timeout_s: what one utterance may take.
    """

    voice: str | None = None
    rate: int = Field(160, ge=80, le=450)
    pitch: int = Field(50, ge=0, le=99)
    range: int = Field(50, ge=0, le=99)
    timeout_s: float = Field(30.0, gt=0)


class _Speaking(System):
    """What both systems share: one engine, started in setup."""

    params_type = EspeakParams
    params: EspeakParams

    def setup(self) -> None:
        """Start eSpeak. Raises SuiteError for an unknown voice."""
        self._engine = EspeakEngine(self.params.timeout_s)
        with told():
            self._engine.check_voice(self.params.voice or VOICES["en"])

    def close(self) -> None:
        """End eSpeak."""
        self._engine.close()

    def _say(self, request: Request) -> Audio:
        if request.text is None:
            raise ItemError("espeak needs a text")
        if self.params.voice is None and request.language not in VOICES:
            raise ItemError(f"no eSpeak voice for language '{request.language}'{nearest(request.language, VOICES)}")
        name = self.params.voice or VOICES[request.language]
        voice = Voice(name, rate=self.params.rate, pitch=self.params.pitch, range=self.params.range)
        with told():
            spoken = self._engine.synthesize(request.text, voice)
        return Audio(spoken.samples, spoken.rate)


@systems.register("espeak")
class Espeak(_Speaking):
    """eSpeak NG in its own voice, 22.05 kHz: intelligible, and nobody's voice."""

    kind = "classical"
    tasks = frozenset({"tts"})
    needs = frozenset({"text"})
    packages = ("espeakng-loader",)

    def generate(self, request: Request) -> Audio:
        """The text, spoken."""
        return self._say(request)


@systems.register("espeak-world")
class EspeakWorld(_Speaking):
    """eSpeak NG moved towards the prompt's voice by WORLD: a zero-shot cloner without learning, 22.05 kHz."""

    kind = "classical"
    tasks = frozenset({"tts"})
    needs = frozenset({"text", "prompt"})
    packages = ("espeakng-loader", "pyworld")

    def setup(self) -> None:
        """Start eSpeak and import pyworld."""
        load_pyworld()
        super().setup()

    def generate(self, request: Request) -> Audio:
        """The text in the prompt's voice. Raises ItemError when the prompt holds no voiced speech."""
        if request.prompt is None:
            raise ItemError("espeak-world needs a prompt")
        return transfer(self._say(request), request.prompt)
