"""What is said when: eSpeak NG's phoneme events as spans without gaps, and as one label a frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError

FRAMES_PER_S = 50  # of labels: semantic tokens
MUTE = 20 / 32768  # eSpeak's closures and pauses are zeros; its echoes fade below this
CLOSURE_S = 0.010  # a shorter silence is between two periods of the voice, or two samples
PAUSE = ""
STRESS = "ˈˌ"

# All that eSpeak NG 1.52 says of the mini grammar in `en-us`, without stress. A label is a place here: only append.
PHONES: tuple[str, ...] = (
    PAUSE,
    *("p", "b", "m", "f", "v", "θ", "ð", "t", "d", "ɾ", "n", "s", "z", "ʃ", "tʃ", "dʒ", "k", "ɡ", "ŋ", "h"),
    *("l", "ɹ", "w", "j", "əl"),
    *("iː", "i", "ɪ", "ᵻ", "ɛ", "æ", "ə", "ʌ", "ɚ", "ɜː", "ɑː", "ɔ", "ɔː", "ʊ", "uː", "eɪ", "aɪ", "aʊ", "oʊ"),
    *("ɪɹ", "ɛɹ", "ɑːɹ", "ɔːɹ"),
)
_LABELS = {symbol: label for label, symbol in enumerate(PHONES)}


@dataclass(frozen=True)
class Phone:
    """What is said from `start` to `end`, in seconds. symbol: eSpeak's IPA with its stress marks; "" is a pause."""

    symbol: str
    start: float
    end: float

    @property
    def plain(self) -> str:
        """The symbol without stress marks."""
        return self.symbol.lstrip(STRESS)


def spans(events: Sequence[tuple[int, str]], samples: NDArray[Any], rate: int) -> tuple[Phone, ...]:
    """Events (millisecond, symbol) of (S,) `samples` as phones, from 0 to the end and without gaps.

    Corrected in two things. eSpeak starts a stop with its burst and leaves the closure to the sound before: here it is
    the stop's. A glide between vowels ("the office") has no symbol in IPA, as a pause has none: here it is the vowel's.
    """
    loud = np.flatnonzero(np.abs(samples) > MUTE)

    def closed(at: int) -> int:
        """Samples of silence before `at`, none if they are too few to be heard as one."""
        heard = int(np.searchsorted(loud, at))
        silence = at - (int(loud[heard - 1]) + 1 if heard else 0)
        return silence if silence > CLOSURE_S * rate else 0

    edges = [min(ms * rate // 1000, len(samples)) for ms, _ in events] + [len(samples)]
    found: list[tuple[int, str]] = [(0, PAUSE)]  # first sample, symbol
    for (_, symbol), start, end in zip(events, edges[:-1], edges[1:], strict=True):
        before, known = found[-1]
        if symbol == PAUSE and (known == PAUSE or not closed(end)):
            continue  # the same pause, or a glide
        closure = closed(start)
        found.append((start - closure if known != PAUSE and start - closure > before else start, symbol))
    ends = [start for start, _ in found[1:]] + [len(samples)]
    return tuple(
        Phone(symbol, start / rate, end / rate) for (start, symbol), end in zip(found, ends, strict=True) if end > start
    )


def frame_labels(phones: Iterable[Phone], frames: int, frames_per_s: float = FRAMES_PER_S) -> NDArray[np.int64]:
    """(frames,) places in `PHONES` of what is said in the middle of each frame; a pause before and after all phones.

    Raises InputError for a symbol that is not in `PHONES`: another text, voice or version of eSpeak NG.
    """
    labels = np.full(frames, _LABELS[PAUSE], dtype=np.int64)
    for phone in phones:
        label = _LABELS.get(phone.plain)
        if label is None:
            raise InputError(
                f"'{phone.symbol}' is not among the phones of the mini corpus",
                fix="give a sentence of its grammar, said by an en-us voice",
            )
        first, end = (max(0, int(np.ceil(t * frames_per_s - 0.5))) for t in (phone.start, phone.end))
        labels[first:end] = label
    return labels
