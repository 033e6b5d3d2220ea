"""DNSMOS P.835 and P.808 of one clip: the numbers of `speechmos`, computed without the repeated work.

Source: microsoft/DNS-Challenge@591184a DNSMOS/dnsmos_local.py (the same code as speechmos 0.0.1.1 dnsmos.py). A clip
is seen through 9.01 s windows, 1 s apart, each scored alone; the score is the mean over windows. 95 % of the P.835
model's time goes into the four convolutions before its first pooling, and neighbouring windows share 8 of their 9
seconds. Those layers are local in time (each frame sees 4 frames on either side), so we run them once over the whole
clip, and again only for the frames at both edges of every window, where the model sees zero padding instead of
neighbours. A clip shorter than a window is doubled until it fills one: frames that repeat are looked at once. The rest
of the network runs a window at a time, as it does there: batches measured no faster on CPU.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import F32
from metis_bench.errors import MissingPrerequisite, missing_extra
from metis_bench.hashing import sha256_file
from metis_bench.metrics._onnx_cut import cut
from metis_bench.metrics.mel import power_spectrogram, slaney_mel

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

F64 = NDArray[np.float64]

RATE = 16_000
WINDOW_S = 9.01
WINDOW = int(WINDOW_S * RATE)  # samples
FRAME, HOP = 320, 160  # of the P.835 model
P808_FRAME = 321  # of the P.808 model, with the same hop
FRAMES = 900  # a window
FRAMES_PER_S = RATE // HOP  # windows are 1 s apart
REACH = 4  # frames that one frame sees on either side: four 3x3 convolutions
BINS, MELS = 161, 120
FILES = {"p835": "sig_bak_ovr.onnx", "p808": "model_v8.onnx"}
POLYNOMIALS = {  # dnsmos_local.py:33-47, non-personalised
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}
_FRAMES_TENSOR = "mos_estimator_logpow/concat:0"  # (N, frames, FRAME) samples
_SEEN_TENSOR = "mos_estimator_logpow/conv2d_3/Relu:0"  # (N, 32, frames, BINS)
_POOLED_TENSOR = f"{_SEEN_TENSOR}_pooling0"  # (N, 32, frames / 2, BINS / 2)
_FIX = 'pip install "speechmos==0.0.1.1"'


@dataclass(frozen=True)
class Models:
    """The P.835 model without its first pooling, cut there, and the P.808 model."""

    front: InferenceSession
    back: InferenceSession
    p808: InferenceSession


def model_paths() -> dict[str, Path]:
    """The ONNX files inside the installed speechmos, found without importing it (its import needs librosa).

    Raises MissingPrerequisite.
    """
    spec = importlib.util.find_spec("speechmos")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("metric 'dnsmos'", "speechmos", "embedded")
    folder = Path(spec.submodule_search_locations[0]) / "dnsmos_models"
    paths = {name: folder / file for name, file in FILES.items()}
    for path in paths.values():
        if not path.is_file():
            raise MissingPrerequisite("speechmos is installed without its DNSMOS model", where=path, fix=_FIX)
    return paths


@lru_cache(maxsize=1)
def model_hashes() -> dict[str, str]:
    """sha256 of each model file."""
    return {name: sha256_file(path) for name, path in model_paths().items()}


@lru_cache(maxsize=1)
def models(threads: int) -> Models:
    """The sessions, created once a process. `threads`: cores per operator, 0 = ONNX Runtime's choice (all)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle pools must not slow the others

    def session(model: bytes) -> InferenceSession:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    paths = model_paths()
    p835 = paths["p835"].read_bytes()
    try:
        front = cut(p835, (_FRAMES_TENSOR, ("N", "T", FRAME)), (_SEEN_TENSOR, ("N", 32, "T", BINS)))
        back = cut(p835, (_POOLED_TENSOR, ("N", 32, FRAMES // 2, BINS // 2)), ("Identity:0", ("N", 3)))
    except ValueError as error:
        raise MissingPrerequisite(f"not the DNSMOS model we know: {error}", where=paths["p835"], fix=_FIX) from None
    return Models(session(front), session(back), session(paths["p808"].read_bytes()))


def tile(audio: F32) -> F32:
    """(T,) doubled until it fills a window, as the official code does; T > 0."""
    while len(audio) < WINDOW:
        audio = np.append(audio, audio)
    return audio


def window_starts(length: int) -> list[int]:
    """Start in whole seconds of each window of a clip of `length` >= WINDOW samples.

    The float arithmetic is the official one: a window whose end rounds to one sample short is skipped, which befalls
    all that start at 7 to 23 s (and 119 to 122 s); and the last second of a clip is often never looked at.
    """
    hops = int(np.floor(length / RATE) - WINDOW_S) + 1
    return [i for i in range(hops) if min(int((i + WINDOW_S) * RATE), length) - i * RATE >= WINDOW]


def _run(session: InferenceSession, value: F32) -> F32:
    return np.asarray(session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(value)})[0])


def period_of(length: int, needed: int) -> int | None:
    """Frames after which a clip of `length` samples, doubled, repeats; None where that is beyond the `needed` frames.

    Copies of a clip lie on the grid of frames as often as its length in samples and HOP have it.
    """
    period = length // math.gcd(length, HOP)
    return period if period < needed else None


def _seen(front: InferenceSession, frames: F32, first: int, last: int) -> F32:
    """(32, last - first, BINS / 2) features of frames [first, last) among their neighbours, pooled in frequency.

    Frames beyond the clip are the zeros that the model pads with.
    """
    parts = []
    for start in range(first, last, FRAMES):
        stop = min(start + FRAMES, last)
        lead = max(start - REACH, 0)
        part = _run(front, frames[None, lead : stop + REACH])[0, :, start - lead :][:, : stop - start]
        parts.append(np.maximum(part[..., : BINS - 1 : 2], part[..., 1:BINS:2]))
    return np.concatenate(parts, axis=1)


def _windows(front: InferenceSession, clip: F32, starts: list[int]) -> Iterator[F32]:
    """(32, FRAMES, BINS / 2) a window, right but for its edges; memory does not grow with the clip."""
    needed = FRAMES_PER_S * starts[-1] + FRAMES
    if (period := period_of(len(clip), needed)) is not None:
        origin = -(-REACH // period) * period  # a later repetition, so that all have neighbours
        copies = np.tile(clip, -(-((origin + period) * HOP + WINDOW) // len(clip)))
        body = _seen(front, framed(copies), origin, origin + period)
        yield from (body[:, (FRAMES_PER_S * start + np.arange(FRAMES)) % period] for start in starts)
        return
    frames = framed(tile(clip))
    body = np.empty((32, 0, BINS // 2), dtype=np.float32)  # features of frames [origin, end)
    origin = end = 0
    for start in starts:
        first, last = FRAMES_PER_S * start, FRAMES_PER_S * start + FRAMES
        body, origin, end = body[:, first - origin :], first, max(end, first)  # windows in between are skipped
        if end < last:
            stop = min(end + FRAMES, needed)
            body, end = np.concatenate([body, _seen(front, frames[:needed], end, stop)], axis=1), stop
        yield body[:, :FRAMES]


def framed(audio: F32) -> F32:
    """(frames, FRAME) of (T,) samples, a view."""
    return np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::HOP]


def _pooled_windows(front: InferenceSession, clip: F32, starts: list[int]) -> Iterator[F32]:
    """The P.835 features after the first pooling, (1, 32, FRAMES / 2, BINS / 2) a window."""
    frames = framed(tile(clip))
    for start, body in zip(starts, _windows(front, clip, starts), strict=True):
        first, last = FRAMES_PER_S * start, FRAMES_PER_S * start + FRAMES
        window = np.maximum(body[:, ::2], body[:, 1::2])
        edges = _run(front, np.stack([frames[first : first + 2 * REACH], frames[last - 2 * REACH : last]]))
        edges = np.maximum(edges[..., : BINS - 1 : 2], edges[..., 1:BINS:2])
        edges = np.maximum(edges[:, :, ::2], edges[:, :, 1::2])
        window[:, : REACH // 2] = edges[0, :, : REACH // 2]
        window[:, -REACH // 2 :] = edges[1, :, -REACH // 2 :]
        yield window[None]


@lru_cache(maxsize=1)
def _mel_filters() -> F32:
    return np.asarray(slaney_mel(RATE, P808_FRAME, MELS), dtype=np.float32)


def log_mels(audio: F32, starts: list[int]) -> Iterator[F32]:
    """(FRAMES, MELS) inputs of the P.808 model, one a window: dB below its loudest bin, floored at -80, (x + 40) / 40.

    Power is computed once for the clip; only a window's first and last frame reach into the zeros around it.
    """
    mels = _mel(power_spectrogram(audio, P808_FRAME, HOP))  # (MELS, frames)
    for start in starts:
        segment = audio[start * RATE :][: WINDOW - HOP]
        mel = mels[:, FRAMES_PER_S * start :][:, :FRAMES].copy()
        half = P808_FRAME // 2
        edges = np.concatenate([np.pad(segment[: half + 1], (half, 0)), np.pad(segment[1 - P808_FRAME :], (0, 1))])
        mel[:, [0, -1]] = _mel(power_spectrogram(edges, P808_FRAME, P808_FRAME, center=False))
        mel = np.maximum(1e-10, mel)
        decibel = 10.0 * np.log10(mel) - 10.0 * np.log10(mel.max())
        yield np.asarray((np.maximum(decibel, decibel.max() - 80.0).T + 40.0) / 40.0, dtype=np.float32)


def _mel(power: F64) -> F32:
    return np.asarray(_mel_filters() @ power.astype(np.float32), dtype=np.float32)


def dnsmos(audio: F32, threads: int = 0) -> dict[str, F64]:
    """Scores of each window of (T,) samples at 16 kHz in [-1, 1]: 'sig', 'bak', 'ovrl', 'p808', each (windows,)."""
    session = models(threads)
    clip, audio = audio, tile(audio)
    starts = window_starts(len(audio))
    raw = np.concatenate([_run(session.back, w) for w in _pooled_windows(session.front, clip, starts)])
    raw = raw.astype(np.float64)  # (windows, 3): sig, bak, ovrl
    p808 = np.concatenate([_run(session.p808, mel[None]) for mel in log_mels(audio, starts)])
    scores = {name: np.polyval(POLYNOMIALS[name], raw[:, i]) for i, name in enumerate(POLYNOMIALS)}
    return {**scores, "p808": p808[:, 0].astype(np.float64)}
