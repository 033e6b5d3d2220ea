"""LRS2 and LRS3 for lip-to-speech: talking faces, what they say, and a voice prompt from somewhere else.

LRS2: `mvlrs_v1/main/<programme>/<clip>.{mp4,txt}`, listed in `test.txt` beside `main`. LRS3: all of
`test/<talk>/<clip>.{mp4,txt}`. The text is the line `Text:` of the .txt, without braces (mpc001/auto_avsr:
preparation/preprocess_lrs2lrs3.py). Both need an agreement with their owners; no list of theirs is kept here.

The paper's prompt is a random clip of SeedTTS test-en for every item; which ones is unpublished, ours are drawn by a
seed from the list that lies here. The reference is the sound of the video, or of a wav of its name where the tree is
pre-cropped to mouths; it may be up to a tenth of a second longer than the picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.lists import count_warning, inside, locate, missing_warning, read_lines, read_text
from metis_bench.corpora.seedtts import SeedTts, SeedTtsParams
from metis_bench.corpora.tracks import extract
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.hashing import sha256_json
from reference_models.seeds import derive_seed

OFFICIAL = {"lrs2": 1243, "lrs3": 1321}
OTHER_LRS3 = 1452  # what the corpus' paper (arXiv 1809.00496) counts; published numbers are of the later 1321
VIDEO, SOUND = ".mp4", ".wav"
_TEXT = re.compile(r"Text:\s*(.*)")
_BRACES = re.compile(r"\{[^}]*\}")
LRS2_SPLIT = Literal["test", "val", "train", "pretrain"]
LRS3_SPLIT = Literal["test", "trainval", "pretrain"]


class Lrs2Params(Params):
    """split: which list; prompts: where voices come from, none: no prompt; seed: which ones."""

    split: LRS2_SPLIT = "test"
    prompts: Literal["seedtts", "none"] = "seedtts"
    seed: int = 0


class Lrs3Params(Params):
    """split: which folder; prompts: where voices come from, none: no prompt; seed: which ones."""

    split: LRS3_SPLIT = "test"
    prompts: Literal["seedtts", "none"] = "seedtts"
    seed: int = 0


class _Lrs(Corpus):
    """What both have in common."""

    params: Lrs2Params | Lrs3Params
    licence: str

    def _clips(self) -> Iterator[tuple[str, Path]]:
        """(id, path without suffix) of every clip."""
        raise NotImplementedError

    def load(self) -> LoadedCorpus:
        """All clips. Raises MissingPrerequisite (tree, prompts) and CorpusError (file:line)."""
        prompts = self._prompts()
        items = tuple(self._item(name, path, prompts) for name, path in self._clips())
        provides: set[Field] = {"text", "video", "reference"}
        if prompts:
            provides |= {"prompt", "prompt_text"}
        official = OFFICIAL[self.default_folder or ""] if self.params.split == "test" else None
        warnings = [
            *count_warning(f"{self.default_folder} {self.params.split}", len(items), official),
            *missing_warning([i.video for i in items if i.video], "videos"),
        ]
        if self.default_folder == "lrs3" and len(items) == OTHER_LRS3:
            warnings.append("1452 clips are the test set of the corpus' paper; later papers use the release with 1321")
        silent = sum(i.text is None for i in items)
        warnings += [f"{silent} of {len(items)} clips have no text"] if silent else []
        subsets = {"": Subset(frozenset(provides), official)}
        return LoadedCorpus(items, subsets, self.licence, tuple(warnings), _track)

    def _item(self, name: str, path: Path, prompts: Sequence[Item]) -> Item:
        video = path.with_name(path.name + VIDEO)
        sound = path.with_name(path.name + SOUND)
        key = sha256_json([str(video), *_stamp(video)])
        prompt = prompts[derive_seed("lrs", self.params.seed, name) % len(prompts)] if prompts else None
        return Item(
            id=name.replace("/", "-"),
            task="l2s",
            text=spoken(path.with_name(path.name + ".txt")),
            video=video,
            prompt=None if prompt is None else prompt.prompt,
            prompt_text=None if prompt is None else prompt.prompt_text,
            reference=sound if sound.is_file() else self.cache / "tracks" / f"{key[:16]}.wav",
            cluster=name.split("/")[0],
            meta={} if prompt is None else {"prompt": prompt.id},
        )

    def _prompts(self) -> Sequence[Item]:
        """Every prompt of SeedTTS test-en once, in the order of the list."""
        if self.params.prompts == "none":
            return ()
        root = self.others("seedtts")
        try:
            items = SeedTts(SeedTtsParams(), root, self.cache.parent / "seedtts").load().items
        except MissingPrerequisite as error:
            raise MissingPrerequisite(
                f"the voices of {self.default_folder} are prompts of SeedTTS test-en: {error.message}",
                fix=f"{error.fix}\n       or run without voices:  prompts: none",
            ) from None
        return list({item.prompt: item for item in items}.values())


@corpora.register("lrs2")
class Lrs2(_Lrs):
    """Video and text of BBC programmes; cluster = the programme."""

    params_type = Lrs2Params
    params: Lrs2Params
    default_folder = "lrs2"
    licence = "LRS2: agreement with BBC and Oxford, academic research only"
    how_to_get = (
        "sign the agreement at https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrs2.html (academic research only)\n"
        "       and unpack mvlrs_v1"
    )

    def _clips(self) -> Iterator[tuple[str, Path]]:
        part = "pretrain" if self.params.split == "pretrain" else "main"
        listed = f"{self.params.split}.txt"
        tree = locate("lrs2", self.root, (".", "mvlrs_v1"), (listed,), self.how_to_get)
        seen: dict[str, int] = {}
        for number, line in read_lines(tree / listed):
            name = line.split()[0]
            if name.count("/") != 1 or not all(name.split("/")):
                raise CorpusError(f"'{name}' is not <programme>/<clip>", where=tree / listed, line=number)
            if name in seen:
                raise CorpusError(f"'{name}' is already on line {seen[name]}", where=tree / listed, line=number)
            seen[name] = number
            yield name, inside(tree / part, tree / part, name, tree / listed, number)


@corpora.register("lrs3")
class Lrs3(_Lrs):
    """Video and text of TED talks; cluster = the talk."""

    params_type = Lrs3Params
    params: Lrs3Params
    default_folder = "lrs3"
    licence = "LRS3: agreement with Oxford; TED talks, CC BY-NC-ND 4.0"
    how_to_get = "ask for LRS3-TED at https://www.robots.ox.ac.uk/~vgg/data/lip_reading/lrs3.html and unpack it"

    def _clips(self) -> Iterator[tuple[str, Path]]:
        split = self.params.split
        tree = locate("lrs3", self.root, (".", "lrs3", "LRS3"), (split,), self.how_to_get)
        stems = {path.with_suffix("") for kind in (VIDEO, ".txt") for path in (tree / split).glob(f"*/*{kind}")}
        if not stems:
            raise CorpusError("no clip there", where=tree / split, fix=self.how_to_get)
        for stem in sorted(stems):
            yield f"{stem.parent.name}/{stem.name}", stem


def spoken(path: Path) -> str | None:
    """The `Text:` line of a transcript, without what stands in braces; None without a file. Raises CorpusError."""
    if not path.is_file():
        return None
    found = _TEXT.match(read_text(path))
    if found is None:
        raise CorpusError("it does not begin with 'Text:'", where=path, line=1)
    text = " ".join(_BRACES.sub(" ", found[1]).split())
    return text or None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _track(item: Item) -> None:
    """Write the sound of a video where the item wants it."""
    if item.video is not None and item.reference is not None:
        extract(item.video, item.reference)
