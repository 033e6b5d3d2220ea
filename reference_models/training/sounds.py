"""What disturbs speech in simulation: other talkers, noises and rooms, recorded or made from numbers. All at 16 kHz."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from reference_models.config import FEATURE_SAMPLE_RATE
from reference_models.errors import InputError
from reference_models.mini.acoustics import F64, KINDS, impulse_response, noise, rms
from reference_models.speech import Speech
from reference_models.training.sources import SUFFIXES, Utterance, audio_files, read_speech

TRIES = 50  # draws, before what is left is gone through in order


class Noises(Protocol):
    """Noise for one sample."""

    def __call__(self, length: int, key: str, rng: np.random.RandomState) -> F64:
        """(length,) at 16 kHz, of any loudness but silence. key: of the utterance that it is for."""


class Rooms(Protocol):
    """A room for one sample."""

    def __call__(self, rng: np.random.RandomState) -> F64:
        """An impulse response at 16 kHz whose direct sound, 1, is sample 0."""


@dataclass(frozen=True)
class Talker:
    """Somebody's speech. load: decodes it, raises InputError where that fails."""

    key: str
    speaker: str | None
    load: Callable[[], Speech]


class Voices:
    """Utterances to draw other talkers from. talker: the one of a number below `count`; may be costly, may fail."""

    def __init__(self, count: int, talker: Callable[[int], Talker]) -> None:
        self._count, self._talker = count, talker

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> Voices:
        """Of all `utterances`; their order does not matter."""
        talkers = [Talker(u.key, u.speaker, u.load) for u in sorted(utterances, key=lambda u: u.key)]
        return cls(len(talkers), talkers.__getitem__)

    def other(self, speaker: str | None, rng: np.random.RandomState) -> F64:
        """(S,) speech, not silent, of a speaker who is known not to be `speaker`.

        Errors: InputError where `speaker` is None, or nobody else's utterance can be used
        """
        if speaker is None:
            raise InputError("its speaker is not known, so nobody is known to be another", fix="give the speaker")
        return self._draw(lambda talker: talker.speaker not in (None, speaker), "of another speaker", rng)

    def any_but(self, key: str, rng: np.random.RandomState) -> F64:
        """(S,) speech, not silent, of another utterance than `key`."""
        return self._draw(lambda talker: talker.key != key, "beside itself", rng)

    def _draw(self, fits: Callable[[Talker], bool], which: str, rng: np.random.RandomState) -> F64:
        guesses: list[int] = rng.randint(self._count, size=TRIES).tolist() if self._count else []
        in_order = ((guesses[0] + step) % self._count for step in range(self._count))
        for number in itertools.chain(guesses, in_order):
            talker = self._talker(number)
            if fits(talker) and (heard := _heard(talker)) is not None:
                return heard
        raise InputError(f"there is no utterance {which} that can be used")


def at_16k(speech: Speech) -> F64:
    """(S,) at 16 kHz."""
    return np.asarray(speech.at(FEATURE_SAMPLE_RATE).numpy(), np.float64)


def _heard(talker: Talker) -> F64 | None:
    """The talker's speech, or None where it is silent or damaged."""
    try:
        samples = at_16k(talker.load())
    except InputError:
        return None
    return samples if rms(samples) > 0 else None


def excerpt(sound: F64, length: int, rng: np.random.RandomState) -> F64:
    """(length,) of `sound` from a random place on; a shorter sound is repeated."""
    if len(sound) < length:
        return np.resize(np.roll(sound, -rng.randint(len(sound))), length)
    start = rng.randint(len(sound) - length + 1)
    return sound[start : start + length]


@dataclass(frozen=True)
class SyntheticNoise:
    """White noise, pink noise, hum with clicks, and, where there are `voices`, babble; each as often as the others."""

    voices: Voices | None = field(default=None, repr=False)
    talkers: int = 4

    def __call__(self, length: int, key: str, rng: np.random.RandomState) -> F64:
        """(length,) at 16 kHz."""
        kinds = [kind for kind in KINDS if kind != "babble" or self.voices is not None]
        kind = kinds[rng.randint(len(kinds))]
        babble = self.voices if kind == "babble" else None
        talkers = [] if babble is None else [babble.any_but(key, rng) for _ in range(self.talkers)]
        return noise(kind, length, FEATURE_SAMPLE_RATE, rng, talkers)


@dataclass(frozen=True)
class SyntheticRooms:
    """Noise that decays by 60 dB in `t60_s`, its energy `direct_db` below the direct sound's; both drawn uniformly."""

    t60_s: tuple[float, float] = (0.2, 1.0)
    direct_db: tuple[float, float] = (-3.0, 6.0)

    def __call__(self, rng: np.random.RandomState) -> F64:
        """(S,) at 16 kHz."""
        t60_s, direct_db = rng.uniform(*self.t60_s), rng.uniform(*self.direct_db)
        return impulse_response(FEATURE_SAMPLE_RATE, t60_s, rng, direct_db)


class RecordedNoise:
    """Excerpts of the audio files in a folder, at any depth. Errors: InputError where there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, _files(folder)

    def __repr__(self) -> str:
        return f"RecordedNoise({str(self._folder)!r})"

    def __call__(self, length: int, key: str, rng: np.random.RandomState) -> F64:  # noqa: ARG002 - the protocol's
        """(length,) at 16 kHz."""
        for _ in range(TRIES):  # a recording may be silent in places
            found = excerpt(_read(self._files, rng), length, rng)
            if rms(found) > 0:
                return found
        raise InputError(f"the noise recordings beside {self._files[0]} are silent")


class RecordedRooms:
    """Impulse responses in a folder, at any depth, from their largest sample on. Errors: InputError without any."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, _files(folder)

    def __repr__(self) -> str:
        return f"RecordedRooms({str(self._folder)!r})"

    def __call__(self, rng: np.random.RandomState) -> F64:
        """(S,) at 16 kHz."""
        response = _read(self._files, rng)
        direct = int(np.abs(response).argmax())
        if response[direct] == 0:
            raise InputError(f"an impulse response beside {self._files[0]} is silent")
        return np.asarray(response[direct:] / response[direct])


def _files(folder: Path) -> list[Path]:
    files = audio_files(folder)
    if not files:
        raise InputError(f"{folder}: there are no audio files", fix=f"its files end in {', '.join(sorted(SUFFIXES))}")
    return files


def _read(files: Sequence[Path], rng: np.random.RandomState) -> F64:
    path = files[rng.randint(len(files))]
    return at_16k(read_speech(path, str(path)))
