"""The same words at the same times in another voice: the source in training of voice conversion (paper §4.3).

The paper converts with OpenVoice: `OpenVoice` does, where the user brings it. Otherwise WORLD shifts pitch and formants
(`world`), or, without pyworld, resampling and an equaliser do (`resampled`).
"""

from __future__ import annotations

import importlib
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from reference_models.config import FEATURE_SAMPLE_RATE as RATE
from reference_models.errors import InputError, MissingPackage
from reference_models.mini.acoustics import F64, rms
from reference_models.training.sounds import Voices

SEMITONES = 6.0  # of the mean pitch, up or down
MELODY = (0.7, 1.3)  # how far pitch moves about its mean, as a factor of its logarithm
FORMANTS = 1.25  # at most this factor up, or down
BANDS, GAIN_DB = 5, 6.0  # of the equaliser
GRAIN, SEARCH = 640, 160  # samples of an overlapping piece of a stretched signal, and how far it may move for a fit


class Converter(Protocol):
    """Another voice, drawn by `rng`."""

    def __call__(self, samples: F64, rng: np.random.RandomState) -> F64:
        """(S,) at 16 kHz to (S,), time by time the same sounds."""


@dataclass(frozen=True)
class Voice:
    """pitch: factor of the mean f0; melody: of log f0 about its mean; formants: of every resonance's frequency."""

    pitch: float
    melody: float
    formants: float


def draw_voice(rng: np.random.RandomState) -> Voice:
    """A voice within the limits above: pitch and formants uniform on a logarithmic scale, up as often as down."""
    pitch = 2 ** (rng.uniform(-SEMITONES, SEMITONES) / 12)
    return Voice(float(pitch), float(rng.uniform(*MELODY)), float(FORMANTS ** rng.uniform(-1, 1)))


def world(samples: F64, rng: np.random.RandomState) -> F64:
    """(S,) in a drawn voice, by WORLD; as loud as before. Errors: MissingPackage without pyworld."""
    return revoice(samples, draw_voice(rng))


def revoice(samples: F64, voice: Voice) -> F64:
    """(S,) with pitch and spectral envelope moved and the aperiodicity as it was (Morise et al. 2016, WORLD)."""
    try:
        with warnings.catch_warnings():  # it warns of its own use of setuptools
            warnings.simplefilter("ignore")
            import pyworld
    except ImportError as error:
        raise MissingPackage("perturbing voices with WORLD", "pyworld", "embedded") from error
    wav = np.ascontiguousarray(samples, np.float64)
    coarse, times = pyworld.dio(wav, RATE)
    f0 = pyworld.stonemask(wav, coarse, times, RATE)  # (F,), 0 where unvoiced
    envelope = pyworld.cheaptrick(wav, f0, times, RATE)  # (F, bins)
    aperiodicity = pyworld.d4c(wav, f0, times, RATE)  # (F, bins)
    new = pyworld.synthesize(_moved(f0, voice), _warped(envelope, voice.formants), aperiodicity, RATE)
    return _as_loud(_fitted(new, len(samples)), samples)


def _moved(f0: F64, voice: Voice) -> F64:
    voiced = f0 > 0
    moved = np.zeros_like(f0)
    if voiced.any():
        pitch = np.log(f0[voiced])
        moved[voiced] = np.exp(pitch.mean() + np.log(voice.pitch) + voice.melody * (pitch - pitch.mean()))
    return moved


def _warped(envelope: F64, factor: float) -> F64:
    """(F, bins): what was at a frequency is at `factor` times it; beyond what is known, the last bin goes on."""
    bins = envelope.shape[1]
    at = np.minimum(np.arange(bins) / factor, bins - 1)
    left = np.minimum(at.astype(int), bins - 2)
    logs = np.log(envelope)
    return np.ascontiguousarray(np.exp(logs[:, left] + (at - left) * (logs[:, left + 1] - logs[:, left])))


def resampled(samples: F64, rng: np.random.RandomState) -> F64:
    """(S,) with pitch and formants moved by one factor: resampled, stretched back (WSOLA), equalised at random."""
    factor = float(FORMANTS ** rng.uniform(-1, 1))
    moved = np.asarray(soxr.resample(samples, RATE * factor, RATE, quality="HQ"), np.float64)  # (S / factor,)
    return _as_loud(_equalised(stretch(moved, len(samples)), rng), samples)


def stretch(samples: F64, length: int) -> F64:
    """(S,) to (length,) at the same pitch: pieces overlap where they fit (WSOLA, Verhelst and Roelands 1993)."""
    hop, window = GRAIN // 2, np.hanning(GRAIN + 1)[:-1]
    padded = np.pad(samples, (hop + SEARCH, 2 * GRAIN + SEARCH))
    out, weight = np.zeros(length + 2 * GRAIN), np.zeros(length + 2 * GRAIN)
    follows: F64 | None = None  # what would come next if nothing were stretched
    for at in range(0, length + hop, hop):
        start = round(min(at / length, 1.0) * len(samples))  # in `padded`, `SEARCH` before where the piece begins
        piece = padded[start : start + GRAIN + 2 * SEARCH]
        shift = SEARCH if follows is None else _best_fit(piece, follows)
        begin = start + shift
        out[at : at + GRAIN] += window * padded[begin : begin + GRAIN]
        weight[at : at + GRAIN] += window
        follows = padded[begin + hop : begin + hop + GRAIN]
    return out[hop : hop + length] / np.maximum(weight[hop : hop + length], 1e-3)


def _best_fit(piece: F64, follows: F64) -> int:
    """Where in `piece` is most like `follows`, loudness aside."""
    energy = np.cumsum(np.concatenate([[0.0], piece**2]))
    size = np.sqrt(np.maximum(energy[len(follows) :] - energy[: -len(follows)], 0.0)) + 1e-9
    return int((np.correlate(piece, follows, "valid") / size).argmax())


def _equalised(samples: F64, rng: np.random.RandomState) -> F64:
    """`BANDS` bells on the logarithmic frequency axis, an octave wide, up or down."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(samples), 1 / RATE), 20.0))  # (bins,)
    centres = rng.uniform(np.log2(60.0), np.log2(RATE / 2), size=BANDS)
    gains = rng.uniform(-GAIN_DB, GAIN_DB, size=BANDS)
    gain_db = (gains[:, None] * np.exp(-2 * (octaves - centres[:, None]) ** 2)).sum(0)
    return np.fft.irfft(np.fft.rfft(samples) * 10 ** (gain_db / 20), len(samples))


class OpenVoice:
    """OpenVoice's tone colour converter (`myshell-ai/OpenVoice:openvoice/api.py`), towards another utterance's voice.

    make:   builds the user's loaded `ToneColorConverter`, without its watermark (which models would learn), when first
            used; needed of it: `extract_se`, `convert` and `hps.data.sampling_rate`
    voices: whose tone colours are taken
    """

    def __init__(self, make: Callable[[], Any], voices: Voices) -> None:
        self._make, self._voices = make, voices

    @cached_property
    def _converter(self) -> Any:
        return self._make()

    def __call__(self, samples: F64, rng: np.random.RandomState) -> F64:
        """(S,) at 16 kHz to (S,)."""
        import soundfile
        import torch

        target = self._voices.any_but("", rng)
        with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
            torch.manual_seed(int(rng.randint(2**31)))  # it draws from torch's generator
            files = [str(Path(folder) / name) for name in ("source.wav", "target.wav")]
            for file, wav in zip(files, (samples, target), strict=True):
                soundfile.write(file, wav, RATE, subtype="FLOAT")
            colours = [self._converter.extract_se([file]) for file in files]
            converted = self._converter.convert(files[0], *colours)
        rate = int(self._converter.hps.data.sampling_rate)
        resampled_back = soxr.resample(np.asarray(converted, np.float64), rate, RATE, quality="HQ")
        return _as_loud(_fitted(resampled_back, len(samples)), samples)


def make_converter(name: str, voices: Voices) -> Converter:
    """`world`, `resampled`, or `openvoice=MODULE:CALLABLE` with what `OpenVoice` is made of. Errors: InputError."""
    if name in CONVERTERS:
        return CONVERTERS[name]
    kind, _, target = name.partition("=")
    module, _, attribute = target.partition(":")
    if kind != "openvoice" or not module or not attribute:
        choice = ", ".join([*CONVERTERS, "openvoice=MODULE:CALLABLE"])
        raise InputError(f"there is no voice converter '{name}'", fix=f"one of {choice}")
    try:
        make = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{target} cannot be imported ({error})", fix="name a callable on the Python path") from error
    return OpenVoice(make, voices)


def _fitted(samples: NDArray[np.float64], length: int) -> F64:
    """(length,): cut, or with zeros behind it."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _as_loud(samples: F64, before: F64) -> F64:
    level = rms(samples)
    return samples * (rms(before) / level) if level > 0 else samples


_Converters: TypeAlias = Mapping[str, Converter]
CONVERTERS: _Converters = {"world": world, "resampled": resampled}
