"""eSpeak NG as a function: the same request gives the same bits, in any order, process and repetition.

The library (GPL-3, optional, from the `espeakng-loader` wheel) runs in a process of its own.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError, MetisError, MissingPackage, VoiceError, nearest
from reference_models.espeak import START_S, EspeakProcess
from reference_models.mini.alignment import Phone, spans


@dataclass(frozen=True)
class Voice:
    """How to say it. name: language and optional variant (`en-us+f2`); rate: words a minute (80..450);

    pitch, range: 0..99, eSpeak's own scale; volume: 0..200, 100 is the voice's own level.
    """

    name: str = "en-us"
    rate: int = 175
    pitch: int = 50
    range: int = 50
    volume: int = 100


@dataclass(frozen=True)
class Spoken:
    """samples: (T,) at `rate` Hz; phones: all of it, pauses too, without gaps."""

    samples: NDArray[np.float32]
    rate: int
    phones: tuple[Phone, ...]

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def library_paths() -> tuple[str, str]:
    """(library, data folder) of the espeakng-loader wheel. Raises MissingPackage."""
    try:
        import espeakng_loader
    except ImportError:
        raise MissingPackage("eSpeak NG speech", "espeakng-loader", "embedded") from None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


def plain_text(text: str) -> str:
    """`text` without control characters: eSpeak reads commands after Ctrl-A, and stops at NUL.

    Raises InputError for text without a single visible character or not expressible in UTF-8.
    """
    clean = "".join(" " if unicodedata.category(c) in {"Cc", "Co", "Cn"} else c for c in text).strip()
    if not clean:
        raise InputError("there is no text to speak")
    if any(unicodedata.category(c) == "Cs" for c in clean):
        raise InputError("the text holds lone surrogates, which are not UTF-8")
    return clean


class EspeakEngine(EspeakProcess):
    """Speaks through one server process. Thread-safe."""

    def library(self) -> tuple[str, str]:
        """Of the wheel: other versions sound different."""
        return library_paths()

    def synthesize(self, text: str, voice: Voice, seed: int = 0) -> Spoken:
        """`text` said by `voice`, mono at eSpeak's 22050 Hz; markup is read out, never interpreted.

        Raises InputError (nothing to speak, crash, timeout), VoiceError, MissingPackage.
        """
        clean = plain_text(text)
        self._check_name(voice.name)
        reply, pcm = self._speak(clean, voice, seed)
        if "error" in reply:
            raise InputError(reply["error"])
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32) / 32768.0
        if not samples.any():
            raise InputError(f"eSpeak voice '{voice.name}' finds nothing to speak in {clean[:40]!r}")
        rate = int(self.hello()["rate"])
        return Spoken(samples, rate, spans(reply["phones"], samples, rate))

    def check_voice(self, name: str) -> None:
        """Raise VoiceError with the nearest valid name when eSpeak has no voice `name`."""
        self._check_name(name)
        reply, _ = self._speak("a", Voice(name), 0)
        if "error" in reply:  # eSpeak lists a few voices that it cannot load, such as en-gb
            raise VoiceError(f"{reply['error']}{nearest(name, [v for v in self._names['voices'] if v != name])}")

    def _speak(self, text: str, voice: Voice, seed: int) -> tuple[dict[str, Any], bytes]:
        return self.ask("speak", **asdict(voice), voice=voice.name, text=text, seed=seed)

    @functools.cached_property
    def _names(self) -> dict[str, Any]:
        reply, _ = self.ask("voices", timeout_s=START_S)
        if "error" in reply:
            raise MetisError(reply["error"], fix=self.reinstall())
        return reply

    def _check_name(self, name: str) -> None:
        language, _, variant = name.partition("+")
        for kind, part in (("voice", language), ("variant", variant)):
            valid = self._names[f"{kind}s"]
            if part not in valid and (part or kind == "voice"):
                raise VoiceError(f"eSpeak NG has no {kind} '{part}'{nearest(part, valid)}")
