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


REPLIES, COMMANDS = take_over() if __name__ == "__main__" else (sys.stdout, sys.stdin)  # one who imports us keeps his

import array
import importlib.util
import queue
import random
import signal
import struct
import threading
import time
import traceback
import types
from typing import Any, TextIO

PROTOCOL = 1


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


def seed_all(seed: int) -> None:
    """Every generator that is there."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)  # CUDA's too


def floats(samples: Any) -> array.array[float]:
    """(T,) float32 in an array of the standard library, from a list, numpy or torch. Raises ValueError, TypeError."""
    if hasattr(samples, "detach"):
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
    try:
        import resource
    except ImportError:
        return None, None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2.0**20 if sys.platform == "darwin" else 2.0**10)
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return peak, None
    cuda = torch.cuda.max_memory_allocated() / 2.0**20
    torch.cuda.reset_peak_memory_stats()
    return peak, cuda


def deliver(number: int, out: str, result: Any, seconds: float) -> None:
    """Tell the host what became of an item."""
    if isinstance(result, BaseException):
        words = "".join(traceback.format_exception(type(result), result, result.__traceback__))
        sys.stderr.write(words)
        sys.stderr.flush()
        send("failed", item=number, kind=type(result).__name__, message=str(result)[:2000])
        return
    try:
        if isinstance(result, (str, os.PathLike)):
            path = os.path.abspath(os.fspath(result))
        else:
            samples, rate = result
            if int(rate) != rate:
                raise ValueError(f"the adapter returned a sample rate of {rate} Hz")
            path = out + ".wav"
            write_wav(path, floats(samples), int(rate))
    except Exception as error:
        deliver(number, out, error, seconds)
        return
    ram, cuda = peak_mb()
    send("made", item=number, path=path, seconds=seconds, peak_mb=ram, cuda_mb=cuda)


def run_items(system: Any, first: int, items: list[dict[str, Any]]) -> None:
    """Each item once, in order, numbered from `first`; `start` before each tells the host whom to blame."""
    results = None
    for i, item in enumerate(items):
        send("start", item=first + i)
        clock, out = time.perf_counter(), item["out"]
        try:
            if not hasattr(system, "run_batch"):
                seed_all(item["seed"])
                result = system.run(item)
            else:
                if results is None:
                    seed_all(item["seed"])
                    results = iter(system.run_batch(items))
                result = next(results)
        except StopIteration:
            result = RuntimeError(f"run_batch returned {i} results for {len(items)} items")
        except Exception as error:
            result = error
        deliver(first + i, out, result, time.perf_counter() - clock)


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
                traceback.print_exc()
                sys.stderr.flush()
                send("broken", kind=type(error).__name__, message=str(error)[:2000])
                continue
            send("loaded", seconds=time.perf_counter() - clock)
        elif command["op"] == "run":
            run_items(system, command["first"], command["items"])
            send("end")
    if hasattr(system, "close"):
        system.close()
    REPLIES.flush()
    os._exit(0)  # threads and children of the competitor's need not be waited for


if __name__ == "__main__":
    main()
