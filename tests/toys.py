"""A plug-in of tiny deterministic things, loaded by tests and by their worker processes: no audio package needed.

Corpus `toy`: `count` tones written into the cache, for any task. Systems: `toy-gain` (scales by the number in its
checkpoint file, so that weights are real bytes), `toy-noise` (seeded), `toy-moody` (fails, crashes or hangs on chosen
items), `toy-lips` (reads a number off a video file), `toy-omni` (two tasks, guided by text where asked), `toy-lazy`
(loads what a task needs at its first item, which takes a while).
Metric `toy-level`: RMS. Recogniser `toy-ears`: which tone it is, by its loudness.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, get_args

import numpy as np

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, Task, corpora
from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError
from metis_bench.files import write_atomic
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip, Column, Extractor, Metric, Sample, Score, Undefined, metrics
from metis_bench.systems.base import Kind, Request, System, systems

RATE = 16_000


def tone(i: int, seconds: float = 0.25) -> np.ndarray:
    t = np.arange(int(RATE * seconds)) / RATE
    wave = 0.1 * (i + 1) / 10 * np.sin(2 * np.pi * (200 + 50 * i) * t)
    return (np.round(wave * 32768) / 32768).astype(np.float32)


class ToyCorpusParams(Params):
    count: int = 6
    clusters: int = 3
    broken: tuple[int, ...] = ()
    task: Task = "se"
    texts: bool = True
    videos: str | None = None  # a folder of item<i>.mp4


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
            text = f"tone {i}" if self.params.texts else None
            videos = self.params.videos
            video = None if videos is None else Path(videos) / f"item{i}.mp4"
            source = path if videos is None else None
            task, cluster = self.params.task, f"c{i % self.params.clusters}"
            items.append(Item(f"item{i}", task, text=text, source=source, reference=path, video=video, cluster=cluster))
        provides = {f for f in get_args(Field) if any(getattr(i, f) for i in items)}
        return LoadedCorpus(tuple(items), {"": Subset(frozenset(provides))}, "none (tones)")


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


@systems.register("toy-lips")
class ToyLips(System):
    """A tone as loud as the video file says."""

    kind: ClassVar[Kind] = "neural"
    tasks: ClassVar[frozenset[Task]] = frozenset({"l2s"})
    needs: ClassVar[frozenset[Field]] = frozenset({"video"})

    def generate(self, request: Request) -> Audio:
        assert request.video is not None and request.reference is None
        return Audio(tone(9) * np.float32(request.video.read_text()), RATE)


class OmniParams(Params):
    guided: bool = False


@systems.register("toy-omni")
class ToyOmni(System):
    """Copies the source; guided extraction is as loud as its text is long."""

    kind: ClassVar[Kind] = "neural"
    tasks: ClassVar[frozenset[Task]] = frozenset({"se", "tse"})
    needs: ClassVar[frozenset[Field]] = frozenset({"source", "text"})
    params: OmniParams
    params_type = OmniParams

    def needs_for(self, task: Task) -> frozenset[Field]:
        return self.needs if task == "tse" and self.params.guided else frozenset({"source"})

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        assert (request.text is not None) == (request.task == "tse" and self.params.guided), "only what it declared"
        return Audio(request.source.samples * np.float32(0.1 * len(request.text or "") + 1), RATE)


@systems.register("toy-lazy")
class ToyLazy(System):
    """Copies the source, after a second of loading for a task that it meets first."""

    kind: ClassVar[Kind] = "neural"
    tasks: ClassVar[frozenset[Task]] = frozenset({"se", "tse"})
    needs: ClassVar[frozenset[Field]] = frozenset({"source"})
    uses_gpu = True  # one worker, which meets all tasks

    def setup(self) -> None:
        self.loaded: set[Task] = set()

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        if request.task not in self.loaded:
            time.sleep(1.0)
            self.loaded.add(request.task)
        return request.source


@systems.register("toy-bus")
class ToyBus(_Toy):
    """Copies sources three at a time, half a second a batch."""

    needs: ClassVar[frozenset[Field]] = frozenset({"source"})

    def batch_on(self, gpu: bool) -> int:
        return 3

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        return request.source

    def generate_all(self, requests: Sequence[Request]) -> Iterator[Audio | ItemError]:
        time.sleep(0.5)
        yield from super().generate_all(requests)


@systems.register("toy-timer")
class ToyTimer(_Toy):
    """A tone as long as the reference, of which it knows nothing else."""

    kind = "classical"
    needs = frozenset({"duration"})

    def generate(self, request: Request) -> Audio:
        assert request.duration is not None
        assert request.reference is None and request.source is None
        return Audio(tone(1, request.duration), 16_000)


@systems.register("toy-nosy")
class ToyNosy(_Toy):
    """Wants to see more than its class says."""

    def needs_for(self, task: Task) -> frozenset[Field]:
        return frozenset({"source", "reference"})

    def generate(self, request: Request) -> Audio:
        raise NotImplementedError


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


@recognisers.register("toy-ears")
class ToyEars(Recogniser):
    """Which tone it is, with a capital letter and an exclamation mark."""

    name = "toy-ears"
    languages: ClassVar[frozenset[str]] = frozenset({"en"})

    def signature(self) -> Mapping[str, JSON]:
        return {"recogniser": "toy-ears", "weights": 0.5}

    def extract(self, clip: Clip) -> JSON:
        peak = float(np.abs(clip.audio().samples).max())
        return {"text": f"Tone {round(100 * peak) - 1}!"}


class LevelNetwork(LevelExtractor):
    """The same in batches of four, which it writes down; `mood`: what it does with a clip as loud as `at`."""

    network = True
    batch = 4

    def __init__(self, mood: str, at: float) -> None:
        self.mood, self.at = mood, at

    def signature(self) -> Mapping[str, JSON]:
        return {**super().signature(), "extractor": "rms network"}

    def extract_all(self, clips: Sequence[Clip]) -> list[JSON | ItemError]:
        if "TOY_BATCH_LOG" in os.environ:
            with Path(os.environ["TOY_BATCH_LOG"]).open("a") as stream:
                stream.write(f"{len(clips)} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
        return super().extract_all(clips)

    def extract(self, clip: Clip) -> JSON:
        level = super().extract(clip)
        assert isinstance(level, float)
        if abs(level - self.at) < 1e-3:
            if self.mood == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mood == "raise":
                raise RuntimeError("out of memory")
            if self.mood == "damaged":
                raise MissingPrerequisite("the weights are damaged")
            raise {"undefined": Undefined, "failed": ItemError}[self.mood]("not this one")
        return level


class LevelParams(Params):
    scale: float = 1.0
    crash_below: float = 0.0
    locked: str = ""  # languages that it lacks something for
    lawless: bool = False  # or has no rules for
    name: str = "toy-level"
    network: str = ""  # its mood
    at: float = 0.0


@metrics.register("toy-level")
class ToyLevel(Metric):
    """RMS times scale; silence is undefined."""

    tasks: ClassVar[frozenset[Task]] = frozenset({"tse", "se", "l2s"})
    params: LevelParams
    params_type = LevelParams

    @property
    def needs(self) -> frozenset[Field]:
        return frozenset({"reference"})

    @property
    def columns(self) -> tuple[Column, ...]:
        return (
            Column(self.params.name, "level", "higher", 0.0, headline=True, family="toy"),
            Column(f"{self.params.name}.ratio", "level ratio", "higher", 0.0, aggregate="ratio", ratio=("num", "den")),
        )

    def signature(self) -> Mapping[str, JSON]:
        assert not self._locked, "what is missing has no content"
        return {"metric": "toy-level", **self.params.model_dump(exclude={"locked", "lawless"})}

    def size(self, text: str | None, language: str) -> float | None:
        return 2.0

    def check(self) -> None:
        if self._locked:
            if self.params.lawless:
                raise SuiteError(f"{self.context.language} has no rules")
            raise MissingPrerequisite(f"{self.context.language} needs a key", fix="find it")

    @property
    def _locked(self) -> bool:
        return self.context.language in self.params.locked.split()

    @property
    def extractor(self) -> LevelExtractor:
        return LevelNetwork(self.params.network, self.params.at) if self.params.network else LevelExtractor()

    @property
    def extracts(self) -> tuple[tuple[Extractor, Literal["output"]], ...]:
        return ((self.extractor, "output"),)

    def score(self, sample: Sample) -> dict[str, Score]:
        assert sample.text is None, "it did not declare the text"
        level = sample.feature(self.extractor, sample.output)
        assert isinstance(level, float)
        if level == 0:
            raise Undefined("the output is silent")
        if level < self.params.crash_below:
            os.kill(os.getpid(), signal.SIGKILL)
        value = level * self.params.scale
        if level == 0.5:
            value = float("nan")
        return {
            self.params.name: Score("ok", value, detail={"num": value, "den": 2.0}),
            f"{self.params.name}.ratio": Score("ok", value / 2),
        }


class KeyedParams(Params):
    delay_s: float = 0.0


@systems.register("toy-keyed")
class ToyKeyed(_Toy):
    """Copies the source, on machines that have the key."""

    params: KeyedParams
    params_type = KeyedParams

    def check(self) -> None:
        if "TOY_KEY" not in os.environ:
            raise MissingPrerequisite("there is no key here", fix="export TOY_KEY")

    def generate(self, request: Request) -> Audio:
        assert request.source is not None
        self.check()
        time.sleep(self.params.delay_s)
        return request.source
