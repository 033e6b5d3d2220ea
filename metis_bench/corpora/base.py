"""What a corpus is to every later stage: a list of `Item`s in named subsets, with counts and a list hash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict

from metis_bench.corpora.download import Download
from metis_bench.hashing import JSON
from metis_bench.registry import Registry

Task: TypeAlias = Literal["tts", "vc", "tse", "se", "l2s"]
Field: TypeAlias = Literal["text", "prompt", "prompt_text", "source", "reference", "video"]
Need: TypeAlias = Literal[Field, "duration"]  # of the reference, in seconds: all that ranked systems may know of it
ALL_TASKS: frozenset[Task] = frozenset(get_args(Task))


@dataclass(frozen=True, slots=True)
class Item:
    """One trial. Audio and video fields are files; nothing is decoded here.

    text:      what the output should say (the WER reference)
    prompt:    voice prompt or enrolment;  prompt_text: what it says
    source:    the input to transform (noisy speech, mixture, source speech)
    reference: the ground truth the output is compared with
    video:     the talking face of lip-to-speech; only a system ever decodes it
    cluster:   unit of resampling for confidence intervals (speaker, prompt id, file id)
    """

    id: str
    task: Task
    subset: str = ""
    language: str = "en"
    text: str | None = None
    prompt: Path | None = None
    prompt_text: str | None = None
    source: Path | None = None
    reference: Path | None = None
    video: Path | None = None
    cluster: str = ""
    meta: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class Subset:
    """One test set of a corpus: what its items provide, and how many the official release has.

    An item that lacks a provided field is a failed row, never a smaller denominator. A field the subset does not
    provide at all (real recordings have no reference) makes a metric or an oracle 'not applicable'.
    """

    provides: frozenset[Field]
    official_count: int | None = None


def _found(item: Item) -> None:
    """For a corpus whose files are all there."""
    del item


@dataclass(frozen=True)
class LoadedCorpus:
    """Items in a stable order. `warnings` are shown beside every table made from it.

    make: writes the files of an item that are made and not found (mixtures, cuts), where they are not there yet; called
    for the items of a plan alone. It raises AudioError where it cannot: a failed row.
    """

    items: tuple[Item, ...]
    subsets: Mapping[str, Subset]
    licence: str
    warnings: tuple[str, ...] = ()
    make: Callable[[Item], None] = _found


class Params(BaseModel):
    """Base of every corpus', system's and metric's parameters: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _none(_name: str) -> None:
    """No other corpus is known."""


@dataclass(frozen=True)
class Fetch:
    """A file to be downloaded, and the folder that it (or what is in it) goes into."""

    file: Download
    folder: Path


class Corpus(ABC):
    """A way to read one corpus. Register with `@corpora.register("name")`."""

    params_type: ClassVar[type[Params]] = Params
    default_folder: ClassVar[str | None] = None  # sub-folder looked for under a common data root; None: needs no root
    how_to_get: ClassVar[str] = ""  # what to get, under which licence, from whom: shown when the root is missing
    named_by_suite: ClassVar[bool] = False  # its root is found by the suite's name for it, not by the reader's

    def __init__(
        self,
        params: Params,
        root: Path | None,
        cache: Path,
        name: str = "",
        others: Callable[[str], Path | None] = _none,
    ) -> None:
        """`root`: where the corpus lies here, if known; `cache`: where it may write; `name`: the suite's for it.

        others: where another corpus lies here, by its name, if known
        """
        self.params = params
        self.root = root
        self.cache = cache
        self.name = name
        self.others = others

    @abstractmethod
    def load(self) -> LoadedCorpus:
        """All items. Raises CorpusError (file:line) for a wrong list, MissingPrerequisite for an absent tree."""

    def downloads(self, data: Path) -> Sequence[Fetch]:
        """What is not here and may be downloaded. data: the folder of downloaded corpora, where `root` finds them."""
        del data
        return ()


corpora: Registry[Corpus] = Registry("corpus", "metis_bench.corpora")
