"""`baselines/<name>/system.yaml`: what a competitor is, needs and returns. Data only: reading one executes nothing.

Beside it lies `adapter.py`, which runs in the competitor's own interpreter (`worker.py` says what it gets). Folders of
the user come first: `baseline_folders` in metis-bench.yaml, then ./baselines, then what ships with the package.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from metis_bench.corpora.base import Task
from metis_bench.errors import SuiteError, nearest
from metis_bench.hashing import sha256_bytes, sha256_json
from metis_bench.resources import data_dir
from metis_bench.suite import documents
from metis_bench.suite.schema import NAME
from metis_bench.suite.validate import validate

MANIFEST, ADAPTER = "system.yaml", "adapter.py"
Name: TypeAlias = Annotated[str, Field(pattern=NAME, max_length=80)]
Status: TypeAlias = Literal["runnable", "manual", "published"]
Match: TypeAlias = Literal["same-checkpoint", "other-checkpoint", "different-training", "unknown", "no-checkpoint"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Upstream(_Model):
    """Where it comes from: the repository and the commit that the adapter was written for, or a package.

    package: a distribution with its version ("f5-tts==1.1.20"), where that is all it takes
    clone: whether the adapter needs the checkout itself (`repo` in metis-bench.yaml)
    """

    url: str
    commit: str | None = Field(None, pattern=r"^[0-9a-f]{7,40}$")
    package: str | None = None
    clone: bool = False
    submodules: list[str] = []
    paper: str | None = None


class Licence(_Model):
    """As a file of the repository states it, else "unverified". accept: ids that a user must have acknowledged."""

    code: str
    weights: str
    accept: list[Name] = []


class Environment(_Model):
    """The interpreter it needs. cwd: where the worker runs; pythonpath: relative to the checkout.

    requires: pip requirements of its environment; steps: shell lines for what pip alone cannot do, shown, never run
    """

    python: str = ">=3.8"
    requires: list[str] = []
    steps: list[str] = []
    system: list[str] = []
    cwd: Literal["work", "repo"] = "work"
    pythonpath: list[str] = []
    vars: dict[str, str] = {}

    @field_validator("python")
    @classmethod
    def _specifier(cls, value: str) -> str:
        try:
            SpecifierSet(value)
        except InvalidSpecifier:
            raise ValueError(f"'{value}' is no version range such as '>=3.9,<3.11'") from None
        return value


class WeightFile(_Model):
    """One file, or a folder of a repository. The adapter finds its path in `ctx.weights[id]`.

    hf: repository on the Hugging Face hub, `file` in it (none: the whole repository, or what `files` match)
    url: for what lies elsewhere; manual: what a user does where no program may fetch it (Google Drive)
    dest: the path below the weights' folder of this baseline (default: the file's name, or the id)
    """

    id: Name
    hf: str | None = None
    revision: str | None = None
    file: str | None = None
    files: list[str] = []
    url: str | None = None
    manual: str | None = None
    dest: str | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    megabytes: float | None = Field(None, gt=0)
    optional: bool = False

    @model_validator(mode="after")
    def _one_origin(self) -> WeightFile:
        if sum(origin is not None for origin in (self.hf, self.url, self.manual)) != 1:
            raise ValueError("needs exactly one of hf, url and manual")
        place = Path(self.place)
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"'{self.place}' leaves the folder of the weights")
        return self

    @property
    def place(self) -> str:
        """Below the weights' folder."""
        return self.dest or self.file or self.id


class Output(_Model):
    """What it takes and returns. delay_ms: of a filter, cut by the host; level: what it does to loudness.

    languages: [] for any;  length: `same` as the source (the host pads or cuts what the network's hop leaves over)
    prompt_text: whether a transcript of the prompt is used;  watermark: it marks its output audibly or not
    """

    rate: Annotated[int, Field(ge=4000, le=192_000)] | None = None
    languages: list[str] = []
    prompt_text: bool = False
    max_prompt_s: float | None = Field(None, gt=0)
    length: Literal["free", "same"] = "free"
    delay_ms: float = Field(0, ge=0, le=1000)
    level: Literal["free", "peak", "rms"] = "free"
    watermark: bool = False


class Device(_Model):
    """gpu: required (no CPU path at all), recommended, or none (it has no use for one)."""

    gpu: Literal["required", "recommended", "none"] = "recommended"
    vram_gb: float | None = Field(None, gt=0)


class Limits(_Model):
    """When the host gives up: seconds for loading and for an item, seconds of output, GiB of the whole process tree."""

    load_s: float = Field(600, gt=0)
    item_s: float = Field(300, gt=0)
    output_s: float = Field(300, gt=0)
    memory_gb: float | None = Field(None, gt=0)


class Smoke(_Model):
    """What its output for the doctor's item must be to be plausible speech."""

    min_s: float = Field(0.4, gt=0)
    max_s: float = Field(30, gt=0)


class PaperRow(_Model):
    """A row of the paper that this is, and how far the two can be compared."""

    system: str
    match: Match
    note: str = ""


class Manifest(_Model):
    """A whole system.yaml. presets: options by name; the first is the default.

    determinism: exact (the seed does not matter), seeded, or none (the same seed may give another output)
    batch: items a call of `run_batch` may get; 1: the adapter has `run`
    """

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    title: str
    tasks: list[Task] = Field(min_length=1)
    status: Status
    upstream: Upstream
    licence: Licence
    env: Environment = Environment()
    weights: list[WeightFile] = []
    io: Output = Output()
    device: Device = Device()
    limits: Limits = Limits()
    presets: dict[Name, dict[str, Any]] = Field(default={"recommended": {}}, min_length=1)
    determinism: Literal["exact", "seeded", "none"] = "seeded"
    batch: Annotated[int, Field(ge=1, le=10_000)] = 1
    smoke: Smoke = Smoke()
    paper: list[PaperRow] = []
    notes: list[str] = []

    @model_validator(mode="after")
    def _ids(self) -> Manifest:
        ids = [weight.id for weight in self.weights]
        if len(set(ids)) != len(ids):
            raise ValueError("two weights have the same id")
        return self


@dataclass(frozen=True)
class Baseline:
    """A manifest and where it lies."""

    manifest: Manifest
    folder: Path

    @property
    def adapter(self) -> Path:
        """The file that runs in the competitor's interpreter."""
        return self.folder / ADAPTER

    @functools.cached_property
    def identity(self) -> str:
        """sha256 over what of both files decides an output: not titles, notes or licences."""
        decides = self.manifest.model_dump(mode="json", include={"upstream", "env", "io", "batch"})
        source = self.adapter.read_bytes() if self.adapter.is_file() else b""
        return sha256_json({"manifest": decides, "adapter": sha256_bytes(source)})


def read(folder: Path) -> Baseline:
    """The baseline in a folder. Raises SuiteError with file:line."""
    file = folder / MANIFEST
    document = documents.read(file)
    manifest = validate(Manifest, document)
    if manifest.name != folder.name:
        raise document.error(("name",), f"name '{manifest.name}' must be the folder's, '{folder.name}'")
    if manifest.status == "runnable" and not (folder / ADAPTER).is_file():
        raise SuiteError(f"a runnable baseline needs an {ADAPTER} beside its {MANIFEST}", where=folder)
    return Baseline(manifest, folder)


def folders(own: Sequence[Path] = ()) -> list[Path]:
    """Where baselines lie, those of the user first; each a folder of folders."""
    places = [*own, Path.cwd() / "baselines", data_dir("baselines")]
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))


def find_all(own: Sequence[Path] = ()) -> dict[str, Path]:
    """Folder of every baseline by name; the first of a name wins."""
    found: dict[str, Path] = {}
    for place in folders(own):
        for file in sorted(place.glob(f"*/{MANIFEST}")):
            found.setdefault(file.parent.name, file.parent)
    return dict(sorted(found.items()))


def find(name: str, own: Sequence[Path] = ()) -> Baseline:
    """One baseline. Raises SuiteError with the nearest name."""
    known = find_all(own)
    if name not in known:
        raise SuiteError(f"unknown baseline '{name}'{nearest(name, known)}")
    return read(known[name])
