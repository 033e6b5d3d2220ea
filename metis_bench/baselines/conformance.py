"""Does a baseline keep the contract, and does this machine hold one that does not?

`endure` runs an adapter that misbehaves in every known way, once each, and says whether the right row failed, the
others came, and nothing was left behind. `examine` runs a given baseline: repeated, in another order and in a fresh
worker, its outputs must be as its manifest promises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metis_bench.audio import Audio
from metis_bench.baselines import processes
from metis_bench.baselines.manifest import MANIFEST, Baseline, read
from metis_bench.baselines.worker import PROTOCOL
from metis_bench.corpora.base import Task
from metis_bench.errors import ItemError, MetisBenchError
from metis_bench.systems.base import Request, System

MISBEHAVING = Path(__file__).with_name("misbehaving.py")
FINE = ""  # the item must come in spite of it
TIMED_OUT = "timed out after"
EXPECTED: dict[str, str] = {  # behaviour -> what its row's reason must hold
    "raises": "ValueError: no such phoneme",
    "segfaults": "killed by signal",
    "exits": "exit code 9",
    "hangs": TIMED_OUT,
    "hangs-and-leaves-a-child": "exit code 7",
    "prints": FINE,
    "prints-from-c": FINE,
    "prints-from-a-child": FINE,
    "reads-stdin": FINE,
    "wrong-rate": "22050 Hz",
    "stereo": "2 channels",
    "nan": "NaN",
    "empty": "no samples",
    "silent": "silence",
    "endless": "600 s of audio",
    "writes-elsewhere": "outside of its folder",
    "forks": FINE,
    "eats-memory": "GiB of memory",
    "returns-nothing": "TypeError",
}
# of the kit's manifest; on a busy machine only what hangs may run out of time
ITEM_S, HANGING_ITEM_S, MEMORY_GB = 60.0, 4.0, 0.5
KIT = """\
schema: 1
name: misbehaving
title: An adapter that misbehaves
tasks: [tts]
status: runnable
upstream: {url: metis-bench}
licence: {code: MIT, weights: none}
io: {rate: 16000}
device: {gpu: none}
limits: {item_s: %g, load_s: 60, output_s: 120, memory_gb: %g}
presets: {all: {how: raises}}
"""


@dataclass(frozen=True)
class Check:
    """One line of the result."""

    name: str
    ok: bool
    detail: str


def requests(task: Task, language: str = "en") -> list[Request]:
    """Three items of made-up sound, the middle one called "bad"."""
    out = []
    for number, name in enumerate(("before", "bad", "after")):
        t = np.arange(24_000 + 4_000 * number) / 16_000
        sound = Audio((0.2 * np.sin(2 * np.pi * (150 + 20 * number) * t)).astype(np.float32), 16_000)
        inputs: dict[str, Any] = {"source": sound} if task in ("vc", "tse", "se") else {}
        inputs |= {"prompt": sound} if task in ("tts", "vc", "tse") else {}
        inputs |= {"text": f"Item number {number}.", "prompt_text": "A hum."} if task == "tts" else {}
        out.append(Request(id=name, task=task, language=language, seed=1000 + number, **inputs))
    return out


def endure(names: Sequence[str] = tuple(EXPECTED)) -> Iterator[Check]:
    """Run the kit. Each check is one behaviour."""
    with tempfile.TemporaryDirectory() as folder:
        kit = Path(folder) / "misbehaving"
        kit.mkdir()
        (kit / "adapter.py").write_bytes(MISBEHAVING.read_bytes())
        for name in names:
            item_s = HANGING_ITEM_S if EXPECTED[name] == TIMED_OUT else ITEM_S
            (kit / MANIFEST).write_text(KIT % (item_s, MEMORY_GB), encoding="utf-8")
            yield _endured(read(kit), name)


def _endured(baseline: Baseline, how: str) -> Check:
    from metis_bench.systems.baseline import class_of

    cls = class_of(baseline)
    system = cls(cls.params_type.model_validate({"options": {"how": how}}))
    system.setup()
    host = system.host  # type: ignore[attr-defined]  # a BaselineSystem
    try:
        before, bad, after = (outcome(system, request) for request in requests("tts"))
    finally:
        system.close()
    host.folder.with_name(f"{host.folder.name}-elsewhere.wav").unlink(missing_ok=True)
    problems = [
        f"item '{name}' was lost: {o}" for name, o in (("before", before), ("after", after)) if isinstance(o, str)
    ]
    if EXPECTED[how] == FINE and isinstance(bad, str):
        problems.append(f"its item was lost: {bad}")
    if EXPECTED[how] != FINE and (not isinstance(bad, str) or EXPECTED[how] not in bad):
        problems.append(f"its row should say {EXPECTED[how]!r} and says {bad if isinstance(bad, str) else 'ok'!r}")
    left = [pid for token in host.tokens for pid in processes.marked(token)]
    problems += [f"{len(left)} processes are left"] if left else []
    problems += [f"{host.folder} is left"] if host.folder.exists() else []
    return Check(how, not problems, "; ".join(problems) or (bad if isinstance(bad, str) else "came in spite of it"))


def outcome(system: System, request: Request) -> Audio | str:
    """An output, or why there is none."""
    try:
        return system.generate(request)
    except ItemError as error:
        return error.message


def examine(baseline: Baseline, params: Mapping[str, Any]) -> Iterator[Check]:
    """Run a baseline's first task as its manifest describes it, and compare its outputs with each other."""
    from metis_bench.systems.baseline import class_of

    cls, manifest = class_of(baseline), baseline.manifest
    asked = requests(manifest.tasks[0], (manifest.io.languages or ["en"])[0])
    try:
        first, other = (_all(cls, params, order) for order in (asked, asked[::-1]))
    except MetisBenchError as error:
        yield Check("loads", False, str(error))
        return
    yield Check("loads", True, f"protocol {PROTOCOL}")
    lost = [f"{name}: {o}" for name, o in first.items() if isinstance(o, str)]
    yield Check("every item has an output", not lost, "; ".join(lost) or f"{len(first)} of {len(first)}")
    if manifest.determinism == "none":
        yield Check("another order gives the same", True, "not promised (determinism: none)")
        return
    unlike = [name for name, o in first.items() if not _same(o, other[name])]
    detail = f"differs in a fresh worker, in another order: {', '.join(unlike)}" if unlike else "bit by bit"
    yield Check("another order gives the same", not unlike, detail)


def _all(cls: type[System], params: Mapping[str, Any], asked: Sequence[Request]) -> dict[str, Audio | str]:
    system = cls(cls.params_type.model_validate(params))
    system.check()
    system.setup()
    try:
        return {request.id: outcome(system, request) for request in asked}
    finally:
        system.close()


def _same(a: Audio | str, b: Audio | str) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    return a.rate == b.rate and np.array_equal(a.samples, b.samples)
