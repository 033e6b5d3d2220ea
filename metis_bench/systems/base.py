"""The System protocol: what generates audio for an item, and what identifies it in the store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from metis_bench.audio import AUDIO_VERSION, Audio
from metis_bench.corpora.base import Need, Params, Task
from metis_bench.errors import ItemError, MissingPrerequisite, missing_extra
from metis_bench.hashing import JSON, sha256_json, sha256_path
from metis_bench.registry import Registry
from metis_bench.sources import source_hash

Kind: TypeAlias = Literal["bound", "oracle", "classical", "reference", "neural", "imported"]
RANKED: frozenset[Kind] = frozenset({"classical", "reference", "neural", "imported"})  # bounds and oracles never rank


@dataclass(frozen=True)
class Request:
    """One item as a system sees it: only the fields it needs for the task; audio is mono at the file's own rate."""

    id: str  # unique within its subset
    task: Task
    language: str
    seed: int
    subset: str = ""
    text: str | None = None
    prompt_text: str | None = None
    prompt: Audio | None = None
    source: Audio | None = None
    reference: Audio | None = None  # only bounds and oracles may need it
    duration: float | None = None  # seconds of the reference: all that a ranked system may know of it
    video: Path | None = None  # a file, of the content the plan hashed; decoding it is the system's affair


class System(ABC):
    """Register with `@systems.register("name")`. One object lives in one worker process.

    kind:          bounds and oracles are shown but never ranked
    needs:         item fields it may read; those of the task make up the generation key with fingerprint and seed
    deterministic: the output does not depend on the seed (planned once, not once a seed)
    packages:      distributions whose version changes the output; missing ones block the system
    extra:         the metis-bench extra that installs them
    file_params:   parameters that are paths: their content, not their name, enters the fingerprint
    place_params:  parameters that only say where files lie: `identity` tells their content instead
    uses_gpu:      one worker a GPU; without one, as `alone` says
    timed:         its time and memory are worth reporting (not those of reading a file that is there already)
    """

    kind: ClassVar[Kind]
    tasks: ClassVar[frozenset[Task]]
    needs: ClassVar[frozenset[Need]]
    deterministic: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = "embedded"
    file_params: ClassVar[tuple[str, ...]] = ()
    place_params: ClassVar[tuple[str, ...]] = ()
    uses_gpu: ClassVar[bool] = False
    timed: ClassVar[bool] = True
    params_type: ClassVar[type[Params]] = Params

    def __init__(self, params: Params) -> None:
        self.params = params

    def needs_for(self, task: Task) -> frozenset[Need]:
        """The fields it reads for `task`, all of them among `needs`: override where task or parameters decide.

        An item set that does not provide them makes the system not applicable; an item without them is a failed row.
        """
        del task
        return self.needs

    def check(self) -> None:
        """Raise MissingPrerequisite when a package or a file is missing. Must be cheap: `plan` calls it."""
        for package in self.packages:
            require_package(package, f"system '{type(self).__name__}'", self.extra)
        for name in self.file_params:
            path = Path(getattr(self.params, name))
            if not path.exists():
                raise MissingPrerequisite(f"{name} not found: {path}", fix=f"put it there, or change '{name}'")

    def identity(self) -> JSON:
        """What else decides its output, such as the sha256 of its checkpoints. Enters the fingerprint."""
        return None

    def sizes(self) -> Mapping[str, int]:
        """What a reader wants to know of its size: `parameters`, and `trained`: those that were fine-tuned."""
        return {}

    def caveat(self) -> str | None:
        """What a reader must know before comparing its numbers; a warning beside every table."""
        return None

    def setup(self) -> None:  # noqa: B027 - optional hook
        """Load weights, start engines; called once in the worker, before the first item, never timed."""

    @abstractmethod
    def generate(self, request: Request) -> Audio:
        """The output for one item. Must depend on `request` only; raise ItemError to fail this item."""

    def alone(self) -> bool:
        """Whether, without a GPU, one worker gets all cores: big weights, held once and multiplied by all of them."""
        return self.uses_gpu

    def batch_on(self, gpu: bool) -> int:
        """How many items `generate_all` is given at a time, by a worker with or without a GPU."""
        del gpu
        return 1

    def generate_all(self, requests: Sequence[Request]) -> Iterator[Audio | ItemError]:
        """The output for each item in order, or why there is none. What stands beside an item must not change it."""
        for request in requests:
            try:
                yield self.generate(request)
            except ItemError as error:
                yield error

    def measured(self) -> tuple[float, float | None] | None:
        """Seconds and peak MiB of the last `generate_all`, where another process did the work; None: this one did."""
        return None

    def close(self) -> None:  # noqa: B027 - optional hook
        """Free what `setup` took."""


systems: Registry[System] = Registry("system", "metis_bench.systems")


def require_package(package: str, what: str, extra: str) -> str:
    """The installed version of `package`, or MissingPrerequisite with the install command."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        raise missing_extra(what, package, extra) from None


def causes(system: System) -> dict[str, JSON]:
    """All that decides a system's output besides the item and the seed (design §2.2).

    Adapter source (its module, its bases and what these import from their own folder), parameters with file contents in
    place of paths, versions of the packages it declares, and the audio decoding version. Not its name, not any path.
    """
    params: dict[str, JSON] = dict(system.params.model_dump(mode="json", exclude=set(system.place_params)))
    for name in system.file_params:
        params[name] = sha256_path(Path(getattr(system.params, name)))
    return {
        "class": type(system).__qualname__,
        "source": source_hash(type(system), System),
        "params": params,
        "packages": {p: require_package(p, type(system).__name__, system.extra) for p in system.packages},
        "audio": AUDIO_VERSION,
        **({} if (identity := system.identity()) is None else {"identity": identity}),
    }


def fingerprint(system: System) -> str:
    """sha256 of its causes."""
    return sha256_json(causes(system))
