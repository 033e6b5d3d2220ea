"""The talkers of the mini corpus: eSpeak NG voices made distinct by pitch, range, rate and vocal tract length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metis_bench.audio import resample
from metis_bench.corpora.mini_acoustics import F64, PEAK, generator, rms, scale_to_snr
from metis_bench.hashing import derive_seed
from metis_bench.systems.espeak_engine import EspeakEngine, Voice

LEVEL = 0.06  # RMS of every utterance, about -24 dBFS
ROOM_SNR_DB = 45.0  # a quiet room's noise floor: recorded speech never holds digital silence


@dataclass(frozen=True)
class Speaker:
    """`warp` > 1 shortens the vocal tract (all frequencies rise); `voice` is given as it sounds before the warp."""

    name: str
    voice: Voice
    warp: float = 1.0


# Chosen among 39 candidates: of those with a closed-vocabulary WER below 5 % and a DNSMOS OVRL above 2.2, six whose
# utterances are least alike to the GE2E encoder (same talker 0.95, different talkers 0.57 on average, 0.73 at most).
SPEAKERS = (
    Speaker("f5", Voice("en-us+f5", rate=150)),
    Speaker("m1", Voice("en-us+m1", rate=150)),
    Speaker("ed", Voice("en-us+ed", rate=150)),
    Speaker("steph", Voice("en-us+steph", rate=150)),
    Speaker("klatt", Voice("en-us+klatt", rate=150)),
    Speaker("klatt4", Voice("en-us+klatt4", rate=136, pitch=60), warp=1.1),
)


def say(engine: EspeakEngine, speaker: Speaker, text: str, rate: int) -> F64:
    """`text` said by `speaker` in a quiet room: (T,) at `rate` Hz, RMS `LEVEL`. Depends on its arguments only."""
    spoken = engine.synthesize(text, speaker.voice, seed=derive_seed("mini-espeak", speaker.name, text))
    # Read at another rate than it was made for, speech is faster and all its formants higher: a shorter vocal tract.
    dry = resample(spoken.samples, round(spoken.rate * speaker.warp), rate).astype(np.float64)
    dry *= LEVEL / rms(dry)
    room = generator(derive_seed("mini-room", speaker.name, text)).standard_normal(len(dry))
    out: F64 = dry + scale_to_snr(dry, room, ROOM_SNR_DB)
    return out * min(1.0, PEAK / float(np.abs(out).max()))
