"""A competitor in its own environment as a system: every `baselines/<name>/` is one, under its folder's name.

It runs in a process of its own (`metis_bench.baselines.host`), sees inputs as 16-bit wav files and never a reference,
and what it returns is validated here: one failed row for whatever it does wrong.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metis_bench import audio
from metis_bench.audio import F32, Audio
from metis_bench.baselines import machine
from metis_bench.baselines.environment import checkout_state, package_version
from metis_bench.baselines.host import Failed, Host, Launch, Made, Miscounted, Unusable
from metis_bench.baselines.importing import origin
from metis_bench.baselines.manifest import Baseline, Manifest, find_all
from metis_bench.baselines.video import pictures
from metis_bench.baselines.worker import PROTOCOL
from metis_bench.config import cuda_visible
from metis_bench.corpora.base import Need, Params, Task
from metis_bench.errors import ItemError, MetisBenchError, MissingPrerequisite, SuiteError, nearest
from metis_bench.hashing import JSON, kept_sha256, sha256_json
from metis_bench.metrics.alignment import is_silent
from metis_bench.systems._signal import fit
from metis_bench.systems.base import Request, System, systems
from metis_bench.systems.imported import Imported, ImportedParams

NEEDS: dict[Task, frozenset[Need]] = {  # all that a competitor is told of an item; never a reference
    "tts": frozenset({"text", "prompt"}),
    "vc": frozenset({"source", "prompt"}),
    "tse": frozenset({"source", "prompt"}),
    "se": frozenset({"source"}),
    "l2s": frozenset({"video", "prompt"}),
}
SLACK_S = 0.5  # what a network's hop may leave over, or want
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


class BaselineParams(Params):
    """preset: one of the manifest's (default: its first); options: single values in place of the preset's."""

    preset: str | None = None
    options: dict[str, Any] = {}


def options_of(manifest: Manifest, params: BaselineParams) -> dict[str, Any]:
    """The preset's, with the changes. Raises SuiteError for unknown names."""
    name = params.preset or next(iter(manifest.presets))
    if name not in manifest.presets:
        raise SuiteError(f"baseline '{manifest.name}' has no preset '{name}'{nearest(name, manifest.presets)}")
    preset = manifest.presets[name]
    for option in params.options:
        if option not in preset:
            raise SuiteError(f"baseline '{manifest.name}' has no option '{option}'{nearest(option, preset)}")
    return {**preset, **params.options}


class BaselineSystem(System):
    """What all runnable baselines share; `of` makes the class of one."""

    kind = "neural"
    uses_gpu = True
    params_type = BaselineParams
    params: BaselineParams
    baseline: ClassVar[Baseline]

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.manifest = self.baseline.manifest
        self._measured: tuple[float, float | None] | None = None
        self._files = 0

    def needs_for(self, task: Task) -> frozenset[Need]:
        """The task's inputs, with the prompt's transcript where the manifest says it is used."""
        spoken: frozenset[Need] = frozenset({"prompt_text"}) if self.manifest.io.prompt_text else frozenset()
        return NEEDS[task] | (spoken if task == "tts" else frozenset())

    def check(self) -> None:
        """Raise MissingPrerequisite for a licence, interpreter, checkout, weight or GPU that is not there."""
        super().check()
        options_of(self.manifest, self.params)
        machine.require_licences(self.manifest)
        machine.command(self.manifest)
        machine.checkout(self.manifest)
        machine.weight_paths(self.manifest)
        if self.manifest.device.gpu == "required" and self._device() == "cpu":
            raise MissingPrerequisite(f"baseline '{self.manifest.name}' has no CPU path: it needs a GPU")

    def identity(self) -> JSON:
        """Adapter and manifest, options, weights, the checkout's commit and the package's version."""
        repo = machine.checkout(self.manifest)
        weights = machine.weight_paths(self.manifest)
        return {
            "protocol": PROTOCOL,
            "baseline": self.baseline.identity,
            "options": options_of(self.manifest, self.params),
            "weights": {name: content(path) for name, path in sorted(weights.items())},
            "checkout": None if repo is None else checkout_state(repo),
            "vars": machine.here(self.manifest.name).vars,
            "package": package_version(self.manifest),
        }

    def caveat(self) -> str | None:
        """What the manifest says of its likeness to the paper's rows, and of marks in its output."""
        said = unlike(self.manifest)
        marks = ["its output carries an audible or inaudible watermark"] if self.manifest.io.watermark else []
        return "; ".join([*said, *marks]) or None

    def batch_on(self, gpu: bool) -> int:
        """As the manifest says."""
        del gpu
        return self.manifest.batch

    def measured(self) -> tuple[float, float | None] | None:
        """By the worker: without files, pipes, attempts that died and loading again. Memory: since it began."""
        return self._measured

    def setup(self) -> None:
        """Start the worker and load the competitor. Raises MetisBenchError."""
        self.host = Host(self.launch())
        try:
            self.host.start()
        except Unusable as reason:
            self.host.close()
            raise MetisBenchError(f"{self.manifest.name}: {reason}") from None

    def close(self) -> None:
        """End the worker."""
        self.host.close()

    def generate(self, request: Request) -> Audio:
        """One output. Raises ItemError."""
        (output,) = self.generate_all([request])
        if isinstance(output, ItemError):
            raise output
        return output

    def generate_all(self, requests: Sequence[Request]) -> Iterator[Audio | ItemError]:
        """Outputs in order; what the competitor does wrong is an ItemError."""
        speaks = self.manifest.io.languages
        refused: dict[int, ItemError] = {}
        for i, request in enumerate(requests):
            if speaks and request.task in ("tts", "vc") and request.language not in speaks:
                refused[i] = ItemError(f"{self.manifest.name} does not speak '{request.language}'")
        asked = [request for i, request in enumerate(requests) if i not in refused]
        folder = self.host.items
        folder.mkdir(exist_ok=True)
        try:
            outcomes = iter(self._ask(asked, folder))
            for i, request in enumerate(requests):
                yield refused[i] if i in refused else self._checked(request, next(outcomes))
        finally:  # files are never used again under their names: a competitor may remember what it knows by them
            for path in folder.iterdir() if folder.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _ask(self, requests: Sequence[Request], folder: Path) -> list[Made | Failed]:
        """All outcomes, before one of them is looked at: the worker must have come to its end."""
        out: list[Made | Failed] = []
        try:
            for outcome in self.host.make([self._item(request, folder) for request in requests]):
                out.append(outcome)
        except Unusable as reason:
            out += [Failed(str(reason))] * (len(requests) - len(out))
        except Miscounted as reason:
            out = [Failed(str(reason))] * len(requests)
        made = [outcome for outcome in out if isinstance(outcome, Made)]
        peaks = [outcome.peak_mb for outcome in made if outcome.peak_mb is not None]
        self._measured = (sum(outcome.seconds for outcome in made), max(peaks, default=None)) if made else None
        return out

    def _item(self, request: Request, folder: Path) -> dict[str, Any]:
        """The whitelist of what a competitor gets to know."""
        self._files += 1
        stem = folder / f"{self._files:06d}"
        item: dict[str, Any] = {"id": request.id, "task": request.task, "language": request.language}
        for name in self.needs_for(request.task):
            value = getattr(request, name)
            if isinstance(value, Audio):
                path = stem.with_name(f"{stem.name}-{name}.wav")
                path.write_bytes(wav16(value))
                value = path
            elif isinstance(value, Path):
                value = pictures(value, stem.with_name(f"{stem.name}-{name}{value.suffix}"))
            item[name] = str(value) if isinstance(value, Path) else value
        return {**item, "seed": request.seed, "out": str(stem)}

    def _checked(self, request: Request, outcome: Made | Failed) -> Audio | ItemError:
        if isinstance(outcome, Failed):
            return ItemError(outcome.reason)
        try:
            return self._validated(request, outcome.path)
        except ItemError as error:
            return error

    def _validated(self, request: Request, path: Path) -> Audio:
        """Mono, at the promised rate, of a plausible length, not silent; delay and length made good."""
        io, limits = self.manifest.io, self.manifest.limits
        if not path.resolve().is_relative_to(self.host.folder.resolve()):
            raise ItemError(f"it wrote outside of its folder: {path}")
        samples, info = audio.decode(audio.read_bytes(path), path)
        if samples.ndim > 1 and samples.shape[1] > 1:
            raise ItemError(f"it returned {samples.shape[1]} channels; expected mono")
        output = Audio(audio.to_mono(samples), info.rate)
        if io.rate is not None and output.rate != io.rate:
            raise ItemError(f"it returned {output.rate} Hz, and its manifest says {io.rate}")
        if len(output.samples) == 0 or is_silent(output.samples):
            raise ItemError("it returned silence")
        if output.seconds > limits.output_s:
            raise ItemError(f"it returned {output.seconds:.0f} s of audio (limit {limits.output_s:g} s)")
        samples = output.samples[round(io.delay_ms * output.rate / 1000) :]
        if io.length == "same" and request.source is not None:
            samples = self._fitted(samples, output.rate, request.source)
        return Audio(samples, output.rate)

    def _fitted(self, samples: F32, rate: int, source: Audio) -> F32:
        wanted = round(len(source.samples) * rate / source.rate)
        if abs(len(samples) - wanted) > SLACK_S * rate + self.manifest.io.delay_ms * rate / 1000:
            raise ItemError(f"it returned {len(samples) / rate:.2f} s for a source of {source.seconds:.2f} s")
        return fit(samples, wanted)

    def _device(self) -> str:
        said = machine.here(self.manifest.name).device
        if said is not None or self.manifest.device.gpu == "none":
            return said or "cpu"
        return "cuda:0" if cuda_visible() else "cpu"

    def launch(self) -> Launch:
        """All that starts it here."""
        said, env = machine.here(self.manifest.name), self.manifest.env
        repo = machine.checkout(self.manifest)
        limits, device = self.manifest.limits, self._device()
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}  # some take whatever GPU they see
        return Launch(
            command=machine.command(self.manifest),
            adapter=self.baseline.adapter.resolve(),
            options=options_of(self.manifest, self.params),
            device=device,
            repo=repo,
            weights=machine.weight_paths(self.manifest),
            cwd=repo if env.cwd == "repo" else None,
            pythonpath=[] if repo is None else [repo / part for part in env.pythonpath],
            env={**OFFLINE, **hidden, **env.vars, **said.vars},
            limits=limits if said.item_s is None else limits.model_copy(update={"item_s": said.item_s}),
        )


UNLIKE = ("other-checkpoint", "different-training")  # a `match` that must be said beside every table


def wav16(sound: Audio) -> bytes:
    """A wav file of 16 bits: what came from 16 bits is what it was. Not every competitor reads floats."""
    steps = np.clip(np.round(sound.samples * 32768.0), -32768, 32767)
    return audio.encode_wav(Audio((steps / 32768.0).astype(np.float32), sound.rate))


def unlike(manifest: Manifest) -> list[str]:
    """The paper's rows that it is not."""
    return [f"not the paper's {row.system}: {row.note}" for row in manifest.paper if row.match in UNLIKE]


def content(path: Path) -> JSON:
    """sha256 of a weight file, or of every file of a folder by its name."""
    if not path.is_dir():
        return kept_sha256(path)
    hidden = (".git", ".cache")
    files = sorted(p for p in path.rglob("*") if p.is_file() and not set(p.relative_to(path).parts) & set(hidden))
    return sha256_json({p.relative_to(path).as_posix(): kept_sha256(p) for p in files})


class ManualParams(ImportedParams):
    """path: a folder of outputs instead of those that were imported."""

    path: str = ""


class ManualBaseline(Imported):
    """A baseline whose outputs a user brings (`metis-bench baselines import NAME DIR`)."""

    params_type = ManualParams
    baseline: ClassVar[Baseline]

    def __init__(self, params: Params) -> None:
        assert isinstance(params, ManualParams)
        own = ManualParams(path=params.path or str(machine.outputs_folder(self.baseline.manifest.name)))
        super().__init__(own)

    def check(self) -> None:
        """Raise MissingPrerequisite when no outputs were imported."""
        name = self.baseline.manifest.name
        if not Path(self.params.path).is_dir():
            raise MissingPrerequisite(
                f"baseline '{name}' cannot be run from here: its outputs have to be brought",
                fix=f"metis-bench baselines import {name} DIR   (metis-bench baselines show {name} says how)",
            )

    def caveat(self) -> str:
        """Where the outputs come from, and what the manifest says of their likeness to the paper's rows."""
        return "; ".join([origin(Path(self.params.path)), *unlike(self.baseline.manifest)])


def of(name: str) -> type[System]:
    """The class of one baseline. Raises SuiteError for one of which there are only published numbers."""
    return class_of(machine.known(name))


def class_of(baseline: Baseline) -> type[System]:
    """As `of`, of one that lies anywhere."""
    manifest = baseline.manifest
    facts: dict[str, Any] = {"baseline": baseline, "tasks": frozenset(manifest.tasks), "__doc__": manifest.title}
    facts["__module__"] = __name__
    if manifest.status == "published":
        raise SuiteError(f"of '{manifest.name}' there are only published numbers", fix="published: metis-paper")
    if manifest.status == "manual":
        return type("ManualBaseline", (ManualBaseline,), facts)
    needs = frozenset().union(*(NEEDS[task] for task in manifest.tasks))
    facts["needs"] = needs | ({"prompt_text"} if manifest.io.prompt_text else set())
    facts |= {"deterministic": manifest.determinism == "exact", "uses_gpu": manifest.device.gpu != "none"}
    return type("BaselineSystem", (BaselineSystem,), facts)


def names() -> Iterable[str]:
    """Every baseline that can be a system."""
    return [name for name, folder in find_all(machine.own_folders()).items() if not only_published(folder)]


def only_published(folder: Path) -> bool:
    """Told from the text: a list of all names must not read every manifest."""
    lines = (folder / "system.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.split("#")[0].split() == ["status:", "published"] for line in lines)


systems.also(names, of)
