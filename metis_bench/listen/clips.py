"""What is heard: anchors, attention checks, one loudness, and wav files that tell nothing but their sound."""

from __future__ import annotations

import numpy as np

from metis_bench.audio import F32, Audio, encode_wav

LOW_PASS_HZ, LOW_Q_DB = 3_500.0, 10.0
BEEP_HZ, BEEP_S, PAUSE_S, BEEP_LEVEL = 880.0, 0.18, 0.32, 0.1
LOWEST_DB = -90.0  # the lowest threshold: what is softer has no speech to measure
MARGIN_DB = 15.9  # ITU-T P.56: between the active level and its threshold


def low_anchor(clip: Audio, rng: np.random.Generator) -> Audio:
    """Speech below 3.5 kHz with speech-correlated noise at Q = 10 dB (modulated noise reference unit, ITU-T P.810)."""
    from scipy.signal import butter, sosfiltfilt

    samples = clip.samples.astype(np.float64)
    noisy = samples * (1 + 10 ** (-LOW_Q_DB / 20) * rng.standard_normal(len(samples)))
    if clip.rate > 2 * LOW_PASS_HZ:
        sos = butter(8, LOW_PASS_HZ, fs=clip.rate, output="sos")
        noisy = sosfiltfilt(sos, noisy, padlen=min(27, len(noisy) - 1))
    return Audio(noisy.astype(np.float32), clip.rate)


def beeps(count: int, rate: int) -> Audio:
    """`count` beeps with pauses, about as loud as speech; nothing but listening tells how many."""
    time = np.arange(round(BEEP_S * rate)) / rate
    beep = BEEP_LEVEL * np.sin(2 * np.pi * BEEP_HZ * time) * np.sin(np.pi * time / BEEP_S) ** 0.5
    pause = np.zeros(round(PAUSE_S * rate))
    parts = [pause, *(part for _ in range(count) for part in (beep, pause))]
    return Audio(np.concatenate(parts).astype(np.float32), rate)


def silence(seconds: float, rate: int) -> Audio:
    """The other side of a comparison with beeps."""
    return Audio(np.zeros(max(1, round(seconds * rate)), dtype=np.float32), rate)


def active_level(samples: F32, rate: int) -> float:
    """Active speech level in dBov (0: a full-scale square wave), ITU-T P.56 method B; -inf for silence.

    The envelope is |x| smoothed twice over 30 ms; speech is active while the envelope reaches a threshold and for 0.2 s
    after that. The threshold sought lies 15.9 dB below the level of the speech that it makes active.
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import lfilter

    x = samples.astype(np.float64)
    energy = float((x**2).sum())
    pole, half = np.exp(-1 / (0.03 * rate)), round(0.1 * rate)
    envelope = lfilter([1 - pole], [1, -pole], lfilter([1 - pole], [1, -pole], np.abs(x)))
    # the maximum of each value and the 0.2 s before it: a centred window over what is delayed by half of it
    held = maximum_filter1d(np.concatenate([np.zeros(2 * half), envelope]), 2 * half + 1)[half : half + len(x)]
    before: tuple[float, float] | None = None
    for threshold in np.arange(0.0, LOWEST_DB - 1, -0.5):
        active = np.count_nonzero(held >= 10 ** (threshold / 20))
        if not active or not energy:
            continue
        level = 10 * float(np.log10(energy / active))
        margin = level - float(threshold)
        if margin < MARGIN_DB:
            before = (level, margin)
        elif before is None:
            return level
        else:
            share = (MARGIN_DB - before[1]) / (margin - before[1])
            return before[0] + share * (level - before[0])
    return float("-inf")


def reaches(clip: Audio, level_db: float) -> bool:
    """Whether the clip can be made so loud without passing full scale; silence can."""
    level = active_level(clip.samples, clip.rate)
    return not np.isfinite(level) or 10 ** ((level_db - level) / 20) * float(np.abs(clip.samples).max()) <= 1


def at_level(clip: Audio, level_db: float) -> Audio:
    """The clip with an active level of `level_db` dBov, or less where its peak would pass full scale; silence as is."""
    level = active_level(clip.samples, clip.rate)
    if not np.isfinite(level):
        return clip
    gain = min(10 ** ((level_db - level) / 20), 1 / float(np.abs(clip.samples).max()))
    return Audio((clip.samples * gain).astype(np.float32), clip.rate)


def anonymous_wav(clip: Audio, rate: int, rng: np.random.Generator) -> bytes:
    """16-bit wav bytes at `rate` Hz, dithered (triangular, 1 LSB), with nothing in them but a format and samples.

    The dither is each file's own: neither a checksum of a public corpus nor a second copy of a clip tells what it is.
    """
    samples = clip.resampled(rate).samples.astype(np.float64) * 32768
    dither = rng.random(len(samples)) - rng.random(len(samples))
    quantised = np.clip(np.round(samples + dither), -32768, 32767) / 32768
    return encode_wav(Audio(quantised.astype(np.float32), rate))
