"""The worker: runs an adapter in the competitor's own interpreter. Only the standard library, Python >= 3.8.

    python worker.py        (started by `host.py`, behind whatever launcher the environment needs)

An adapter is a file with one function, `load(ctx)`, which returns an object with one of

    run(item)          -> (samples, rate), or the path of an audio file
    run_batch(items)   -> one such result (or an exception) an item, in their order; preferably a generator

samples: mono, in [-1, 1], floats: a list, a numpy array, a torch tensor on any device; (T,), (1, T) or (T, 1)
ctx:     options (the preset's), device ("cuda:0" or "cpu"), repo (the checkout, or None), weights {id: path}, work (a
         scratch folder)
item:    a dict: id, task, language, seed, out (a path without suffix that it may write to), and the task's inputs:
         tts  text, prompt, prompt_text      vc  source, prompt       tse  source, prompt
         se   source                         l2s video, prompt        (audio inputs are paths of 16-bit mono wav files)

JSON lines go over duplicates of the descriptors 0 and 1, taken before anything is imported; what the competitor prints
goes to stderr, and its stdin is empty. Python's, numpy's and torch's generators are seeded before each item.
A returned file is moved to the item's own place, so that no item can be given what was made for another.
"""

from __future__ import annotations

import json
import os
import sys


def take_over() -> tuple[TextIO, TextIO]:
    """Copies of the host's pipes, for us alone: what the competitor prints goes to stderr, and its stdin is empty."""
    replies, commands = os.dup(1), os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(2, 1)
    os.dup2(null, 0)
    os.close(null)
    return os.fdopen(replies, "w", encoding="utf-8"), os.fdopen(commands, encoding="utf-8")


HERE = os.path.dirname(os.path.abspath(__file__))
if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if os.path.abspath(path) != HERE]  # `import table` is the competitor's
REPLIES, COMMANDS = take_over() if __name__ == "__main__" else (sys.stdout, sys.stdin)  # one who imports us keeps his

import array
import importlib.util
import queue
import random
import shutil
import signal
import struct
import threading
import time
import traceback
import types
from typing import Any, TextIO

PROTOCOL = 1
DONE = object()


def send(event: str, **facts: Any) -> None:
    """One line to the host."""
    REPLIES.write(json.dumps(dict(facts, event=event)) + "\n")
    REPLIES.flush()


def listen(commands: queue.Queue[dict[str, Any]]) -> None:
    """A thread: hand commands on; when the host is gone, so are we, and with us whatever the adapter started."""
    for line in COMMANDS:
        commands.put(json.loads(line))
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def die_with_host() -> None:
    """Linux: the thread above cannot run while C code holds the interpreter."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        pass


def seed_all(seed: int) -> None:
    """Every generator that is there."""
    random.seed(seed)
    for name, function in (("numpy", "random.seed"), ("torch", "manual_seed")):  # torch: CUDA's too
        found = sys.modules.get(name)
        for part in function.split("."):
            found = getattr(found, part, None)  # a stand-in may have none
        if found is not None:
            found(seed % 2**32 if name == "numpy" else seed)  # type: ignore[operator]


def floats(samples: Any) -> array.array[float]:
    """(T,) float32 in an array of the standard library, from a list, numpy or torch. Raises ValueError, TypeError."""
    if hasattr(samples, "detach"):
        if not samples.is_floating_point():
            raise TypeError(f"the adapter returned {samples.dtype} samples; expected floats in [-1, 1]")
        samples = samples.detach().cpu().float().numpy()
    shape = list(getattr(samples, "shape", ()))
    if len(shape) > 1:
        if sum(size != 1 for size in shape) > 1:
            raise ValueError(f"the adapter returned samples of shape {tuple(shape)}; expected mono")
        samples = samples.reshape(-1)
    if hasattr(samples, "astype"):
        if samples.dtype.kind != "f":
            raise TypeError(f"the adapter returned {samples.dtype} samples; expected floats in [-1, 1]")
        out = array.array("f")
        out.frombytes(samples.astype("<f4").tobytes())
        return out
    whole = all(isinstance(x, int) for x in samples) if isinstance(samples, (list, tuple)) and samples else False
    if whole or isinstance(samples, (bytes, bytearray, str)) or getattr(samples, "typecode", "f") not in "fd":
        raise TypeError(f"the adapter returned a {type(samples).__name__} of no floats; expected floats in [-1, 1]")
    return array.array("f", samples)


def write_wav(path: str, samples: array.array[float], rate: int) -> None:
    """Mono float32, complete or not at all."""
    data = samples.tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 50 + len(data), b"WAVE", b"fmt ", 18, 3, 1, rate, 4 * rate, 4, 32)
    with open(path + ".part", "wb") as file:
        file.write(head + struct.pack("<H4sII4sI", 0, b"fact", 4, len(samples), b"data", len(data)) + data)
    os.replace(path + ".part", path)


def peak_mb() -> tuple[float | None, float | None]:
    """Of this process since it began, MiB; and of torch's CUDA allocator since the last call."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    memory = None
    if cuda is not None and cuda.is_available():
        memory = cuda.max_memory_allocated() / 2.0**20
        cuda.reset_peak_memory_stats()
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:")), memory
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None, memory
    # not on Linux: there it begins with what the host had
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2.0**20 if sys.platform == "darwin" else 2.0**10), memory


def words(error: BaseException) -> dict[str, str]:
    """What the host is told of an error; whatever cannot be said or encoded is left out."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be made)"
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        os.write(2, text.encode("utf-8", "replace"))
    except Exception:
        pass
    return {"kind": type(error).__name__, "message": message[:2000].encode("utf-8", "replace").decode()}


def deliver(number: int, item: dict[str, Any], result: Any, seconds: float) -> None:
    """Tell the host what became of an item."""
    try:
        if isinstance(result, BaseException):
            raise result
        if isinstance(result, (str, os.PathLike)):
            path = own_place(item, os.path.abspath(os.fspath(result)))
        else:
            samples, rate = result
            if int(rate) != rate:
                raise ValueError(f"the adapter returned a sample rate of {rate} Hz")
            path = item["out"] + ".wav"
            write_wav(path, floats(samples), int(rate))
        ram, cuda = peak_mb()
    except BaseException as error:
        send("failed", item=number, **words(error))
        return
    path = path.encode("utf-8", "replace").decode()
    send("made", item=number, path=path, seconds=seconds, peak_mb=ram, cuda_mb=cuda)


def own_place(item: dict[str, Any], path: str) -> str:
    """A returned file, moved to where this item's alone is; one that lies elsewhere stays: the host refuses it."""
    base = os.path.realpath(os.path.dirname(os.path.dirname(item["out"])))
    if os.path.commonpath([base, os.path.realpath(path)]) != base:
        return path
    suffix = os.path.splitext(path)[1]
    target: str = item["out"] + ".made" + suffix
    if path == item["out"] + suffix:
        return path
    if path in item.values():
        shutil.copyfile(path, target)
    else:
        os.replace(path, target)
    return target


def run_items(system: Any, first: int, items: list[dict[str, Any]]) -> None:
    """Each item once, in order, numbered from `first`; `start` before each tells the host whom to blame."""
    results: Any = None
    broken: BaseException | None = None
    told = [dict(item) for item in items]  # an adapter may change what it is given
    for i, item in enumerate(told):
        send("start", item=first + i)
        clock = time.perf_counter()
        seed_all(item["seed"])
        result: Any = broken
        try:
            if not hasattr(system, "run_batch"):
                result = system.run(items[i])
            elif broken is None:
                results = iter(system.run_batch(items)) if results is None else results
                result = next(results, DONE)
        except BaseException as error:
            result = error
            broken = error if results is None and hasattr(system, "run_batch") else None  # it is not called again
        if result is DONE:
            result = RuntimeError(f"run_batch returned {i} results for {len(items)} items")
        deliver(first + i, item, result, time.perf_counter() - clock)
    send("end", surplus=results is not None and broken is None and surplus(results))


def surplus(results: Any) -> bool:
    """Whether there are more results than items: then nobody knows whose is whose."""
    try:
        return next(results, DONE) is not DONE
    except BaseException:
        return False


def load_adapter(command: dict[str, Any]) -> Any:
    """What the adapter's `load` returns."""
    spec = importlib.util.spec_from_file_location("metis_bench_adapter", command["adapter"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["metis_bench_adapter"] = module
    spec.loader.exec_module(module)
    context = {key: command[key] for key in ("options", "device", "repo", "weights", "work")}
    seed_all(0)
    return module.load(types.SimpleNamespace(**context))


def main() -> None:
    """Serve until told to quit, or until the host is gone."""
    die_with_host()
    commands: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=listen, args=(commands,), daemon=True).start()
    send("hello", protocol=PROTOCOL, python="{}.{}.{}".format(*sys.version_info[:3]), pid=os.getpid())
    system: Any = None
    while True:
        command = commands.get()
        if command["op"] == "quit":
            break
        if command["op"] == "load":
            clock = time.perf_counter()
            try:
                system = load_adapter(command)
            except BaseException as error:
                send("broken", **words(error))
                continue
            send("loaded", seconds=time.perf_counter() - clock)
        elif command["op"] == "run":
            run_items(system, command["first"], command["items"])
    if hasattr(system, "close"):
        system.close()
    REPLIES.flush()
    os._exit(0)  # threads and children of the competitor's need not be waited for


if __name__ == "__main__":
    main()
