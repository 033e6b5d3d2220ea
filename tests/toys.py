"""A plug-in of tiny deterministic things, loaded by tests and by their worker processes: no audio package needed.

Corpus `toy`: `count` tones written into the cache. Systems: `toy-gain` (scales by the number in its checkpoint file, so
that weights are real bytes), `toy-noise` (seeded), `toy-moody` (fails, crashes or hangs on chosen items).
Metric `toy-level`: RMS.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, Task, corpora
from metis_bench.errors import ItemError
from metis_bench.files import write_atomic
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Column, Extractor, Metric, Sample, Score, Undefined, metrics
from metis_bench.systems.base import Kind, Request, System, systems

RATE = 16_000


def tone(i: int, seconds: float = 0.25) -> np.ndarray:
    t = np.arange(int(RATE * seconds)) / RATE
    wave = 0.1 * (i + 1) / 10 * np.sin(2 * np.pi * (200 + 50 * i) * t)
    return (np.round(wave * 32768) / 32768).astype(np.float32)


class ToyCorpusParams(Params):
    count: int = 6
    broken: tuple[int, ...] = ()


@corpora.register("toy")
class ToyCorpus(Corpus):
    """Tones."""

    params: ToyCorpusParams
    params_type = ToyCorpusParams

    def load(self) -> LoadedCorpus:
        self.cache.mkdir(parents=True, exist_ok=True)
        items = []
        for i in range(self.params.count):
            path = self.cache / f"tone{i}.wav"
            if i in self.params.broken:
                path = self.cache / f"broken{i}.wav"
                write_atomic(path, b"RIFF")
            elif not path.exists():  # several runs may start at once
                write_atomic(path, encode_wav(Audio(tone(i), RATE)))
            items.append(Item(f"item{i}", "se", text=f"tone {i}", source=path, reference=path, cluster=f"c{i % 3}"))
        return LoadedCorpus(tuple(items), {"": Subset(frozenset({"text", "source", "reference"}))}, "none (tones)")


class GainParams(Params):
    checkpoint: str


class _Toy(System):
    kind: ClassVar[Kind] = "imported"
    tasks: ClassVar[frozenset[Task]] = frozenset({"se"})
    needs: ClassVar[frozenset[Field]] = frozenset({"source"})


@systems.register("toy-gain")
class ToyGain(_Toy):
    """Scales by the number in its checkpoint."""

    params: GainParams
    params_type = GainParams
    file_params = ("checkpoint",)

    def setup(self) -> None:
        self.gain = float(Path(self.params.checkpoint).read_text())

    def generate(self, request: Request) -> Audio:
        assert request.source is not None and request.reference is None
        return Audio(request.source.samples * np.float32(self.gain), RATE)


class NoiseParams(Params):
    level: float = 0.01
    delay_s: float = 0.0


@systems.register("toy-noise")
class ToyNoise(_Toy):
    """Adds seeded noise."""

    params: NoiseParams
    params_type = NoiseParams
    deterministic = False

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        time.sleep(self.params.delay_s)
        noise = np.random.default_rng(request.seed).standard_normal(len(request.source.samples))
        return Audio(request.source.samples + (self.params.level * noise).astype(np.float32), RATE)


class MoodyParams(Params):
    mood: dict[str, str] = {}


@systems.register("toy-moody")
class ToyMoody(_Toy):
    """Does to each item what its mood says."""

    params: MoodyParams
    params_type = MoodyParams

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        samples = request.source.samples
        match self.params.mood.get(request.id):
            case "raise":
                raise RuntimeError("out of tune")
            case "item-error":
                raise ItemError("cannot do this one")
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(1000)
            case "nan":
                samples = samples * np.float32(np.nan)
            case "empty":
                samples = samples[:0]
            case "nan-score":
                samples = samples * 0 + np.float32(0.5)
            case "stereo":
                samples = np.stack([samples, samples])
            case "silence":
                samples = samples * np.float32(0)
        return Audio(samples, RATE)


class LevelExtractor(Extractor):
    """RMS."""

    def signature(self) -> Mapping[str, JSON]:
        return {"extractor": "rms", "version": 1}

    def extract(self, clip: Clip) -> JSON:
        log = os.environ.get("TOY_FEATURE_LOG")
        if log:
            with Path(log).open("a") as stream:
                stream.write(clip.sha256 + "\n")
        return float(np.sqrt(np.mean(clip.audio().samples.astype(np.float64) ** 2)))


class LevelParams(Params):
    scale: float = 1.0
    crash_below: float = 0.0


@metrics.register("toy-level")
class ToyLevel(Metric):
    """RMS times scale; silence is undefined."""

    tasks: ClassVar[frozenset[Task]] = frozenset({"se"})
    params: LevelParams
    params_type = LevelParams

    @property
    def needs(self) -> frozenset[Field]:
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column("toy-level", "level", "higher", 0.0, headline=True),
            Column("toy-level.ratio", "level ratio", "higher", 0.0, aggregate="ratio", ratio=("num", "den")),
        )

    def signature(self) -> Mapping[str, JSON]:
        return {"metric": "toy-level", "scale": self.params.scale, "crash_below": self.params.crash_below}

    def size(self, text: str | None, language: str) -> float | None:
        return 2.0

    def score(self, sample: Sample) -> dict[str, Score]:
        assert sample.text is None, "it did not declare the text"
        level = sample.feature(LevelExtractor(), sample.output)
        assert isinstance(level, float)
        if level == 0:
            raise Undefined("the output is silent")
        if level < self.params.crash_below:
            os.kill(os.getpid(), signal.SIGKILL)
        value = level * self.params.scale
        if level == 0.5:
            value = float("nan")
        return {
            "toy-level": Score("ok", value, detail={"num": value, "den": 2.0}),
            "toy-level.ratio": Score("ok", value / 2),
        }
