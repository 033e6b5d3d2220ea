"""Real programs through the worker: eSpeak NG, RNNoise and a torch network, in an environment with another numpy.

The environment is one that pip makes here, in a folder of the test. It has a numpy of its own before ours on its path;
torch and the C libraries are those of this environment (reached by a .pth file), because they are gigabytes.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.baselines.conformance import requests
from metis_bench.baselines.environment import installed
from metis_bench.systems.base import System, systems
from tests.baselines.conftest import Build

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        any(importlib.util.find_spec(p) is None for p in ("espeakng_loader", "pyrnnoise", "torch")),
        reason="needs the extra 'embedded'",
    ),
]
ESPEAK = """
import ctypes, os
import espeakng_loader

RETRIEVAL, SYNCH, CHARS_UTF8 = 1, 2, 1

def load(ctx):
    return Espeak(ctx)

class Espeak:
    def __init__(self, ctx):
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = os.path.dirname(espeakng_loader.get_data_path()).encode()
        self.rate = self.library.espeak_Initialize(SYNCH, 0, data, 0)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self.heard)
        self.library.espeak_SetSynthCallback(self.callback)
        self.library.espeak_SetVoiceByName(ctx.options["voice"].encode())

    def heard(self, samples, count, events):
        self.samples += [samples[i] / 32768 for i in range(count)] if samples else []
        return 0

    def run(self, item):
        self.samples = []
        text = item["text"].encode() + bytes(1)
        self.library.espeak_Synth(text, len(text), 0, 1, 0, CHARS_UTF8, None, None)
        return self.samples, self.rate
"""
RNNOISE = """
import ctypes, wave
import numpy
from pyrnnoise.rnnoise import FRAME_SIZE, create, destroy, lib

def load(ctx):
    return RNNoise()

class RNNoise:
    def run(self, item):
        with wave.open(item["source"]) as file:
            rate, samples = file.getframerate(), numpy.frombuffer(file.readframes(file.getnframes()), "<i2")
        assert rate == 48000, rate
        buffer = numpy.zeros(-(-len(samples) // FRAME_SIZE) * FRAME_SIZE, dtype=numpy.float32)
        buffer[: len(samples)] = samples
        state = create()
        for start in range(0, len(buffer), FRAME_SIZE):
            frame = buffer[start : start + FRAME_SIZE].ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            lib.rnnoise_process_frame(state, frame, frame)
        destroy(state)
        return buffer / numpy.float32(32768), 48000
"""
TORCH = """
import wave
import numpy, torch

def load(ctx):
    torch.manual_seed(7)
    return Network().to(ctx.device).eval()

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.filter = torch.nn.Conv1d(1, 1, 33, padding=16)

    @torch.inference_mode()
    def run(self, item):
        with wave.open(item["source"]) as file:
            rate, samples = file.getframerate(), numpy.frombuffer(file.readframes(file.getnframes()), "<i2")
        heard = torch.from_numpy(samples / numpy.float32(32768))[None]
        return self.filter(heard) + 0.01 * torch.randn_like(heard), rate
"""


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of another environment."""
    folder = tmp_path_factory.mktemp("env")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    wanted = os.environ.get("METIS_BENCH_OTHER_NUMPY", "1.26.4")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    done = subprocess.run([*pip, f"numpy=={wanted}"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install another numpy here: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def voicefixer_python(other_python: Path) -> Path:
    """The same, with VoiceFixer's package and the one it needs that we do not."""
    site = next(other_python.parent.parent.glob("lib/python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    done = subprocess.run([*pip, "voicefixer==0.1.3", "torchlibrosa"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install voicefixer here: {done.stderr.strip().splitlines()[-1:]}")
    return other_python


@pytest.fixture
def elsewhere(build: Build, other_python: Path, machine_says: Callable[..., None]) -> Build:
    """As `build`, in the other environment."""
    machine_says(toy={"python": str(other_python)})
    return build


def test_the_environment_has_another_numpy(other_python: Path) -> None:
    versions = installed((str(other_python),), ("numpy", "torch", "no-such-package"))
    assert versions["numpy"] == "1.26.4" != metadata.version("numpy")
    assert versions["torch"] == metadata.version("torch") and versions["no-such-package"] is None


def test_espeak_is_the_same_as_in_process(elsewhere: Build) -> None:
    remote = elsewhere(ESPEAK, presets={"us": {"voice": "en-us"}}, io={"rate": 22_050})
    cls = systems.get("espeak")
    local = cls(cls.params_type())
    local.setup()
    try:
        for request in requests("tts")[:2]:
            here, there = local.generate(request), remote.generate(request)
            assert there.rate == here.rate and there.seconds > 0.5
            ours, theirs = np.abs(np.fft.rfft(here.samples, 1 << 16)), np.abs(np.fft.rfft(there.samples, 1 << 16))
            assert np.corrcoef(ours, theirs)[0, 1] > 0.5, "the same words by the same voice, at another speed"
    finally:
        local.close()


def noisy(rate: int) -> Audio:
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(2 * rate) / rate) * (np.arange(2 * rate) // (rate // 4) % 2)
    return Audio((tone + 0.03 * rng.standard_normal(2 * rate)).astype(np.float32), rate)


def test_rnnoise_is_the_same_as_in_process(elsewhere: Build) -> None:
    from metis_bench.systems.rnnoise import DELAY

    remote = elsewhere(RNNOISE, tasks=["se"], io={"rate": 48_000, "length": "same", "delay_ms": DELAY / 48})
    request = replace(requests("se")[0], source=noisy(48_000))
    cls = systems.get("rnnoise")
    local = cls(cls.params_type()).generate(request).samples
    there = remote.generate(request).samples
    middle = slice(0, len(local) - 2 * DELAY)  # the end is padded before the filter here, and after it there
    assert there.shape == local.shape
    assert np.abs(there[middle] - local[middle]).max() < 2e-3


def test_a_torch_network_runs_with_its_own_generators(elsewhere: Build) -> None:
    system: System = elsewhere(TORCH, tasks=["se"], io={"rate": 16_000, "length": "same"})
    first, second = requests("se")[:2]
    a, b, again = (system.generate(r).samples for r in (first, second, first))
    assert len(a) == len(first.source.samples) != len(b)  # type: ignore[union-attr]
    assert np.array_equal(a, again)
    assert not np.array_equal(a, system.generate(replace(first, seed=5)).samples), "the seed reaches torch"
    seconds, peak = system.measured() or (0, 0)
    assert 0 < seconds < 60 and (peak or 0) > 100, "the competitor's time and memory, not ours"


def test_voicefixer_from_its_package_with_random_weights(
    voicefixer_python: Path, machine_says: Callable[..., None], tmp_path: Path
) -> None:
    """End to end without a network: files of no tensors leave upstream's own random initialisation."""
    import torch

    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save({}, weights / "vf.ckpt")
    torch.save({"generator": {}}, weights / "model.ckpt-1490000_trimed.pt")
    dead = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    machine_says(voicefixer={"python": str(voicefixer_python), "weights": str(weights), "device": "cpu", "vars": dead})
    cls = systems.get("voicefixer")
    system = cls(cls.params_type())
    system.check()
    system.setup()
    try:
        request = replace(requests("se")[0], source=noisy(16_000))
        output, again = system.generate(request), system.generate(request)
    finally:
        system.close()
    assert output.rate == 44_100 and len(output.samples) == 2 * 44_100
    assert np.array_equal(output.samples, again.samples) and output.samples.std() > 0
