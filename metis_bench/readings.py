"""Other ways to read what a run measured: the arrays behind an order of systems, from its files and kept transcripts.

Nothing is generated, heard or scored here: columns are read as they are, transcripts are normalised otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metis_bench.comparison import fraction
from metis_bench.errors import MissingPrerequisite, SuiteError
from metis_bench.metrics.wer import errors, words
from metis_bench.report.data import Column, RunData, Score, System
from metis_bench.text.profiles import Profile, profiles

Heard: TypeAlias = Callable[[Mapping[str, Any], str], str | None]
"""(signature of a WER column, sha256 of a clip) to what the recogniser heard, None where that is not kept."""
Array: TypeAlias = NDArray[np.float64]
ONE_OF = {"dnsmos": ("dnsmos.avg3", "dnsmos.ovrl", "dnsmos.p808")}  # what papers call by the metric's name


def nothing_kept(_: Mapping[str, Any], __: str) -> str | None:
    """Where there is no store: no transcript."""
    return None


@dataclass(frozen=True)
class Terms:
    """(systems, items) each, seeds averaged. known: where an item has a value; num, den: their sums give it."""

    known: NDArray[np.bool_]
    num: Array
    den: Array


@dataclass(frozen=True)
class Grid:
    """One reading of all systems of a set. values: (systems,), NaN where a system has none.

    make: its terms; asked for where something has to be tested alone, which is rare
    """

    values: Array
    make: Callable[[], Terms]

    @functools.cached_property
    def terms(self) -> Terms:
        """Made once."""
        return self.make()


@dataclass(frozen=True)
class Reading:
    """Another way to read a headline column. grid: None where there is none, `refused` says why."""

    label: str
    direction: str
    grid: Grid | None = None
    refused: str | None = None


class Scored:
    """The scores of one test set, of the systems that may rank and were measured by `headline`."""

    def __init__(self, data: RunData, set_id: str, headline: Column, heard: Heard) -> None:
        self.data, self.set_id, self.headline, self.heard = data, set_id, headline, heard
        self.systems: list[System] = [
            s
            for s in data.results.systems
            if s.ranked
            and (cell := data.cells.get((set_id, s.name, headline.id))) is not None
            and cell.value is not None
        ]
        self.items = [item for where, item in data.items if where == set_id]
        clusters = [data.items[set_id, item].cluster or item for item in self.items]
        names = sorted(set(clusters))
        self.clusters = np.searchsorted(names, clusters)
        places = {s.name: i for i, s in enumerate(self.systems)}, {item: i for i, item in enumerate(self.items)}
        self.rows = [
            (places[0][row.system], places[1][row.item], row, data.scores.get(row.key, {}))
            for row in data.rows
            if row.set == set_id and row.system in places[0]
        ]

    @property
    def signature(self) -> str | None:
        """Of the headline's cells, None where they differ."""
        found = {self._cell(s, self.headline).signature for s in self.systems}
        return found.pop() if len(found) == 1 else None

    def _cell(self, system: System, column: Column) -> Any:
        return self.data.cells[self.set_id, system.name, column.id]

    def siblings(self) -> list[Column]:
        """Measured columns that go by the same name: other means of a WER, other DNSMOS, other rates of NISQA."""
        metric, own = self.headline.metric, self.headline.id
        family = ONE_OF.get(metric, ())
        found = []
        for column in self.data.results.columns:
            cell = self.data.cells.get((self.set_id, self.systems[0].name, column.id)) if self.systems else None
            if column.metric != metric or column.id == own or cell is None or cell.value is None:
                continue
            same = cell.signature == self.signature
            wanted = {
                "wer": same,
                "dnsmos": same and column.id in family and own in family,
                "nisqa": column.id.endswith(".mos") and own.endswith(".mos"),
            }
            if wanted.get(metric, False):
                found.append(column)
        return found

    def measured(self, column: Column) -> Grid:
        """A column as it was measured; its values are those of the cells."""
        terms = (
            (s, i, *fraction(column, scores)) for s, i, _, scores in self.rows if _value(column, scores) is not None
        )
        values = [cell.value if (cell := self._find(s, column)) is not None else None for s in self.systems]
        numbers = np.asarray([np.nan if v is None else v for v in values], dtype=np.float64)
        return Grid(numbers, lambda: self._terms(terms))

    def _find(self, system: System, column: Column) -> Any:
        return self.data.cells.get((self.set_id, system.name, column.id))

    def penalised(self) -> Grid | None:
        """Failures counted as worst; None where that changes no value, or is not defined."""
        cells = [self._cell(s, self.headline) for s in self.systems]
        if any(c.penalised is None for c in cells) or all(c.penalised == c.value for c in cells):
            return None
        values = np.asarray([c.penalised for c in cells], dtype=np.float64)
        return Grid(values, lambda: self._terms(self._penalised_terms()))

    def _penalised_terms(self) -> Iterator[tuple[int, int, float, float]]:
        column, worst = self.headline, self.headline.worst
        assert worst is not None
        bound = max if column.direction == "higher" else min
        sizes = {i: fraction(column, scores)[1] for _, i, _, scores in self.rows if _value(column, scores) is not None}
        for s, i, _, scores in self.rows:
            value = _value(column, scores)
            if column.ratio is None:
                yield s, i, worst if value is None else bound(value, worst), 1.0
            elif value is not None:
                num, den = fraction(column, scores)
                yield s, i, min(num, den) if column.direction == "lower" else num, den
            elif i in sizes:  # all of it wrong
                yield s, i, sizes[i] if column.direction == "lower" else 0.0, sizes[i]

    def profiles(self) -> Iterator[Reading]:
        """The headline's WER with the other normalisations that have rules for the language, from kept transcripts."""
        facts = self.data.results.signatures.get(self.signature or "", {})
        if self.headline.metric != "wer" or not {"recogniser", "profile", "language"} <= set(facts):
            return
        spoken = self._transcripts(facts)
        for name in profiles.names():
            label = f"{self.headline.label}, normalised as {name}"
            profile, language = profiles.get(name)(), str(facts["language"])
            if name == facts["profile"].get("name"):
                continue
            try:
                profile.check(language)
            except MissingPrerequisite as error:
                yield Reading(label, self.headline.direction, refused=error.message)
                continue
            except SuiteError:  # no rules for this language: not a reading of it
                continue
            if spoken is None:
                yield Reading(label, self.headline.direction, refused="not every transcript is in the store")
                continue
            yield Reading(label, self.headline.direction, self._normalised(profile, language, spoken))

    def _transcripts(self, facts: Mapping[str, Any]) -> list[tuple[int, int, str, str]] | None:
        """(system, item, what should be said, what was heard) of every scored row; None once one is missing."""
        out: list[tuple[int, int, str, str]] = []
        texts = [self._text(item, facts) for item in self.items]
        for s, i, row, scores in self.rows:
            if _value(self.headline, scores) is None:
                continue
            made = self.data.generations.get(row.key)
            audio = made.audio.sha256 if made is not None and made.audio is not None else None
            said, text = None if audio is None else self.heard(facts, audio), texts[i]
            if said is None or text is None:
                return None
            out.append((s, i, text, said))
        return out

    def _text(self, item: str, facts: Mapping[str, Any]) -> str | None:
        known = self.data.items[self.set_id, item]
        if facts.get("against") != "transcript":
            return known.text
        reference = known.audio.get("reference")
        return self.heard(facts, reference.sha256) if reference is not None and reference.sha256 is not None else None

    def _normalised(self, profile: Profile, language: str, spoken: Sequence[tuple[int, int, str, str]]) -> Grid:
        """Every text once, every pair of texts once: systems often say the same."""
        references = {text: words(profile.reference(text, language)) for text in {t for _, _, t, _ in spoken}}
        alike = references if type(profile).hypothesis is Profile.hypothesis else {}
        heard = {
            text: alike[text] if text in alike else words(profile.hypothesis(text, language))
            for text in {t for _, _, _, t in spoken}
        }
        counts = {
            (text, said): errors(references[text], heard[said])
            for text, said in {(text, said) for _, _, text, said in spoken}
            if references[text]
        }
        corpus = self.headline.ratio is not None
        terms = (
            (s, i, counts[text, said] / (1 if corpus else size), size if corpus else 1.0)
            for s, i, text, said in spoken
            if (size := float(len(references[text])))
        )
        made = self._terms(terms)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = 100.0 * made.num.sum(axis=1) / made.den.sum(axis=1)
        return Grid(values, lambda: made)

    def _terms(self, terms: Iterator[tuple[int, int, float, float]]) -> Terms:
        """Sums over seeds, then their means."""
        shape = len(self.systems), len(self.items)
        rows = np.asarray(list(terms), dtype=np.float64).reshape(-1, 4)
        place = (rows[:, 0] * shape[1] + rows[:, 1]).astype(np.intp)
        num, den, count = (
            np.bincount(place, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)
            for weights in (rows[:, 2], rows[:, 3], None)
        )
        known = count > 0
        return Terms(known, num / np.maximum(count, 1), den / np.maximum(count, 1))


def _value(column: Column, scores: Mapping[str, Score]) -> float | None:
    return scores[column.id].value if column.id in scores else None
