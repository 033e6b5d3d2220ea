"""PESQ (ITU-T P.862.2 wide-band, P.862/P.862.1 narrow-band), through the `pesq` package (github.com/ludlows/PESQ)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from metis_bench.corpora.base import Field, Params
from metis_bench.hashing import JSON
from metis_bench.metrics.alignment import AlignMode, Wave, aligned_pair
from metis_bench.metrics.base import Column, Metric, Sample, Score, Undefined, metrics
from metis_bench.systems.base import require_package

RATE = 16_000
NO_SHIFT: AlignMode = "none"  # PESQ finds delays itself, one an utterance; only the length is matched

# The C code has arrays of fixed size and writes past their ends without a check: 50 utterances (pesq.h:121; more
# crash the process) and 1000 bad intervals (pesqmod.c:806; 6 frames of 16 ms each: 96 s). P.862 is meant for 8-30 s.
MAX_SECONDS = 90.0
MAX_UTTERANCES = 40  # of 50: our count only approximates the C code's
SAFE_SECONDS = 19.0  # 50 utterances of >= 200 ms and 50 gaps of > 188 ms do not fit
VAD_FRAME = 64  # samples, 4 ms: "Downsample" in the C code
MIN_SPEECH, JOIN, MIN_UTTERANCE = 4, 50, 46  # frames: pesq.h:150-159; an utterance is widened by 4 before it is judged


class PesqParams(Params):
    """Parameters of `pesq`."""

    mode: Literal["wb", "nb"] = "wb"  # both from 16 kHz audio; the two scales do not compare


def _count_runs(speech: np.ndarray) -> int:
    """Utterances in a (frames,) speech mask, by the rules of the C code (pesqdsp.c:apply_VAD)."""
    edges = np.diff(np.concatenate([[0], speech.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    keep = ends - starts > MIN_SPEECH
    starts, ends = starts[keep], ends[keep]
    if len(starts) == 0:
        return 0
    apart = starts[1:] - ends[:-1] > JOIN
    starts, ends = starts[np.concatenate([[True], apart])], ends[np.concatenate([apart, [True]])]
    return int(np.count_nonzero(ends - starts >= MIN_UTTERANCE))


def max_utterances(reference: Wave) -> int:
    """The most utterances that any level threshold from -60 to 0 dB under the loudest 4 ms finds in (T,) at 16 kHz.

    PESQ adapts its threshold to the file, so this bounds its count without repeating its filters and its iteration.
    """
    from scipy.signal import lfilter

    sharp = lfilter([1.0, -2.0, 1.0], [1.0, -1.9444777, 0.94597794], reference)  # pesqmain.h: WB_InIIR_Hsos_16k
    frames = sharp[: len(sharp) // VAD_FRAME * VAD_FRAME].reshape(-1, VAD_FRAME)
    energy = np.mean(frames**2, axis=1)
    levels = energy.max() * 10.0 ** (-np.arange(0, 61) / 10)
    return max(_count_runs(energy > level) for level in levels)


def pesq_score(reference: Wave, output: Wave, mode: Literal["wb", "nb"]) -> float:
    """MOS-LQO of two (T,) signals of one length at 16 kHz.

    Raises Undefined without an utterance, under 1/4 s, and where the C code would write past its arrays.
    """
    from pesq import BufferTooShortError, NoUtterancesError, pesq

    seconds = len(reference) / RATE
    if seconds > MAX_SECONDS:
        raise Undefined(f"too_long: {seconds:.1f} s, the PESQ code is safe up to {MAX_SECONDS:.0f} s")
    if seconds > SAFE_SECONDS and (found := max_utterances(reference)) > MAX_UTTERANCES:
        raise Undefined(f"too_many_utterances: about {found}, the PESQ code has room for 50")
    try:
        return float(pesq(RATE, reference, output, mode))
    except NoUtterancesError:
        raise Undefined("no_utterance: PESQ detects no speech in the reference") from None
    except BufferTooShortError:
        raise Undefined("too_short: PESQ needs at least 1/4 s") from None
    except ValueError as error:  # a NaN in the C code
        raise Undefined(f"not_finite: {error}") from None


@metrics.register("pesq")
class Pesq(Metric):
    """PESQ at 16 kHz against the reference. A failed item counts as 1.0, about the bottom of its scale: a convention.

    The output is fed as long as the reference (zeros appended, or cut) and not shifted.
    """

    tasks = frozenset({"tse", "se"})
    packages = ("pesq",)
    params_type = PesqParams
    params: PesqParams

    @property
    def needs(self) -> frozenset[Field]:
        """The clean signal."""
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column, named after the mode: `pesq.wb` or `pesq.nb`."""
        mode = self.params.mode
        help_ = f"Perceptual quality against the reference, P.862{'.2' if mode == 'wb' else ''}, 16 kHz."
        return (Column(f"pesq.{mode}", f"PESQ-{mode.upper()}", "higher", 1.0, headline=True, help=help_),)

    def signature(self) -> Mapping[str, JSON]:
        """Mode, rate and length policy."""
        return {
            "package": f"pesq {require_package('pesq', 'metric pesq', self.extra)}",
            "metric": "pesq",
            "version": 1,
            "mode": self.params.mode,
            "rate": RATE,
            "length": "pad or cut output",
        }

    def score(self, sample: Sample) -> dict[str, Score]:
        """The score; `detail` holds the length difference. Raises Undefined (never a 0.0)."""
        try:
            reference, output, detail = aligned_pair(sample, RATE, NO_SHIFT)
        except Undefined as reason:
            raise Undefined(f"no_utterance: {reason}") from None
        kept = {"length_difference_s": detail["length_difference_s"]}
        return {f"pesq.{self.params.mode}": Score("ok", pesq_score(reference, output, self.params.mode), detail=kept)}
