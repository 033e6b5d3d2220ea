"""Utterances from where speech lies: folders, JSONL lists, LibriTTS, Emilia. Nothing is decoded until it is asked for.

A file that cannot be used is an utterance whose `load` raises InputError with the reason: it is counted, not lost.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from reference_models.containers import inspect
from reference_models.errors import InputError, nearest
from reference_models.speech import Speech

if TYPE_CHECKING:
    from reference_models.lips import Frames

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus"})  # what libsndfile decodes
LONGEST_KEY = 64  # characters, before a hash and a copy's number: names in tar archives are short
_FIELDS = ("id", "audio", "text", "language", "speaker", "video")
_Reader: TypeAlias = Callable[[Path], Iterator["Utterance"]]


@dataclass(frozen=True)
class Utterance:
    """One recording of one speaker.

    key:   unique in a data set, of letters, digits, `_` and `-`
    load:  decodes it; raises InputError where that fails
    video: the talker's face or mouth at 25 Hz, what `lips.lip_features` reads; raises InputError
    """

    key: str
    load: Callable[[], Speech]
    text: str | None = None
    language: str | None = None
    speaker: str | None = None
    video: Callable[[], Path | Frames] | None = None


def open_sources(specs: Sequence[str], *, language: str | None = None) -> list[Utterance]:
    """The utterances of all `specs`, ordered by key.

    specs: `folder:PATH`, `jsonl:PATH`, `libritts:PATH` or `emilia:PATH` (a tar, or a folder of them)
    language: of the utterances whose source does not tell it

    Errors: InputError for an unknown kind, a path that is not there, no utterance at all, one key twice
    """
    found: dict[str, Utterance] = {}
    for spec in specs:
        there = False
        for utterance in _open(spec):
            there = True
            if utterance.key in found:
                fix = "give each utterance an id of its own, or tokenise the sources into folders of their own"
                raise InputError(f"{spec}: two utterances have the key '{utterance.key}'", fix=fix)
            found[utterance.key] = replace(utterance, language=utterance.language or language)
        if not there:
            raise InputError(f"{spec}: there is no utterance in it", fix="see the layouts in docs/training.md")
    return [found[key] for key in sorted(found)]


def _open(spec: str) -> Iterator[Utterance]:
    kind, colon, rest = spec.partition(":")
    if not colon or kind not in _KINDS:
        hint = nearest(kind, _KINDS) if colon else f" (one of {', '.join(_KINDS)})"
        raise InputError(f"'{spec}' does not say what kind of data it is{hint}", fix="write KIND:PATH")
    path = Path(rest).expanduser()
    if not path.exists():
        raise InputError(f"{spec}: there is no such file or folder")
    if kind != "emilia" and path.is_dir() == (kind == "jsonl"):
        raise InputError(f"{spec}: that is a {'folder' if path.is_dir() else 'file'}")
    return _KINDS[kind](path)


def read_speech(file: Path | bytes, name: str) -> Speech:
    """A file, or its bytes, decoded; channels averaged. Errors: InputError, which says `name`."""
    import soundfile

    try:
        content, frames = inspect(file if isinstance(file, bytes) else file.read_bytes())
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except InputError as error:
        raise InputError(f"{name}: {error.message}") from error
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(f"{name}: cannot be decoded ({error})") from error
    samples = samples[:frames]
    if len(samples) == 0:
        raise InputError(f"{name}: holds no audio")
    try:
        return Speech(samples.mean(1), rate)
    except InputError as error:
        raise InputError(f"{name}: {error.message}") from error


def as_key(name: str) -> str:
    """`name` if it may be a key; else its end, with `-` for what a key may not hold, and a hash that tells it apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-LONGEST_KEY:].strip("-")
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def _folder(root: Path) -> Iterator[Utterance]:
    """Audio files at any depth: the folder that a file is in is its speaker; a `.txt` beside it holds its text."""
    for path in audio_files(root):
        inside = path.relative_to(root)
        speaker = inside.parent.name or None
        text = path.with_suffix(".txt")
        utterance = _of_file(path, as_key(inside.with_suffix("").as_posix()), speaker=speaker)
        yield _with_text(utterance, text) if text.is_file() else utterance


def _libritts(root: Path) -> Iterator[Utterance]:
    """`SPEAKER/CHAPTER/ID.wav` with `ID.normalized.txt` beside it, at any depth: a subset, or all of the corpus."""
    for path in audio_files(root, {".wav"}):
        utterance = _of_file(path, as_key(path.stem), speaker=path.parent.parent.name, language="en")
        yield _with_text(utterance, path.with_suffix(".normalized.txt"))


def _jsonl(path: Path) -> Iterator[Utterance]:
    """One object a line: audio (and video) relative to the list's folder, text, language, speaker, id."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield _of_record(_record(line, _FIELDS), path.parent)
            except InputError as error:
                yield _unusable(as_key(f"{path.stem}-line-{number}"), f"{path}:{number}: {error.message}")


def _of_record(record: Mapping[str, str], root: Path) -> Utterance:
    if "audio" not in record:
        raise InputError("a line needs 'audio'")
    audio = _within(root, record["audio"])
    key = as_key(record.get("id") or PurePosixPath(record["audio"]).with_suffix("").as_posix())
    video = partial(_existing, _within(root, record["video"])) if "video" in record else None
    text, language, speaker = (record.get(name) for name in ("text", "language", "speaker"))
    return replace(_of_file(audio, key, text=text, language=language, speaker=speaker), video=video)


def _emilia(path: Path) -> Iterator[Utterance]:
    """WebDataset tars of pairs `KEY.mp3` and `KEY.json` (the card of amphion/Emilia-Dataset on Hugging Face)."""
    for archive in audio_files(path, {".tar"}) if path.is_dir() else [path]:
        yield from _of_archive(archive)


def _of_archive(archive: Path) -> Iterator[Utterance]:
    """The samples of one tar, whose headers are read now and whose audio is read by its place when it is asked for."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}  # key: {suffix: (offset, bytes)}
    damage = None
    try:
        with tarfile.open(archive, "r:") as members:
            for member in members:
                name, _, suffix = PurePosixPath(member.name).name.partition(".")
                if member.isreg() and not member.issparse():
                    samples.setdefault(name, {})[f".{suffix.lower()}"] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError) as error:
        damage = f"{archive}: damaged after {len(samples)} samples ({error})"
    for name, places in samples.items():
        try:
            yield _of_sample(archive, name, places)
        except InputError as error:
            yield _unusable(as_key(name), f"{archive}: {name}: {error.message}")
    if damage is not None:
        yield _unusable(as_key(f"{archive.stem}-rest"), damage)


def _of_sample(archive: Path, name: str, places: Mapping[str, tuple[int, int]]) -> Utterance:
    audio = next((suffix for suffix in places if suffix in SUFFIXES), None)
    if audio is None or ".json" not in places:
        raise InputError(f"has no {'audio' if audio is None else 'JSON'}")
    record = _record(_bytes_at(archive, *places[".json"]).decode("utf-8", "replace"), ("text", "language", "speaker"))
    language = record.get("language")
    return Utterance(
        as_key(name),
        partial(_speech_at, archive, *places[audio], f"{archive}: {name}"),
        record.get("text"),
        None if language is None else language.lower(),
        record.get("speaker"),
    )


def _record(line: str, fields: Collection[str]) -> dict[str, str]:
    """The `fields` of a JSON object that are there and not null, as texts."""
    try:
        record: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"no JSON ({error.msg})") from error
    if not isinstance(record, dict):
        raise InputError("no JSON object")
    for name in fields:
        if not isinstance(record.get(name), (str, int, type(None))):
            raise InputError(f"'{name}' is neither a text nor a number")
    return {name: str(record[name]) for name in fields if record.get(name) is not None}


def _of_file(
    path: Path, key: str, *, text: str | None = None, language: str | None = None, speaker: str | None = None
) -> Utterance:
    return Utterance(key, lambda: read_speech(_existing(path), str(path)), text, language, speaker)


def _with_text(utterance: Utterance, path: Path) -> Utterance:
    try:
        return replace(utterance, text=path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        return _unusable(utterance.key, f"{path}: cannot be read ({error})")


def _unusable(key: str, reason: str) -> Utterance:
    def load() -> NoReturn:
        raise InputError(reason)

    return Utterance(key, load)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    return path


def _within(root: Path, name: str) -> Path:
    """`name` below `root`. Errors: InputError where it leads elsewhere."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"'{name}' leads out of the folder of the list")
    return root / relative


def audio_files(root: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The files below `root`, at any depth, that end in one of `suffixes`; sorted."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _bytes_at(archive: Path, offset: int, size: int) -> bytes:
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _speech_at(archive: Path, offset: int, size: int, name: str) -> Speech:
    return read_speech(_bytes_at(archive, offset, size), name)


_KINDS: dict[str, _Reader] = {"folder": _folder, "jsonl": _jsonl, "libritts": _libritts, "emilia": _emilia}
