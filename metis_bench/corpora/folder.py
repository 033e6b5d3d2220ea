"""Anyone's own data, for any task: a JSONL manifest, or for speech enhancement just a folder of audio files.

Manifest (default `manifest.jsonl` in the folder): one JSON object a line, paths relative to the folder, no `..`:

    {"id": "a1", "text": "What it should say.", "prompt": "voices/ann.wav", "prompt_text": "What Ann says."}

Keys: id (default: the name of its source, video, reference or prompt), text, prompt, prompt_text, source, reference,
video, cluster (default: the id), subset, language, meta (an object). What a task needs in every line: tts text; vc
source and prompt; tse source and prompt; se source; l2s video. A field that only some items of a subset have counts as
provided by the subset: what needs it fails for the others, so that no denominator shrinks. A null is an absent key.
A video named as source, reference or prompt stands for its audio track.

Without a manifest (se only): every audio file, at any depth, is a source, and its id is its path without the suffix.
Folders `noisy/` and `clean/` are paired by file name instead. A `.txt` beside an audio file holds its text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, Task, corpora
from metis_bench.corpora.lists import inside, missing_warning, read_lines, read_text
from metis_bench.corpora.tracks import VIDEO_SUFFIXES, audio_track
from metis_bench.errors import AudioError, CorpusError, MissingPrerequisite, nearest
from metis_bench.hashing import JSON, canonical_json

REQUIRED: Mapping[Task, tuple[Field, ...]] = {
    "tts": ("text",),
    "vc": ("source", "prompt"),
    "tse": ("source", "prompt"),
    "se": ("source",),
    "l2s": ("video",),
}
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus", ".sph"})
_AUDIO = ("source", "reference", "prompt")
_PATHS = ("source", "video", "reference", "prompt")  # in the order in which they name an item
_KEYS = ("id", "text", "prompt_text", *_PATHS, "cluster", "subset", "language", "meta")
_EXAMPLES: Mapping[Field, str] = {
    "text": "What it should say.",
    "source": "in/a1.wav",
    "prompt": "voices/ann.wav",
    "video": "clips/a1.mp4",
}


class FolderParams(Params):
    """What the data is for. `path` (relative to the current folder) wins over the machine's config.

    There, the data is found by the suite's name for it (`corpora: {vctk: /data/vctk}`, or the folder vctk below
    `corpora.root`), or else by the name `folder`.
    """

    task: Task
    path: str | None = None
    manifest: str | None = None
    language: str = "en"


@corpora.register("folder")
class Folder(Corpus):
    """Your own data; there is no official list, so counts are never compared."""

    params_type = FolderParams
    params: FolderParams
    named_by_suite = True
    how_to_get = "your own data: give its folder as  {corpus: folder, task: ..., path: my_data}"

    def load(self) -> LoadedCorpus:
        """The items of the manifest or of the folder. Raises MissingPrerequisite (no folder) and CorpusError."""
        root = Path(self.params.path).expanduser() if self.params.path is not None else self.root
        if root is None or not root.is_dir():
            what = "no folder is given" if root is None else f"no such folder: {root}"
            name = self.name or "folder"
            fix = f"{self.how_to_get}\n       or name it in metis-bench.yaml:  corpora: {{{name}: /path/to/it}}"
            if self.params.manifest is not None:
                fix += f"\n       (a folder with {self.params.manifest} in it, see docs/corpora.md)"
            raise MissingPrerequisite(f"the corpus '{name}' needs your data: {what}", fix=fix)
        manifest = self._manifest(root)
        warnings: list[str] = []
        items = _plain(root, self.params, warnings) if manifest is None else _listed(root, manifest, self.params)
        for field in _PATHS:
            paths = [path for item in items if (path := getattr(item, field))]
            warnings += missing_warning(paths, f"{field} files")
        items = [_with_tracks(item, self.cache, warnings) for item in items]
        return LoadedCorpus(tuple(items), _subsets(items), "your own data: not stated", tuple(warnings))

    def _manifest(self, root: Path) -> Path | None:
        """The manifest's path, or None where the folder is read as it is."""
        given = self.params.manifest
        path = inside(root, root, given or "manifest.jsonl", root, 0, absolute=True)
        if path.is_file():
            return path
        if given is not None:
            there = [p.name for p in sorted(root.glob("*.jsonl"))]
            if not there:
                fix = f"write one line an item, for example:  {self._example()}\n       (see docs/corpora.md)"
                raise MissingPrerequisite(f"the data there has no manifest '{given}' yet", where=root, fix=fix)
            raise CorpusError(f"there is no manifest '{given}'{nearest(given, there)}", where=root)
        if self.params.task != "se":
            unknown = REQUIRED[self.params.task][-1]
            raise CorpusError(
                f"the task '{self.params.task}' needs a manifest: it cannot be told which file is the {unknown}",
                where=path,
                fix=f"write one line an item, for example:  {self._example()}",
            )
        return None

    def _example(self) -> str:
        """A manifest line that has what the task needs."""
        return json.dumps({"id": "a1", **{name: _EXAMPLES[name] for name in REQUIRED[self.params.task]}})


def _with_tracks(item: Item, cache: Path, warnings: list[str]) -> Item:
    """The item with the audio tracks of videos in place of those that stand where audio is wanted.

    What has no readable track stays as it is, and becomes a failed row; the warning says why.
    """
    tracks: dict[str, Path] = {}
    for name in _AUDIO:
        path = getattr(item, name)
        if path is not None and path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            try:
                tracks[name] = audio_track(path, cache)
            except AudioError as error:
                warnings.append(f"item {item.id}: {name}: {error}")
    return replace(item, **tracks) if tracks else item  # type: ignore[arg-type]  # the keys are names of path fields


def _subsets(items: list[Item]) -> dict[str, Subset]:
    """The subsets in order of appearance, each with the fields that at least one of its items has."""
    provided: dict[str, set[Field]] = {}
    for item in items:
        fields = provided.setdefault(item.subset, set())
        fields.update(name for name in get_args(Field) if getattr(item, name) is not None)
    return {name: Subset(frozenset(fields)) for name, fields in provided.items()}


def _listed(root: Path, manifest: Path, params: FolderParams) -> list[Item]:
    """The items of a manifest, in its order."""
    items: dict[tuple[str, str], Item] = {}
    lines: dict[tuple[str, str], int] = {}
    for number, line in read_lines(manifest):
        item = _item(_record(line, manifest, number), root, manifest, number, params)
        key = (item.subset, item.id)
        if key in items:
            raise CorpusError(f"the id '{item.id}' is already on line {lines[key]}", where=manifest, line=number)
        items[key], lines[key] = item, number
    return list(items.values())


def _record(line: str, manifest: Path, number: int) -> dict[str, JSON]:
    """One line's object with valid keys and types; nulls are dropped. Raises CorpusError (file:line)."""

    def unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
        twice = [key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index])]
        if twice:
            raise ValueError(f"the key '{twice[0]}' is given twice")
        return dict(pairs)

    try:
        record = json.loads(line, object_pairs_hook=unique)
        canonical_json(record).encode()  # refuses NaN, infinity and half a surrogate pair
    except (ValueError, RecursionError) as error:
        what = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise CorpusError(f"not valid JSON: {what}", where=manifest, line=number) from None
    if not isinstance(record, dict):
        raise CorpusError(f"a JSON object is expected, not {line[:40]}", where=manifest, line=number)
    for key, value in record.items():
        if key not in _KEYS:
            raise CorpusError(f"unknown key '{key}'{nearest(key, _KEYS)}", where=manifest, line=number)
        wanted = dict if key == "meta" else str
        if value is not None and not isinstance(value, wanted):
            kind = "an object" if key == "meta" else "a string"
            raise CorpusError(f"'{key}' must be {kind}, not {value!r}", where=manifest, line=number)
        if isinstance(value, str) and not value.strip() and key != "subset":
            raise CorpusError(f"'{key}' is empty; leave it out instead", where=manifest, line=number)
    return {key: value for key, value in record.items() if value is not None}


def _item(record: dict[str, JSON], root: Path, manifest: Path, number: int, params: FolderParams) -> Item:
    """The item of one manifest line. Raises CorpusError (file:line)."""
    lacking = [name for name in REQUIRED[params.task] if name not in record]
    if lacking:
        raise CorpusError(f"the task '{params.task}' needs '{lacking[0]}'", where=manifest, line=number)
    files = {
        key: inside(root, root, str(record[key]), manifest, number, absolute=True) for key in _PATHS if key in record
    }
    words = {key: str(value) for key, value in record.items() if key not in _PATHS}
    name = words.get("id") or next((path.stem for path in files.values()), None)
    if name is None:
        raise CorpusError("'id' is needed where there is no audio file to name the item", where=manifest, line=number)
    meta = record.get("meta")
    return Item(
        id=name,
        task=params.task,
        subset=words.get("subset", ""),
        language=words.get("language", params.language),
        text=words.get("text"),
        prompt=files.get("prompt"),
        prompt_text=words.get("prompt_text"),
        source=files.get("source"),
        reference=files.get("reference"),
        video=files.get("video"),
        cluster=words.get("cluster", name),
        meta=meta if isinstance(meta, dict) else {},
    )


def _plain(root: Path, params: FolderParams, warnings: list[str]) -> list[Item]:
    """A folder without a manifest: every audio file a source, or noisy/ and clean/ paired."""
    noisy, clean = root / "noisy", root / "clean"
    paired = noisy.is_dir() and clean.is_dir()
    sources = _audio_files(noisy if paired else root, warnings)
    references = _audio_files(clean, warnings) if paired else {}
    if not sources and not references:
        kinds = " ".join(sorted(AUDIO_SUFFIXES))
        raise CorpusError(f"no audio files ({kinds}) and no manifest.jsonl there", where=root)
    if paired:
        other = [p.name for p in sorted(root.iterdir()) if p not in (noisy, clean) and not p.name.startswith(".")]
        if other:
            warnings.append(f"only noisy/ and clean/ of {root} are read; ignored: {', '.join(other[:5])}")
    return [
        Item(
            id=key,
            task=params.task,
            language=params.language,
            text=_text_beside(sources.get(key), references.get(key)),
            source=sources.get(key, noisy / f"{key}.wav"),
            reference=references.get(key, clean / f"{key}.wav") if paired else None,
            cluster=key,
        )
        for key in sorted(sources.keys() | references.keys())
    ]


def _audio_files(folder: Path, warnings: list[str]) -> dict[str, Path]:
    """Audio files below a folder by relative path without suffix. Raises CorpusError for a.wav beside a.flac."""
    files: dict[str, Path] = {}
    ignored: list[str] = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts) or (path.is_dir() and not path.is_symlink()):
            continue  # a link to a folder is not followed (it may lead back here), so it is told below
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.is_dir():
            ignored += [relative.as_posix()] if path.suffix.lower() != ".txt" else []
            continue
        key = relative.with_suffix("").as_posix()
        if key in files:
            raise CorpusError(f"'{files[key].name}' and '{path.name}' have the same name", where=path.parent)
        files[key] = path
    if ignored:
        warnings.append(f"{len(ignored)} entries of {folder} are not audio files and are ignored, first: {ignored[0]}")
    return files


def _text_beside(*audio: Path | None) -> str | None:
    """The words in the first `.txt` beside one of the audio files, on one line; None where there is none."""
    for path in audio:
        if path is not None and os.access(path.with_suffix(".txt"), os.F_OK):
            return " ".join(read_text(path.with_suffix(".txt")).split()) or None
    return None
