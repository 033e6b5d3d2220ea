"""Runs an adapter through the real worker, in another interpreter, against a fake of its upstream.

`converse` is for tests; `serve` runs in the child: it installs the fake (`upstream_tts.py`), then the worker. Every
function of a fake that is `recorded` checks its arguments against its signature, as Python does, and writes them down.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import json
import os
import runpy
import subprocess
import sys
import types
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).resolve().parents[2]
WORKER = REPO / "metis_bench" / "baselines" / "worker.py"
CALLS = "METIS_BENCH_FAKE_CALLS"


class Tensor:
    """As much of torch's as the adapters and the worker touch, over numpy."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def unsqueeze(self, dim: int) -> Tensor:
        return Tensor(np.expand_dims(self.array, dim))

    def is_floating_point(self) -> bool:
        return True

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def float(self) -> Tensor:
        return Tensor(self.array.astype(np.float32))

    def numpy(self) -> np.ndarray:
        return self.array


def tone(seconds: float, rate: int) -> np.ndarray:
    """(T,) float32: what a fake says."""
    return (0.25 * np.sin(np.arange(round(seconds * rate)) * 0.05)).astype(np.float32)


def plain(value: Any) -> Any:
    """What of an argument goes into the record."""
    if isinstance(value, (Tensor, np.ndarray)):
        array = value.array if isinstance(value, Tensor) else value
        return {"shape": list(array.shape), "dtype": str(array.dtype), "data": array.reshape(-1)[:40].tolist()}
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value if isinstance(value, (str, int, float, type(None))) else getattr(value, "is_", type(value).__name__)


def recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which also writes its arguments, by name and with defaults, into the file of calls."""
    signature = inspect.signature(function)
    name = function.__qualname__.split("<locals>.")[-1]

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        facts = {key: plain(value) for key, value in bound.arguments.items() if key not in ("self", "cls")}
        with Path(os.environ[CALLS]).open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, facts]) + "\n")
        return function(*args, **kwargs)

    return wrapper


def install(name: str, **members: Any) -> types.ModuleType:
    """A module, and the packages above it, so that `import a.b.c` and `from a.b import c` find it."""
    module = sys.modules.get(name) or types.ModuleType(name)
    sys.modules[name] = module
    vars(module).setdefault("__path__", [])
    vars(module).update(members)
    if "." in name:
        above, own = name.rsplit(".", 1)
        setattr(install(above), own, module)
    return module


def serve(baseline: str) -> None:
    """In the child: the fake of a baseline, then the worker."""
    from tests.baselines import upstream_tts

    getattr(upstream_tts, "fake_" + baseline.replace("-", "_"))()
    runpy.run_path(str(WORKER), run_name="__main__")


@dataclass
class Conversation:
    """What the worker said, and the calls that reached the fake, in order."""

    events: list[dict[str, Any]]
    calls: list[tuple[str, dict[str, Any]]]

    def event(self, name: str) -> dict[str, Any]:
        """The first event of a name; an assertion with all events if there is none."""
        found = [event for event in self.events if event["event"] == name]
        assert found, self.events
        return found[0]

    def call(self, name: str) -> dict[str, Any]:
        """The arguments of the only call of a function."""
        found = [facts for called, facts in self.calls if called == name]
        assert len(found) == 1, (name, self.calls)
        return found[0]


def write_prompt(path: Path, rate: int = 16_000, seconds: float = 1.0) -> None:
    """A mono wav of 16 bits, as the host writes them."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((tone(seconds, rate) * 32767).astype("<i2").tobytes())


def converse(
    baseline: str, folder: Path, preset: str | None = None, device: str = "cpu", **changes: Any
) -> Conversation:
    """Load an adapter as the host would and run one item with the changes.

    missing: a weight that is not there; options: other values than the preset's
    """
    from metis_bench.baselines.manifest import read  # here, so that the child need not import it

    manifest = read(REPO / "baselines" / baseline).manifest
    weights = {weight.id: str(folder / "weights" / weight.place) for weight in manifest.weights}
    weights.pop(changes.pop("missing", None), None)
    options = manifest.presets[preset or next(iter(manifest.presets))] | changes.pop("options", {})
    load = {"op": "load", "adapter": str(REPO / "baselines" / baseline / "adapter.py"), "options": options}
    load |= {"device": device, "repo": str(folder), "weights": weights, "work": str(folder)}
    write_prompt(folder / "prompt.wav")
    item = {"id": "a", "task": "tts", "language": "en", "seed": 2**40 + 7, "out": str(folder / "made")}
    item |= {"text": "Good morning.", "prompt": str(folder / "prompt.wav"), "prompt_text": "Hello there.", **changes}
    (folder / "calls.jsonl").write_text("")
    code = f"from tests.baselines.fakes_tts import serve; serve({baseline!r})"
    variables = {**os.environ, CALLS: str(folder / "calls.jsonl"), "PYTHONPATH": str(REPO)}
    with (folder / "stderr.txt").open("wb") as errors:
        command = [sys.executable, "-c", code]
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, cwd=folder, env=variables, stdin=pipe, stdout=pipe, stderr=errors, text=True)
    assert child.stdin is not None and child.stdout is not None
    events: list[dict[str, Any]] = []
    for message in (load, {"op": "run", "first": 0, "items": [item]}):
        child.stdin.write(json.dumps(message) + "\n")
        child.stdin.flush()
        for line in child.stdout:
            events.append(json.loads(line))
            if events[-1]["event"] in ("loaded", "broken", "end"):
                break
        if not events or events[-1]["event"] == "broken":
            break
    child.stdin.close()  # the worker ends with its host
    child.wait(timeout=60)
    child.stdout.close()
    assert events, (folder / "stderr.txt").read_text()
    lines = (folder / "calls.jsonl").read_text().splitlines()
    return Conversation(events, [tuple(json.loads(line)) for line in lines])
