"""Pure: the three tests' scales, what a trial means, and who hears what in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

Test: TypeAlias = Literal["qmos", "smos", "cmos"]
Kind: TypeAlias = Literal["system", "high", "low", "check"]


@dataclass(frozen=True)
class Scale:
    """What a listener is asked. options: (value, words), in the order of the keys 1, 2, ..."""

    question: str
    clips: tuple[str, ...]
    options: tuple[tuple[int, str], ...]
    task: str
    check: str

    @property
    def values(self) -> tuple[int, ...]:
        """All that may be answered."""
        return tuple(value for value, _ in self.options)

    def to_json(self) -> dict[str, Any]:
        """What the page embeds."""
        return asdict(self)


_COUNT = "If a clip is a row of beeps instead of speech, count them: the number of beeps is the answer, 1 to 5."
SCALES: dict[Test, Scale] = {
    "qmos": Scale(  # absolute category rating, ITU-T P.800 annex B
        "How good is the quality of this speech?",
        ("Clip",),
        ((1, "Bad"), (2, "Poor"), (3, "Fair"), (4, "Good"), (5, "Excellent")),
        "You hear one clip at a time. Rate the quality of its speech: how natural it is, and how free of noise and"
        " distortion. What is said does not matter.",
        _COUNT,
    ),
    "smos": Scale(
        "How similar is the voice of the clip to the voice of the prompt?",
        ("Prompt", "Clip"),
        (
            (1, "Not at all similar"),
            (2, "Slightly similar"),
            (3, "Moderately similar"),
            (4, "Very similar"),
            (5, "As if the same speaker"),
        ),
        "You hear a prompt, then a clip. Rate how similar the voice of the clip is to the voice of the prompt. Judge"
        " the voice, not the words or the quality of the recording.",
        _COUNT,
    ),
    "cmos": Scale(  # comparison category rating, ITU-T P.800 annex E
        "How good is B compared with A?",
        ("A", "B"),
        (
            (-3, "Much worse"),
            (-2, "Worse"),
            (-1, "Slightly worse"),
            (0, "About the same"),
            (1, "Slightly better"),
            (2, "Better"),
            (3, "Much better"),
        ),
        "You hear two clips, A and B, of the same words. Rate the quality of B compared with A.",
        "If one of the two is a row of beeps instead of speech, count them: that one is the better of the two, by as"
        " many steps as there are beeps (1 slightly better, 2 better, 3 much better).",
    ),
}


@dataclass(frozen=True)
class Trial:
    """One thing to rate, and what it means: this is the secret.

    kind: a system's clip, an anchor (cmos: `high` is the reference against the low anchor), or an attention check
    clips: ids of the audio files in the order of the scale's labels
    sign: -1 where a positive answer speaks against the system (cmos with the system as A)
    expect: the only right answer of an attention check
    """

    kind: Kind
    clips: tuple[str, ...]
    set: str | None = None
    item: str | None = None
    system: str | None = None
    sign: int = 1
    expect: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For the key; the clips are in the page's part of it."""
        return {k: v for k, v in asdict(self).items() if k != "clips"}


def windows(cells: int, forms: int, length: int) -> list[list[int]]:
    """Which of `cells` trials each form holds: exposure differs by at most one between any two cells.

    Consecutive windows around the circle of cells.
    """
    return [[(form * length + k) % cells for k in range(length)] for form in range(forms)]


def latin(items: int, systems: int) -> list[tuple[int, int]]:
    """All (item, system), in blocks of every item once with systems taking turns: any stretch is nearly balanced."""
    return [(item, (item + block) % systems) for block in range(systems) for item in range(items)]


def spread(groups: Sequence[object], rng: np.random.Generator) -> list[int]:
    """A random order of 0..n-1 in which equal groups (an item's clips) are not neighbours, where that is possible."""
    members: dict[object, list[int]] = {}
    for index in rng.permutation(len(groups)):
        members.setdefault(groups[index], []).append(int(index))
    left = Counter({group: len(indices) for group, indices in members.items()})
    out: list[int] = []
    last: object = None
    while left:
        total = sum(left.values())
        ((most, count),) = left.most_common(1)
        names = [g for g in left if g != last] or list(left)
        if 2 * count > total and most in names:  # any other choice now makes it its own neighbour later
            names = [most]
        weights = np.array([left[g] for g in names], dtype=np.float64)
        last = names[int(rng.choice(len(names), p=weights / weights.sum()))]
        out.append(members[last].pop())
        left[last] -= 1
        if not left[last]:
            del left[last]
    return out


def insert_evenly(trials: Sequence[str], checks: Sequence[str], rng: np.random.Generator) -> list[str]:
    """The checks among the trials: one at a random place in each equal part, never at the very beginning."""
    out = list(trials)
    edges = np.linspace(1, len(out) + 1, len(checks) + 1).astype(int) if checks else np.empty(0, dtype=int)
    places = [int(rng.integers(a, max(a + 1, b))) for a, b in pairwise(edges)]
    for place, check in sorted(zip(places, checks, strict=True), reverse=True):
        out.insert(min(place, len(out)), check)
    return out
