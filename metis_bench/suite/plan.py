"""The plan: every (system, item, seed), decided before anything runs. It is the denominator of every later number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

from metis_bench import audio
from metis_bench.corpora.base import Item, LoadedCorpus, Need, Subset, Task
from metis_bench.errors import AudioError, CorpusError
from metis_bench.hashing import JSON, canonical_json, sha256_bytes, sha256_file, sha256_json, sha256_list
from metis_bench.suite.schema import Suite
from reference_models.seeds import derive_seed

AUDIO_FIELDS: tuple[Literal["prompt", "source", "reference"], ...] = ("prompt", "source", "reference")
FILE_FIELDS: tuple[Literal["prompt", "source", "reference", "video"], ...] = (*AUDIO_FIELDS, "video")
CHARACTERS_PER_SECOND = 15.0  # of read English; only for the estimate of text-only items


@dataclass(frozen=True, slots=True)
class FileRef:
    """An input file as the plan found it: identified by content, or by the reason it cannot be used.

    info: what the header of an audio file says; None for a video, which nothing here decodes
    """

    path: Path
    sha256: str | None = None
    info: audio.AudioInfo | None = None
    error: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """For plan.jsonl."""
        if self.sha256 is None:
            return {"path": str(self.path), "error": self.error}
        known: dict[str, JSON] = {"path": str(self.path), "sha256": self.sha256}
        return known if self.info is None else {**known, "seconds": self.info.seconds, **self.info.to_json()}


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """An item of one test set, its files inspected."""

    set_id: str
    item: Item
    files: Mapping[str, FileRef]

    @property
    def audio(self) -> dict[str, FileRef]:
        """The files that are audio."""
        return {name: ref for name, ref in self.files.items() if name in AUDIO_FIELDS}

    @property
    def seconds(self) -> float:
        """About how long the output will be."""
        for name in ("reference", "source"):
            ref = self.files.get(name)
            if ref is not None and ref.info is not None:
                return ref.info.seconds
        return len(self.item.text or "") / CHARACTERS_PER_SECOND

    @property
    def duration(self) -> float | None:
        """Seconds of the reference: all that a system that needs `duration` learns of it."""
        ref = self.files.get("reference")
        return None if ref is None or ref.info is None else ref.info.seconds

    def problem(self, needs: Iterable[str]) -> str | None:
        """Why the fields in `needs` cannot all be had, or None."""
        for name in sorted({"reference" if name == "duration" else name for name in needs}):
            ref = self.files.get(name)
            if ref is not None and ref.error is not None:
                return f"{name}: {ref.error}"
            if ref is None and not getattr(self.item, name):
                return f"the item has no {name}"
        return None

    def content(self, needs: Iterable[str]) -> dict[str, JSON]:
        """What the fields in `needs` hold, by content: the item's part of a key."""
        return {n: self.files[n].sha256 if n in self.files else self._plain(n) for n in sorted(needs)}

    def _plain(self, name: str) -> JSON:
        value: JSON = self.duration if name == "duration" else getattr(self.item, name)
        return value

    def to_json(self) -> dict[str, JSON]:
        """For plan.jsonl."""
        i = self.item
        line: dict[str, JSON] = {
            "type": "item",
            "set": self.set_id,
            "item": i.id,
            "task": i.task,
            "language": i.language,
            "text": i.text,
            "prompt_text": i.prompt_text,
            "cluster": i.cluster,
            "meta": dict(i.meta),
            "audio": {k: v.to_json() for k, v in self.audio.items()},
        }
        return {**line, "video": self.files["video"].to_json()} if "video" in self.files else line


@dataclass(frozen=True)
class TestSet:
    """One subset of one corpus: a table of the report."""

    id: str
    corpus: str
    subset: str
    task: Task
    spec: Subset
    items: tuple[PlannedItem, ...]
    total: int  # before --limit
    list_hash: str
    licence: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One output to be made. `key` None: its inputs cannot be used, `problem` says why."""

    system: str
    set_id: str
    item_id: str
    seed: int
    derived_seed: int
    key: str | None
    problem: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """For plan.jsonl."""
        out: dict[str, JSON] = {"type": "row", "system": self.system, "set": self.set_id, "item": self.item_id}
        out.update(seed=self.seed, derived_seed=self.derived_seed, key=self.key)
        return out if self.problem is None else {**out, "problem": self.problem}


@dataclass(frozen=True)
class Plan:
    """Sets, rows in a stable order, and which (system, set) pairs make no sense, with the reason."""

    sets: tuple[TestSet, ...]
    rows: tuple[Row, ...]
    not_applicable: Mapping[tuple[str, str], str]
    facts: Mapping[str, SystemFacts]  # by system
    items: Mapping[tuple[str, str], PlannedItem] = field(repr=False, default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """sha256 of all rows with their keys: equal plans give equal results."""
        parts: Iterator[JSON] = chain(([s.id, s.list_hash] for s in self.sets), (r.to_json() for r in self.rows))
        return sha256_list(parts)

    def item(self, row: Row) -> PlannedItem:
        """What a row is made from."""
        return self.items[row.set_id, row.item_id]

    def warnings(self) -> list[str]:
        """What readers must know of systems and sets before they compare."""
        caveats = [f"{name}: {fact.caveat}" for name, fact in self.facts.items() if fact.caveat]
        return caveats + [warning for s in self.sets for warning in s.warnings]

    def reads(self, system: str) -> dict[str, list[Need]]:
        """What a system is given of an item, by task of the sets."""
        needs = self.facts[system].needs
        return {s.task: sorted(needs[s.task]) for s in self.sets if s.task in needs}


def inspect(path: Path) -> FileRef:
    """Hash and probe one audio file; never raises."""
    try:
        info = audio.probe(path)
        return FileRef(path, sha256_file(path), info)
    except AudioError as error:
        return FileRef(path, error=error.message)
    except OSError as error:
        return FileRef(path, error=f"cannot read the audio file ({error.strerror})")


def hash_only(path: Path) -> FileRef:
    """Hash one file that only systems decode (a video); never raises."""
    try:
        if path.exists() and not path.is_file():  # a named pipe would block for ever
            return FileRef(path, error="not a file")
        if path.stat().st_size == 0:
            return FileRef(path, error="the file is empty (0 bytes)")
        return FileRef(path, sha256_file(path))
    except OSError as error:
        return FileRef(path, error=f"cannot read the file ({error.strerror})")


def corpus_task(key: str, corpus: LoadedCorpus) -> Task:
    """The task of a corpus' items. Raises CorpusError where there are none, or where they differ."""
    tasks = sorted({i.task for i in corpus.items})
    if not tasks:
        raise CorpusError(f"the corpus '{key}' has no items")
    if len(tasks) > 1:
        raise CorpusError(
            f"the corpus '{key}' has items for several tasks ({', '.join(tasks)}): make one corpus of each"
        )
    return tasks[0]


def test_sets(
    key: str, corpus: LoadedCorpus, limit: int | None, progress: Callable[[int, int], None] | None = None
) -> tuple[TestSet, ...]:
    """Inspect a loaded corpus' files and cut it into test sets. Raises CorpusError for an empty or ambiguous one."""
    task = corpus_task(key, corpus)
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in corpus.items:
        groups[item.subset].append(item)
    seen: dict[tuple[Path, bool], FileRef] = {}
    out = []
    for subset, items in groups.items():
        name = f"{key}/{subset}" if subset else key
        if len({i.id for i in items}) != len(items):
            raise CorpusError(f"'{name}' has the same item id twice")
        planned = tuple(_planned(name, i, seen, corpus.make) for i in _counted(items[:limit], progress))
        out.append(
            TestSet(
                id=name,
                corpus=key,
                subset=subset,
                task=task,
                spec=corpus.subsets[subset],
                items=planned,
                total=len(items),
                list_hash=sha256_json([_identity(p) for p in planned]),
                licence=corpus.licence,
                warnings=_set_warnings(
                    name, len(items), limit, corpus.warnings if subset == next(iter(groups)) else ()
                ),
            )
        )
    return tuple(out)


def _counted(items: Sequence[Item], progress: Callable[[int, int], None] | None) -> Iterator[Item]:
    """The items, telling how far one is: hashing thousands of files takes a while."""
    for done, item in enumerate(items):
        if progress is not None:
            progress(done + 1, len(items))
        yield item


def _identity(planned: PlannedItem) -> JSON:
    """What of an item decides scores and their intervals."""
    i = planned.item
    return [i.id, i.task, i.language, i.text, i.prompt_text, i.cluster, planned.content(planned.files)]


def _planned(
    set_id: str, item: Item, seen: dict[tuple[Path, bool], FileRef], make: Callable[[Item], None]
) -> PlannedItem:
    refs: dict[str, FileRef] = {}
    unmade: str | None = None
    try:
        make(item)
    except AudioError as error:
        unmade = error.message if error.where is None else f"{error.message} ({error.where})"
    for name in FILE_FIELDS:
        path = getattr(item, name)
        if path is not None:
            path = path.absolute()  # a report may be written again from another folder
            key = (path, name in AUDIO_FIELDS)
            if unmade is not None and not path.exists():
                refs[name] = FileRef(path, error=unmade)
                continue
            if key not in seen:
                seen[key] = inspect(path) if name in AUDIO_FIELDS else hash_only(path)
            refs[name] = seen[key]
    return PlannedItem(set_id, item, refs)


def _set_warnings(name: str, total: int, limit: int | None, warnings: tuple[str, ...]) -> tuple[str, ...]:
    if limit is not None and limit < total:
        return (*warnings, f"{name}: only the first {limit} of {total} items (--limit); not comparable with full runs")
    return warnings


@dataclass(frozen=True)
class SystemFacts:
    """What the plan must know of a system: its identity, the item fields it reads, and how often it must run.

    needs: by task; a task that is not there is one the system does not do
    causes: hashes of what the fingerprint is made of, by name, so that another machine can be asked for the same
    """

    fingerprint: str
    needs: Mapping[Task, frozenset[Need]]
    deterministic: bool
    timed: bool = True
    caveat: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)


def make_plan(suite: Suite, sets: Sequence[TestSet], facts: Mapping[str, SystemFacts]) -> Plan:
    """Pure: every (system, item, seed) of the suite, with its generation key. `facts`: by system name.

    A deterministic system is planned for the first seed only. A system that does not do a set's task, or needs fields
    that the set does not provide, is not applicable there; an item that lacks one is a failed row.
    """
    rows: list[Row] = []
    not_applicable: dict[tuple[str, str], str] = {}
    causes: dict[tuple[str, frozenset[Need]], list[_Cause]] = {}
    for spec in suite.systems:
        fact = facts[spec.name]
        for test_set in sets:
            reason = _unfit(fact, test_set)
            if reason is not None:
                not_applicable[spec.name, test_set.id] = reason
                continue
            needs = fact.needs[test_set.task]
            if (test_set.id, needs) not in causes:
                causes[test_set.id, needs] = [_cause(p, needs, suite.seeds) for p in test_set.items]
            seeds = suite.seeds[:1] if fact.deterministic else suite.seeds
            end = _tail(test_set.task, fact.fingerprint)
            rows += [
                _row(spec.name, seeds, i, c, end, fact) for c in causes[test_set.id, needs] for i in range(len(seeds))
            ]
    items = {(s.id, p.item.id): p for s in sets for p in s.items}
    return Plan(tuple(sets), tuple(rows), not_applicable, facts, items)


def _unfit(fact: SystemFacts, test_set: TestSet) -> str | None:
    """Why a system is not applicable to a set, or None."""
    if test_set.task not in fact.needs:
        return f"the system does not do the task '{test_set.task}'"
    provided = test_set.spec.provides | ({"duration"} if "reference" in test_set.spec.provides else frozenset())
    missing = sorted(fact.needs[test_set.task] - provided)
    return f"the set has no {', no '.join(missing)}" if missing else None


@dataclass(frozen=True, slots=True)
class _Cause:
    """What all systems that read the same fields share of an item's keys.

    begin: a key is the hash of canonical JSON; this is its part up to the seed (None where inputs cannot be used)
    seeds: derived from the suite's seeds
    """

    set_id: str
    item_id: str
    begin: str | None
    problem: str | None
    seeds: tuple[int, ...]


def _cause(planned: PlannedItem, needs: frozenset[Need], seeds: Sequence[int]) -> _Cause:
    item, problem = planned.item, planned.problem(needs)
    begin: str | None = None
    if problem is None:
        named: dict[str, JSON] = {"content": planned.content(needs), "item": [item.subset, item.id]}
        begin = canonical_json({**named, "language": item.language})[:-1] + ',"seed":'
    return _Cause(planned.set_id, item.id, begin, problem, tuple(derive_seed(seed, item.id) for seed in seeds))


def _tail(task: Task, fingerprint: str) -> str:
    """The part of a key's JSON after the seed: what all items of a set share. Names stand in alphabetical order."""
    return "," + canonical_json({"system": fingerprint, "task": task})[1:]


def _row(system: str, seeds: Sequence[int], number: int, cause: _Cause, end: str, fact: SystemFacts) -> Row:
    derived = cause.seeds[number]
    key: str | None = None
    if cause.begin is not None:
        seed = "null" if fact.deterministic else str(derived)
        key = sha256_bytes((cause.begin + seed + end).encode())
    return Row(system, cause.set_id, cause.item_id, seeds[number], derived, key, cause.problem)
