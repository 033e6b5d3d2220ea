"""Does a run reproduce a printed value? Told for each value, never used for anything else.

A printed value without an interval is taken as exact to its last digit. It is reproduced if our interval, widened by
half of that digit, holds it; without an interval, if our value is no farther from it than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from metis_bench.baselines import manifest
from metis_bench.published.attach import FLAGS, PublishedCell, PublishedRow
from metis_bench.published.load import find, load, names
from metis_bench.published.model import SystemModel

Word: TypeAlias = Literal["reproduced", "different", "not comparable"]
SAME = "same-checkpoint"
OWN_WEIGHTS = (
    "checkpoint",
    "stage1",
    "adapter",
    "lora",
)  # options for other weights than the release's


@dataclass(frozen=True)
class Verdict:
    """On one printed value. system: ours that the row is; why: what keeps the two apart, or how they lie"""

    word: Word
    why: str
    system: str | None = None

    @property
    def text(self) -> str:
        """In one line, but for the name of our system."""
        return {"reproduced": "reproduced by", "different": "different from"}.get(self.word, f"{self.word}: {self.why}")

    @property
    def told(self) -> str:
        """In one line."""
        return self.text if self.word == "not comparable" else f"{self.text} {self.system}"


@dataclass(frozen=True)
class Measured:
    """Our number. low, high: its interval; n of N outputs were scored."""

    value: float | None
    interval: tuple[float, float] | None
    n: int
    N: int


def matching(source: str, row: PublishedRow, kind: str | None, options: Mapping[str, Any]) -> SystemModel | None:
    """What is known of a system of ours as a printed row; None if it is another one. kind: its registered name."""
    for known in _known(source, kind or ""):
        wanted = dict(known.options)
        own = {key: value for key, value in options.items() if value is not None}
        free = ("variant", "guided_by_text") if known.match == SAME else ()
        named = known.row == row.system and all(
            names is None or value in names
            for names, value in ((known.variant, row.variant), (known.training_data, row.training_data))
        )
        if named and all(own.get(key) == value for key, value in wanted.items()):
            if any(own.get(key) and key not in wanted for key in free):
                continue
            if any(key in own for key in OWN_WEIGHTS):
                return known.model_copy(update={"match": "other", "note": "with weights of your own"})
            return known
    return None


@lru_cache(maxsize=64)
def _known(source: str, kind: str) -> tuple[SystemModel, ...]:
    if source not in names():
        return ()
    found = [s for s in _source(source).systems if s.system == kind]
    if kind in manifest.find_all():
        rows = manifest.find(kind).manifest.paper
        found += [SystemModel(system=kind, row=r.system, match=r.match, note=r.note) for r in rows]
    return tuple(found)


@lru_cache(maxsize=4)
def _source(name: str) -> Any:
    return load(find(name)).source


def verdict(cell: PublishedCell, system: str | None, known: SystemModel | None, ours: Measured | None) -> Verdict:
    """Of a printed value, against our value of the system that is the same row."""
    why = None
    if cell.value is None or not cell.comparable:
        why = f"{cell.flags[0]}: {FLAGS[cell.flags[0]]}"
    elif known is None:
        why = "no system here is this row"
    elif known.match != SAME:
        why = f"{known.match.replace('-', ' ')}{f': {known.note}' if known.note else ''}"
    elif ours is None or ours.value is None:
        why = "no value of ours"
    elif ours.n < ours.N:
        why = f"ours is incomplete: {ours.n} of {ours.N}"
    if why is not None or cell.value is None or ours is None or ours.value is None:
        return Verdict("not comparable", why or "no value of ours", system)
    digit = 10.0 ** -max(0, -int(Decimal(cell.text).as_tuple().exponent)) / 2 * (1 + 1e-9)
    low, high = ours.interval or (ours.value, ours.value)
    held = low - digit <= cell.value <= high + digit
    place = "inside our interval" if ours.interval else "equal to ours when rounded"
    told = place if held else place.replace("inside", "outside").replace("equal to", "not equal to")
    return Verdict("reproduced" if held else "different", told, system)
