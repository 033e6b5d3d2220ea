"""Speech as WORLD parameters, and the transfer of one voice's statistics to another's speech.

WORLD: Morise et al., IEICE Trans. Inf. & Syst. E99-D(7), 2016; through `pyworld` (MIT, extra `embedded`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import Audio
from metis_bench.errors import ItemError, MissingPrerequisite, missing_extra

F64 = NDArray[np.float64]

MIN_RATE, MAX_RATE = 16_000, 48_000  # Hz: what the aperiodicity bands need, and what pays
MIN_VOICED = 20  # frames of 5 ms: below it a mean pitch says nothing
F0_HZ = (60.0, 600.0)
DIO_VOICED = 0.33  # share of frames; when DIO finds less, Harvest is asked
SPREAD = (0.5, 2.0)  # limits of the ratio of pitch ranges
WARPS = np.round(np.arange(0.80, 1.2501, 0.025), 3)  # vocal tract length ratios that are tried
WARP_BAND_HZ = (100.0, 6000.0)  # where formants are compared
BANDS, MAX_FRAMES = 32, 200  # of that comparison
SMOOTH_HZ = 200.0  # envelope differences are smoothed over about this
MAX_GAIN_DB = 24.0
PEAK = 0.99


@dataclass(frozen=True)
class Voiceprint:
    """Speech in WORLD parameters: f0 (T,) Hz, 0 where unvoiced; envelope and aperiodicity (T, F); frames of 5 ms."""

    f0: F64
    envelope: F64
    aperiodicity: F64
    rate: int

    @property
    def voiced(self) -> NDArray[np.bool_]:
        """(T,) which frames have a pitch."""
        return self.f0 > 0


def load_pyworld() -> ModuleType:
    """The module. Raises MissingPrerequisite when it, or the pkg_resources it imports, is not there."""
    try:
        import pyworld
    except ModuleNotFoundError as error:
        if error.name == "pkg_resources":
            raise MissingPrerequisite(
                "pyworld needs pkg_resources, which setuptools 81 removed", fix='pip install "setuptools<81"'
            ) from None
        raise missing_extra("the WORLD vocoder", "pyworld", "embedded") from None
    module: ModuleType = pyworld
    return module


def working_rate(rate: int) -> int:
    """The rate WORLD works at for audio at `rate` Hz."""
    return min(max(rate, MIN_RATE), MAX_RATE)


def analyse(audio: Audio) -> Voiceprint:
    """WORLD parameters of `audio` at its working rate: f0 and its voicing, CheapTrick, D4C."""
    world = load_pyworld()
    rate = working_rate(audio.rate)
    x = np.ascontiguousarray(audio.resampled(rate).samples, dtype=np.float64)
    f0, times = _pitch(world, x, rate)
    envelope, aperiodicity = world.cheaptrick(x, f0, times, rate), world.d4c(x, f0, times, rate)
    # DIO finds a pitch in noise, too; D4C knows better, and marks what is not periodic as fully aperiodic.
    return Voiceprint(np.where(aperiodicity[:, 0] < 0.5, f0, 0.0), envelope, aperiodicity, rate)


def _pitch(world: ModuleType, x: F64, rate: int) -> tuple[F64, F64]:
    """f0 and frame times. DIO is precise and fast but lost on some voices; Harvest finds them at ten times the cost."""
    limits = {"f0_floor": F0_HZ[0], "f0_ceil": F0_HZ[1]}
    coarse, times = world.dio(x, rate, **limits)
    if np.mean(coarse > 0) < DIO_VOICED:
        coarse, times = world.harvest(x, rate, **limits)
    return world.stonemask(x, coarse, times, rate), times


def synthesise(voice: Voiceprint, samples: int) -> Audio:
    """`samples` of speech, scaled down where it would exceed full scale."""
    world = load_pyworld()
    parameters = (np.ascontiguousarray(p) for p in (voice.f0, voice.envelope, voice.aperiodicity))
    x = world.synthesize(*parameters, voice.rate)[:samples]
    x = np.pad(x, (0, samples - len(x)))
    peak = float(np.abs(x).max(initial=0.0))
    return Audio((x * min(1.0, PEAK / peak) if peak > 0 else x).astype(np.float32), voice.rate)


def transfer(source: Audio, prompt: Audio) -> Audio:
    """What `source` says, in the voice of `prompt`: pitch statistics, vocal tract length, long-term spectrum.

    The output has the source's length and working rate. Raises ItemError when either holds too little voiced speech.
    """
    rate = working_rate(source.rate)
    said, like = analyse(source), analyse(prompt.resampled(rate))
    for name, voice in (("source", said), ("prompt", like)):
        if int(voice.voiced.sum()) < MIN_VOICED:
            raise ItemError(f"the {name} holds no voiced speech ({int(voice.voiced.sum())} voiced frames of 5 ms)")
    warp = choose_warp(said, like)
    warped = replace(
        said,
        f0=match_pitch(said.f0, like.f0),
        envelope=np.exp(warp_axis(np.log(said.envelope), warp)),
        aperiodicity=np.clip(warp_axis(said.aperiodicity, warp), 0.001, 0.999),
    )
    limit = MAX_GAIN_DB / 10 * np.log(10)
    gain = np.clip(smooth(long_term(like) - long_term(warped), rate), -limit, limit)
    matched = replace(warped, envelope=warped.envelope * np.exp(gain))
    return synthesise(matched, len(source.resampled(rate).samples))


def long_term(voice: Voiceprint) -> F64:
    """(F,) log of the mean power envelope over voiced frames; its level is the voice's level."""
    mean: F64 = np.log(voice.envelope[voice.voiced].mean(axis=0))
    return mean


def match_pitch(f0: F64, target: F64) -> F64:
    """`f0` (T,) with the mean and spread of log-f0 of `target`; unvoiced frames stay 0."""
    log_f0, log_target = np.log(f0[f0 > 0]), np.log(target[target > 0])
    spread = np.clip(log_target.std() / max(log_f0.std(), 1e-3), *SPREAD)
    out = np.zeros_like(f0)
    out[f0 > 0] = np.exp(np.clip((log_f0 - log_f0.mean()) * spread + log_target.mean(), *np.log(F0_HZ)))
    return out


def warp_axis(values: F64, warp: float) -> F64:
    """(..., F) stretched along frequency: what was at f is then at `warp` * f; the last value fills the rest."""
    bins = np.arange(values.shape[-1])
    at = np.minimum(bins / warp, bins[-1])
    low = np.minimum(at.astype(np.int64), bins[-1] - 1)
    part = at - low
    stretched: F64 = values[..., low] * (1 - part) + values[..., low + 1] * part
    return stretched


def choose_warp(source: Voiceprint, target: Voiceprint) -> float:
    """The ratio of WARPS after which the sounds of `source` are most like those of `target`, both at one rate.

    Sounds are voiced frames in mel bands, each band with mean 0 and deviation 1 over them, so that neither level nor
    long-term colour counts, only where the formants move. Both say different things: every frame is compared with the
    nearest of the other voice, in both directions.
    """
    theirs = _sounds(target, 1.0)

    def distance(warp: float) -> float:
        ours = _sounds(source, warp)
        squares = (ours**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * ours @ theirs.T
        between = np.sqrt(np.maximum(squares, 0.0))
        return float(between.min(axis=0).mean() + between.min(axis=1).mean())

    return float(min(WARPS, key=distance))


def _sounds(voice: Voiceprint, warp: float) -> F64:
    """(N, BANDS) normalised log mel band levels of up to MAX_FRAMES voiced frames, evenly spread over them."""
    frames = np.flatnonzero(voice.voiced)
    frames = frames[np.linspace(0, len(frames) - 1, min(MAX_FRAMES, len(frames))).astype(np.int64)]
    levels = warp_axis(np.log(voice.envelope[frames]), warp) @ _bands(voice.envelope.shape[1], voice.rate)
    normal: F64 = (levels - levels.mean(axis=0)) / np.maximum(levels.std(axis=0), 1e-6)
    return normal


def _bands(bins: int, rate: int) -> F64:
    """(bins, BANDS) overlapping triangles, evenly spaced in mel over WARP_BAND_HZ, each summing to 1."""
    mel = _mel(np.linspace(0, rate / 2, bins))
    low, high = _mel(np.array(WARP_BAND_HZ))
    edges = np.linspace(float(low), float(high), BANDS + 2)
    rising = (mel[:, None] - edges[:-2]) / (edges[1] - edges[0])
    triangles: F64 = np.maximum(0.0, np.minimum(rising, 2.0 - rising))
    triangles /= triangles.sum(axis=0)
    return triangles


def _mel(hz: F64) -> F64:
    scale: F64 = 1127.0 * np.log1p(hz / 700.0)  # O'Shaughnessy
    return scale


def smooth(values: F64, rate: int) -> F64:
    """(F,) averaged over about SMOOTH_HZ, edges extended."""
    half = max(1, round(SMOOTH_HZ / 2 / (rate / 2 / (len(values) - 1))))
    window = np.hanning(2 * half + 3)[1:-1]
    averaged: F64 = np.convolve(np.pad(values, half, mode="edge"), window / window.sum(), mode="valid")
    return averaged
