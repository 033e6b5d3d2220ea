"""What the tasks hear, made from clean speech as in the paper (§4.2 to §4.4), at 16 kHz, the rate of the features.

    se   room, then noise, then band limit, over the whole utterance
    tse  a prefix as it is, the enrolment; behind it, another speaker over the rest
    vc   a prefix as it is; behind it, the rest in another voice

The target is always the clean, dry utterance, and stays aligned: responses start at the direct sound, tails are cut.
What is drawn comes from the `rng` that is given. Decisions are drawn first (`draw_*`), so that they can be looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import soxr

from reference_models import features
from reference_models.config import FEATURE_SAMPLE_RATE, SEMANTIC_RATE
from reference_models.errors import InputError
from reference_models.mini.acoustics import F64, PEAK, reverberate, rms, scale_to_snr
from reference_models.training.perturb import Converter, make_converter, world
from reference_models.training.sounds import (
    Noises,
    RecordedNoise,
    RecordedRooms,
    Rooms,
    SyntheticNoise,
    SyntheticRooms,
    Voices,
    excerpt,
)

Heard: TypeAlias = Literal["se", "tse", "vc"]


@dataclass(frozen=True)
class Chances:
    """How often and how strongly; defaults are the paper's where it gives them.

    snr_db:        of speech (in its room) over noise; energies over the whole utterance
    bands_hz:      band limits, drawn equally often: we take them for what is left of the spectrum, not sample rates.
                   8 kHz is all that there is at 16 kHz, and so changes nothing
    prompt_share:  of an utterance is the prompt at most, for tse and vc; `prompt_s` seconds at least
    mixture_db:    of target over interferer in the rest; None: waveforms are added as they are, as in the paper.
                   Drawn by default, so that a corpus at one loudness still shows loud and soft interferers
    lips_prompt:   how often l2s gets a prompt; the others' is `prompt_share`, or drawn in training (se)
    """

    noise: float = 0.9
    snr_db: tuple[float, float] = (-5.0, 20.0)
    reverb: float = 0.35
    band_limit: float = 0.25
    bands_hz: tuple[int, ...] = (2000, 4000, 8000)
    prompt_share: float = 0.4
    prompt_s: float = 0.5
    mixture_db: tuple[float, float] | None = (-5.0, 5.0)
    lips_prompt: float = 0.8


@dataclass(frozen=True)
class World:
    """All that simulation draws from. voices: None: no interferers (tse fails)."""

    chances: Chances = Chances()
    noises: Noises = field(default_factory=SyntheticNoise)
    rooms: Rooms = field(default_factory=SyntheticRooms)
    voices: Voices | None = None
    converter: Converter = world

    def described(self) -> dict[str, str]:
        """What tells this world from another, but for its voices."""
        converter = getattr(self.converter, "__name__", type(self.converter).__name__)
        parts = {"chances": self.chances, "noises": self.noises, "rooms": self.rooms}
        return {name: repr(part) for name, part in parts.items()} | {"converter": converter}


def make_world(
    voices: Voices,
    *,
    noise: Path | None = None,
    rooms: Path | None = None,
    converter: str = "world",
    chances: Chances = Chances(),
) -> World:
    """The world of a user's options. noise, rooms: folders of recordings, None: synthetic; converter: `make_converter`.

    Errors: InputError for an empty folder or an unknown converter
    """
    return World(
        chances,
        SyntheticNoise(voices) if noise is None else RecordedNoise(noise),
        SyntheticRooms() if rooms is None else RecordedRooms(rooms),
        voices,
        make_converter(converter, voices),
    )


@dataclass(frozen=True)
class Simulated:
    """samples: (S,) at 16 kHz, as long as the clean ones; prompt: frames that are clean, None for se; facts: drawn."""

    samples: F64
    prompt: int | None
    facts: Mapping[str, float | str | None]


@dataclass(frozen=True)
class Degradation:
    """What happens to one utterance; None: that does not."""

    snr_db: float | None
    reverb: bool
    band_hz: int | None


def simulate(
    task: Heard, clean: F64, rng: np.random.RandomState, world: World, *, key: str, speaker: str | None
) -> Simulated:
    """What `task` hears instead of `clean` (S,), an utterance of `speaker`.

    Errors: InputError for silence, speech too short for a prompt, no other speaker for tse
    """
    if rms(clean) == 0:
        raise InputError("it is silent")
    if task == "se":
        what = draw_degradation(world.chances, rng)
        drawn = {"snr_db": what.snr_db, "reverb": what.reverb, "band_hz": what.band_hz}
        return Simulated(guard(degrade(clean, what, rng, world, key)), None, drawn)
    prompt, start = draw_prompt(len(clean), world.chances, rng)
    rest, facts = clean[start:], {}
    if task == "tse":
        if world.voices is None:
            raise InputError("target speaker extraction needs other speakers' speech")
        other = excerpt(world.voices.other(speaker, rng), len(rest), rng)
        limits = world.chances.mixture_db
        facts = {"snr_db": None if limits is None else float(rng.uniform(*limits))}
        rest = guard(mix(rest, other, facts["snr_db"]))
    else:
        rest = guard(world.converter(rest, rng))
    return Simulated(np.concatenate([clean[:start], rest]), prompt, facts)


def draw_degradation(chances: Chances, rng: np.random.RandomState) -> Degradation:
    """Each of the three on its own; always the same number of draws."""
    noisy, reverb, limited, snr, band = rng.uniform(size=5)
    low, high = chances.snr_db
    return Degradation(
        snr_db=low + (high - low) * float(snr) if noisy < chances.noise else None,
        reverb=bool(reverb < chances.reverb),
        band_hz=chances.bands_hz[int(band * len(chances.bands_hz))] if limited < chances.band_limit else None,
    )


def degrade(clean: F64, what: Degradation, rng: np.random.RandomState, world: World, key: str) -> F64:
    """(S,) speech in a room as loud as it was, with noise, band-limited: (S,). `guard` is the caller's."""
    heard = clean
    if what.reverb:
        wet = reverberate(clean, world.rooms(rng))[: len(clean)]
        heard = wet * (rms(clean) / rms(wet))
    if what.snr_db is not None:
        heard = heard + scale_to_snr(heard, world.noises(len(clean), key, rng), what.snr_db)
    return heard if what.band_hz is None else limit_band(heard, what.band_hz)


def limit_band(samples: F64, band_hz: int) -> F64:
    """(S,) at 16 kHz without what is above `band_hz`: down to twice that rate, and back up."""
    narrow = 2 * band_hz
    if narrow >= FEATURE_SAMPLE_RATE:
        return samples
    low = soxr.resample(samples, FEATURE_SAMPLE_RATE, narrow, quality="HQ")
    back = soxr.resample(low, narrow, FEATURE_SAMPLE_RATE, quality="HQ")[: len(samples)]
    return np.pad(back, (0, len(samples) - len(back)))


def draw_prompt(samples: int, chances: Chances, rng: np.random.RandomState) -> tuple[int, int]:
    """(frames, samples) of the prompt of an utterance of so many samples: cut there, it has exactly so many frames.

    Errors: InputError where `prompt_s` is more than `prompt_share` of it
    """
    most = min(int(chances.prompt_share * features.frames(samples)), features.frames(samples) - 1)
    least = max(1, round(chances.prompt_s * SEMANTIC_RATE))
    if most < least:
        seconds = samples / FEATURE_SAMPLE_RATE
        raise InputError(f"its {seconds:.2f} s are too short for a prompt of {chances.prompt_s} s")
    frames = int(rng.randint(least, most + 1))
    step = features.STACK * features.HOP
    return frames, features.WINDOW + (frames - 1) * step + int(rng.randint(step))  # see `features.frames`


def mix(target: F64, other: F64, snr_db: float | None) -> F64:
    """(S,) + (S,), the second `snr_db` below the first over the whole length, or as it is."""
    if snr_db is None or rms(target) == 0 or rms(other) == 0:  # a pause has no ratio
        return target + other
    return target + scale_to_snr(target, other, snr_db)


def guard(samples: F64) -> F64:
    """Softer as a whole where it would exceed full scale: nothing is clipped, and ratios stay."""
    peak = float(np.abs(samples).max())
    return samples * (PEAK / peak) if peak > 1 else samples
