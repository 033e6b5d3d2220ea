"""The talkers of the mini corpus: eSpeak NG voices made distinct by pitch, range, rate and vocal tract length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reference_models.mini.acoustics import F64, PEAK, generator, rms, scale_to_snr
from reference_models.mini.alignment import Phone
from reference_models.mini.espeak import EspeakEngine, Voice
from reference_models.seeds import derive_seed

LEVEL = 0.06  # RMS of every utterance, about -24 dBFS
ROOM_SNR_DB = 45.0  # a quiet room's noise floor: recorded speech never holds digital silence


@dataclass(frozen=True)
class Speaker:
    """`warp` > 1 shortens the vocal tract (all frequencies rise); `voice` is given as it sounds before the warp."""

    name: str
    voice: Voice
    warp: float = 1.0


# The talkers of evaluations. Chosen among 429 candidates (variants by pitch by warp): of those with a closed-vocabulary
# WER below 5 % and a DNSMOS OVRL above 2.2, one after another the least alike to those before it for the GE2E encoder
# (utterances of one talker 0.91 on average and 0.88 at least, of two talkers 0.55 on average and 0.76 at most).
SPEAKERS = (
    Speaker("f5", Voice("en-us+f5", rate=150)),
    Speaker("m1", Voice("en-us+m1", rate=150)),
    Speaker("ed", Voice("en-us+ed", rate=150)),
    Speaker("steph", Voice("en-us+steph", rate=150)),
    Speaker("klatt", Voice("en-us+klatt", rate=150)),
    Speaker("klatt4", Voice("en-us+klatt4", rate=136, pitch=60), warp=1.1),
    Speaker("anika", Voice("en-us+anika", rate=160), warp=0.94),
    Speaker("reed", Voice("en-us+Reed", rate=160, pitch=25), warp=0.94),
    Speaker("victor", Voice("en-us+victor", rate=160, pitch=75), warp=0.94),
    Speaker("m6-high", Voice("en-us+m6", rate=133, pitch=75), warp=1.13),
    Speaker("f5-low", Voice("en-us+f5", rate=172, pitch=25), warp=0.87),
    Speaker("m6-low", Voice("en-us+m6", rate=172, pitch=25), warp=0.87),
)


# Variants of eSpeak's voices that a recogniser understands; the others are croaks, whispers and effects.
VARIANTS = (
    *(f"m{i}" for i in range(1, 9)),
    *(f"f{i}" for i in range(1, 6)),
    *("klatt", "klatt2", "klatt4", "Reed", "victor", "adam", "david", "pablo", "ed", "Mike", "max", "steph", "anika"),
)
RATES, PITCHES, RANGES, WARPS = (140, 190), (15, 85), (30, 70), (0.85, 1.17)  # of voices that models are trained on
NEAR_PITCH, NEAR_WARP = 8, 0.04  # a trained-on voice of the same variant is further from an evaluated one than this


def say(engine: EspeakEngine, speaker: Speaker, text: str, rate: int) -> F64:
    """`text` said by `speaker` in a quiet room: (T,) at `rate` Hz, RMS `LEVEL`. Depends on its arguments only."""
    return say_aligned(engine, speaker, text, rate)[0]


def say_aligned(engine: EspeakEngine, speaker: Speaker, text: str, rate: int) -> tuple[F64, tuple[Phone, ...]]:
    """As `say`, and when what is said, in seconds of the result."""
    import soxr

    spoken = engine.synthesize(text, speaker.voice, seed=derive_seed("mini-espeak", speaker.name, text))
    # Read at another rate than it was made for, speech is faster and all its formants higher: a shorter vocal tract.
    read_at = round(spoken.rate * speaker.warp)
    dry = np.asarray(soxr.resample(spoken.samples, read_at, rate, quality="HQ"), dtype=np.float32).astype(np.float64)
    dry *= LEVEL / rms(dry)
    room = generator(derive_seed("mini-room", speaker.name, text)).standard_normal(len(dry))
    out: F64 = dry + scale_to_snr(dry, room, ROOM_SNR_DB)
    faster = spoken.rate / read_at
    phones = tuple(Phone(p.symbol, p.start * faster, p.end * faster) for p in spoken.phones)
    return out * min(1.0, PEAK / float(np.abs(out).max())), phones


def training_voices(count: int, purpose: str = "training") -> tuple[Speaker, ...]:
    """So many voices that no evaluation uses, nor comes near; another purpose gives others."""
    found: list[Speaker] = []
    number = 0
    while len(found) < count:
        speaker = _drawn(f"{purpose}-{number:04d}")
        number += 1
        if not any(near(speaker, known) for known in SPEAKERS):
            found.append(speaker)
    return tuple(found)


def near(a: Speaker, b: Speaker) -> bool:
    """Whether two voices are of one variant, and about equally high and long."""
    same = a.voice.name == b.voice.name
    return same and round(abs(a.warp - b.warp), 3) <= NEAR_WARP and abs(a.voice.pitch - b.voice.pitch) <= NEAR_PITCH


def _drawn(name: str) -> Speaker:
    """A voice that follows from its name."""
    rng = generator(derive_seed("mini-voice", name))
    variant = VARIANTS[rng.randint(len(VARIANTS))]
    warp = round(float(rng.uniform(*WARPS)), 3)
    rate, pitch, spread = (int(rng.randint(low, high + 1)) for low, high in (RATES, PITCHES, RANGES))
    return Speaker(name, Voice(f"en-us+{variant}", round(rate / warp), pitch, spread), warp)
