"""Which systems and items of a run go into a test: seeded, the same items for all, and nothing left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from metis_bench.audio import Audio
from metis_bench.engine.generating import read_input
from metis_bench.engine.inspect import run_store
from metis_bench.engine.run import read_header
from metis_bench.engine.store import Store
from metis_bench.errors import MetisBenchError, UsageError, nearest
from metis_bench.hashing import JSON
from metis_bench.report.data import Item, RunData, load_run
from reference_models.seeds import derive_seed

if TYPE_CHECKING:
    from metis_bench.listen.build import Options

# (set, item, system), the system being also "<reference>" and "<prompt>"
Material: TypeAlias = Mapping[tuple[str, str, str], Audio]
REFERENCE, PROMPT = "<reference>", "<prompt>"


@dataclass(frozen=True)
class Chosen:
    """What a test is made of. anchors: an item, and (SMOS) one of another speaker; left_out: sentences."""

    run_id: str
    systems: tuple[str, ...]
    items: tuple[Item, ...]
    anchors: tuple[tuple[Item, Item | None], ...]
    left_out: tuple[str, ...]
    hashes: Mapping[str, str]

    def identity(self) -> JSON:
        """What the test is made of, by content."""
        items: list[JSON] = [[i.set, i.item] for i in self.items]
        anchors: list[JSON] = [[a.set, a.item, None if b is None else b.item] for a, b in self.anchors]
        return [self.run_id, list(self.systems), items, anchors, dict(self.hashes)]


class _Reader:
    """Audio of a run, decoded once and checked against its hash."""

    def __init__(self, data: RunData, store: Store) -> None:
        self.store = store
        self.first: dict[tuple[str, str, str], tuple[str | None, str]] = {}  # -> (sha256, why not)
        for row in sorted(data.rows, key=lambda r: r.seed, reverse=True):  # the lowest seed stays
            made = data.generations.get(row.key)
            sha256 = made.audio.sha256 if made and made.audio and made.status == "ok" else None
            self.first[row.set, row.item, row.system] = sha256, (made and made.reason) or "not generated"
        self.known: dict[tuple[str, str, str], Audio] = {}
        self.hashes: dict[str, str] = {}

    def read(self, item: Item, name: str) -> str | None:
        """Make sure that a clip of an item is in `known`; else why not."""
        key = (item.set, item.item, name)
        if key in self.known:
            return None
        if name in (REFERENCE, PROMPT):
            ref = item.audio.get(name.strip("<>"))
            path, sha256 = (None, None) if ref is None else (Path(ref.path), ref.sha256)
            why = f"no {name.strip('<>')}" if ref is None else ref.error or "not read by the run"
        else:
            sha256, why = self.first.get(key, (None, "not planned"))
            path = None if sha256 is None else self.store.audio_path(sha256)
            why = f"no output of {name} ({why})"
        if path is None or sha256 is None:
            return why
        try:
            self.known[key] = read_input(path, sha256)
        except MetisBenchError as error:
            return f"{name.strip('<>')}: {error.message}"
        self.hashes["\n".join(key)] = sha256
        return None


def select(run: Path, options: Options, progress: Callable[[str, int, int], None]) -> tuple[Chosen, Material]:
    """Systems, items and anchors of a test, and all their audio. Raises MetisBenchError where there is nothing."""
    data = load_run(run)
    systems = _systems(data, options)
    sets = _named("test set", options.sets, [s.id for s in data.results.sets]) or [s.id for s in data.results.sets]
    pool = [item for item in data.items.values() if item.set in sets]
    rng = np.random.default_rng(derive_seed(options.seed, "listen", "items"))
    shuffled = [pool[k] for k in rng.permutation(len(pool))]
    reader = _Reader(data, run_store(run))
    needed = [*systems, *([str(options.reference)] if options.test == "cmos" else [])]
    needed += [PROMPT] if options.test == "smos" else []
    items: list[Item] = []
    reasons: Counter[str] = Counter()
    wanted = options.items or len(pool)
    for item in shuffled:
        if len(items) == wanted:
            break
        why = next((w for name in needed if (w := reader.read(item, name))), None)
        reasons.update([why] if why else [])
        items += [] if why else [item]
        progress("clips", len(items), wanted)
    left_out = [f"{n} of {len(pool)} items left out: {why}" for why, n in sorted(reasons.items())]
    if not items:
        detail = "; ".join(left_out[:5]) or "the test sets hold no items"
        raise UsageError(f"no item has an output of every chosen system: {detail}", fix="choose fewer with --system")
    if options.items and len(items) < options.items:
        left_out.append(f"only {len(items)} of the {options.items} items asked for can be used")
    anchors = _anchors(shuffled, items, reader, options)
    chosen = Chosen(str(read_header(run)["id"]), tuple(systems), tuple(items), anchors, tuple(left_out), reader.hashes)
    return chosen, reader.known


def _systems(data: RunData, options: Options) -> list[str]:
    names = [s.name for s in data.results.systems]
    if options.reference is not None:
        _named("system", [options.reference], names)
        if options.test != "cmos":
            raise UsageError("--reference is for --test cmos; the other tests rate each system for itself")
    elif options.test == "cmos":
        raise UsageError("--test cmos compares with one system", fix=f"--reference NAME, one of: {', '.join(names)}")
    ranked = [s.name for s in data.results.systems if s.ranked]
    systems = _named("system", options.systems, names) or ranked
    systems = [name for name in dict.fromkeys(systems) if name != options.reference]
    if not systems:
        raise UsageError("there is no system to test", fix=f"--system A,B, of: {', '.join(names)}")
    return systems


def _named(what: str, asked: Sequence[str], there: Sequence[str]) -> list[str]:
    for name in asked:
        if name not in there:
            raise UsageError(f"this run has no {what} '{name}'{nearest(name, list(there))}")
    return list(asked)


def _anchors(
    shuffled: Sequence[Item], items: Sequence[Item], reader: _Reader, options: Options
) -> tuple[tuple[Item, Item | None], ...]:
    """Items with a reference, those outside the test first: their clips are heard only as anchors."""
    inside = {(i.set, i.item) for i in items}
    order = sorted(shuffled, key=lambda i: (i.set, i.item) in inside)
    needed = [REFERENCE, PROMPT] if options.test == "smos" else [REFERENCE]
    found: list[tuple[Item, Item | None]] = []
    for item in order:
        if len(found) == options.anchors:
            break
        if any(reader.read(item, name) for name in needed):
            continue
        found.append((item, _stranger(item, order, reader) if options.test == "smos" else None))
    return tuple(found)


def _stranger(item: Item, order: Sequence[Item], reader: _Reader) -> Item | None:
    """An item of the same set by another speaker (cluster), whose reference can be read."""
    for other in order:
        apart = other.set == item.set and None not in (other.cluster, item.cluster) and other.cluster != item.cluster
        if apart and reader.read(other, REFERENCE) is None:
            return other
    return None
