"""`mini`: a small, fully synthetic corpus that is made on the spot, offline, the same everywhere.

Speech is eSpeak NG's (twelve synthetic talkers), sentences come from a closed grammar, rooms, noises and lips from
numpy. It shows that suites, systems and metrics work; scores on it say nothing about human speech. Item i depends on
(version, task, seed, i) only. No talker and no sentence of it occurs in what the mini family is trained on.

tts: the target sentence and, as prompt, another sentence of the same talker, about 3 s (24 kHz).
vc:  the same, with another talker's reading of the target sentence as the source (24 kHz).
tse: another talker's speech over the target sentence, from its first to its last sample, at -5..5 dB; the prompt is the
     enrolment, another sentence of the target talker (16 kHz).
l2s: as tts, and the drawn mouth that says the target sentence: grey mouth regions, 25 a second, as a `.npy` file.
se:  noisy speech, 0..15 dB SNR over the whole file (16 kHz). In `with_reverb` the reference is the reverberant
     clean speech, as in the DNS 2020 synthetic test set: noise is to be removed, the room is not.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, model_validator

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Corpus, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.files import write_atomic
from metis_bench.hashing import JSON, sha256_bytes, sha256_file, sha256_json
from metis_bench.systems.base import require_package
from metis_bench.systems.told import told
from reference_models import _espeak_server, seeds
from reference_models.mini import acoustics, alignment, espeak, grammar, mouth, voices
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import sentence
from reference_models.mini.voices import SPEAKERS, Speaker, say, say_aligned
from reference_models.seeds import derive_seed

VERSION = "2"  # raise it when any sample of the corpus changes
RATE = {"tts": 24_000, "vc": 24_000, "tse": 16_000, "se": 16_000, "l2s": 24_000}  # Hz
SNR_DB = (0, 15)  # of speech over noise
TALKERS_DB = (-5, 5)  # of the target over the other talker
BABBLE = 5  # talkers
T60_S = (0.3, 0.6)
REVERB = ("no_reverb", "with_reverb")
LICENCE = "generated (MIT); synthetic speech by eSpeak NG, no human voice"
MANIFEST = "manifest.json"
MADE_BY = (sys.modules[__name__], grammar, voices, acoustics, alignment, mouth, espeak, _espeak_server, seeds)
FILES = {"prompt": "wav", "source": "wav", "reference": "wav", "video": "npy"}  # role to kind of file
MAX_ITEMS = 10_000  # sentences from here on are nobody's target
Samples: TypeAlias = NDArray[np.int16]
Regions: TypeAlias = NDArray[np.uint8]  # (frames, 96, 96)
Identity: TypeAlias = dict[str, str | int | list[int]]

SUBSETS: dict[str, dict[str, Subset]] = {
    "tts": {"": Subset(frozenset({"text", "prompt", "prompt_text", "reference"}))},
    "vc": {"": Subset(frozenset({"text", "prompt", "prompt_text", "source", "reference"}))},
    "tse": {"": Subset(frozenset({"text", "prompt", "prompt_text", "source", "reference"}))},
    "l2s": {"": Subset(frozenset({"text", "prompt", "prompt_text", "reference", "video"}))},
    "se": {name: Subset(frozenset({"text", "source", "reference"})) for name in REVERB},
}


class MiniParams(Params):
    """task: what the items are for; items: how many; seed: another seed is another corpus of the same kind.

    snr_db: se, tse: from .. to, in whole dB, instead of `SNR_DB` and `TALKERS_DB`
    """

    task: Literal["tts", "vc", "tse", "se", "l2s"] = "tts"
    items: int = Field(12, ge=1, le=MAX_ITEMS)
    seed: int = Field(0, ge=0)
    snr_db: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _mixed(self) -> MiniParams:
        if self.snr_db is not None and (self.task not in ("se", "tse") or self.snr_db[0] > self.snr_db[1]):
            raise ValueError("snr_db is [from, to], and of se and tse only")
        return self


@dataclass(frozen=True)
class Made:
    """One item's sounds (role to 16-bit samples), its mouth, and what is known about how they were made."""

    audio: Mapping[str, Samples]
    meta: Mapping[str, JSON] = field(default_factory=dict)
    video: Regions | None = None


class Entry(BaseModel):
    """What the manifest says of one item: sha256 of each file, and its meta data."""

    files: dict[str, str]
    meta: dict[str, bool | int | float | str]


class Manifest(BaseModel):
    """Written after the files, so a folder without it is not finished."""

    identity: Identity
    items: list[Entry]


@corpora.register("mini")
class Mini(Corpus):
    """The generated corpus (extra `embedded`): made in a second at the first use, verified at every later one."""

    params_type = MiniParams
    params: MiniParams
    default_folder: ClassVar[str | None] = None

    def load(self) -> LoadedCorpus:
        """All items, made or verified. Raises MissingPrerequisite when eSpeak NG is not installed."""
        identity = self._identity()
        folder = self.cache / f"mini-{self.params.task}-{sha256_json(identity)[:12]}"
        entries = self._ensure(folder, identity)
        items = tuple(self._item(folder, index, entry) for index, entry in enumerate(entries))
        return LoadedCorpus(items, SUBSETS[self.params.task], LICENCE)

    def _identity(self) -> Identity:
        """All that decides the bytes: another identity is another folder."""
        made_with = {p: require_package(p, "corpus 'mini'", "embedded") for p in ("espeakng-loader", "soxr")}
        sources = sha256_json([sha256_file(Path(str(module.__file__))) for module in MADE_BY])
        return {
            "version": VERSION,
            **self.params.model_dump(mode="json", exclude_none=True),
            **made_with,
            "sources": sources,
        }

    def _ensure(self, folder: Path, identity: Identity) -> list[Entry]:
        """The entries of a complete, verified folder; whatever is missing or altered is made again."""
        known = _read_manifest(folder / MANIFEST, identity)
        entries: list[Entry] = []
        with told(), EspeakEngine() as engine:  # starts at the first synthesis: never, when all is there
            for index in range(self.params.items):
                if index < len(known) and self._intact(folder, index, known[index]):
                    entries.append(known[index])
                else:
                    entries.append(self._write(folder, index, self._make(engine, index)))
        if entries != known:
            manifest = Manifest(identity=identity, items=entries)
            write_atomic(folder / MANIFEST, json.dumps(manifest.model_dump(), indent=1, sort_keys=True).encode())
        return entries

    def _make(self, engine: EspeakEngine, index: int) -> Made:
        return make(engine, self.params.task, self.params.seed, index, self.params.snr_db)

    def _write(self, folder: Path, index: int, made: Made) -> Entry:
        rate = RATE[self.params.task]
        content = {r: encode_wav(Audio(x.astype(np.float32) / 32768.0, rate)) for r, x in made.audio.items()}
        if made.video is not None:
            content["video"] = _encode_npy(made.video)
        files = {}
        for role, data in content.items():
            name = file_name(self.params.task, index, role)
            write_atomic(folder / name, data)
            files[name] = sha256_bytes(data)
        # sorted, as the manifest is: a made item and one read back must be the same line of a plan, key by key
        return Entry.model_validate({"files": dict(sorted(files.items())), "meta": dict(sorted(made.meta.items()))})

    def _intact(self, folder: Path, index: int, entry: Entry) -> bool:
        """Whether the entry names exactly this item's files, and they have the bytes it says."""
        provides = SUBSETS[self.params.task][_subset(self.params.task, index)].provides
        names = {file_name(self.params.task, index, role) for role in provides - {"text", "prompt_text"}}
        return set(entry.files) == names and all(
            (folder / name).is_file() and sha256_file(folder / name) == sha for name, sha in entry.files.items()
        )

    def _item(self, folder: Path, index: int, entry: Entry) -> Item:
        task, seed = self.params.task, self.params.seed
        paths = {role: folder / n for role in FILES if (n := file_name(task, index, role)) in entry.files}
        return Item(
            id=item_id(task, index),
            task=task,
            subset=_subset(task, index),
            text=sentence(seed, task, "target", index),
            prompt=paths.get("prompt"),
            prompt_text=prompt_text(seed, task, index) if "prompt" in paths else None,
            source=paths.get("source"),
            reference=paths["reference"],
            video=paths.get("video"),
            cluster=SPEAKERS[index % len(SPEAKERS)].name,
            meta=entry.meta,
        )


def item_id(task: str, index: int) -> str:
    """The id of an item."""
    return f"mini-{task}-{index:04d}"


def file_name(task: str, index: int, role: str) -> str:
    """The file of one role (`prompt`, `source`, `reference`, `video`) of an item."""
    return f"{item_id(task, index)}-{role}.{FILES[role]}"


def prompt_text(seed: int, task: str, index: int) -> str:
    """What the prompt of an item says: a sentence that is nobody's target."""
    return sentence(seed, task, "prompt-1", index)


def make(engine: EspeakEngine, task: str, seed: int, index: int, snr_db: tuple[int, int] | None = None) -> Made:
    """The files of one item: depends on (task, seed, index, snr_db) and VERSION, on no other item."""
    if task == "se":
        return _noisy(engine, seed, index, snr_db or SNR_DB)
    if task == "tse":
        return _overlapped(engine, seed, index, snr_db or TALKERS_DB)
    return _cloning(engine, task, seed, index)


def _cloning(engine: EspeakEngine, task: str, seed: int, index: int) -> Made:
    speaker, rate = SPEAKERS[index % len(SPEAKERS)], RATE[task]
    text = sentence(seed, task, "target", index)
    target, phones = say_aligned(engine, speaker, text, rate)
    audio = {
        "prompt": acoustics.pcm16(say(engine, speaker, prompt_text(seed, task, index), rate)),
        "reference": acoustics.pcm16(target),
    }
    if task == "l2s":
        return Made(audio, {"speaker": speaker.name}, mouth.render(phones, len(target) / rate, speaker.name, text))
    if task == "tts":
        return Made(audio, {"speaker": speaker.name})
    other = _other(index)
    audio["source"] = acoustics.pcm16(say(engine, other, text, rate))
    return Made(audio, {"speaker": speaker.name, "source_speaker": other.name})


def _noisy(engine: EspeakEngine, seed: int, index: int, between: tuple[int, int]) -> Made:
    """Noisy speech. The source is the reference plus noise, sample by sample, also after rounding to 16 bits."""
    rng = acoustics.generator(derive_seed("mini-se", seed, index))
    speaker, rate = SPEAKERS[index % len(SPEAKERS)], RATE["se"]
    snr_db, t60_s = int(rng.randint(between[0], between[1] + 1)), round(float(rng.uniform(*T60_S)), 3)
    kind = acoustics.KINDS[index // 2 % len(acoustics.KINDS)]  # both subsets of a pair share the kind
    meta: dict[str, JSON] = {"speaker": speaker.name, "noise": kind, "snr_db": snr_db}
    clean = say(engine, speaker, sentence(seed, "se", "target", index), rate)
    if _subset("se", index) == "with_reverb":
        clean = acoustics.reverberate(clean, acoustics.impulse_response(rate, t60_s, rng))
        meta["t60_s"] = t60_s
    voices = list(_other_voices(engine, seed, index, rate)) if kind == "babble" else []
    return _mixture(clean, acoustics.noise(kind, len(clean), rate, rng, voices), snr_db, {}, meta)


def _overlapped(engine: EspeakEngine, seed: int, index: int, between: tuple[int, int]) -> Made:
    """Two talkers at once. The other one says two sentences that no item asks for, cut to the target's length."""
    rng = acoustics.generator(derive_seed("mini-tse", seed, index))
    speaker, other, rate = SPEAKERS[index % len(SPEAKERS)], _other(index), RATE["tse"]
    snr_db = int(rng.randint(between[0], between[1] + 1))
    target = say(engine, speaker, sentence(seed, "tse", "target", index), rate)
    words = " ".join(sentence(seed, "tse", "target", MAX_ITEMS + 2 * index + i) for i in range(2))
    said = say(engine, other, words, rate)
    start = rng.randint(max(1, len(said) - len(target) + 1))
    enrolment = acoustics.pcm16(say(engine, speaker, prompt_text(seed, "tse", index), rate))
    meta: dict[str, JSON] = {"speaker": speaker.name, "other_speaker": other.name, "snr_db": snr_db}
    return _mixture(target, np.resize(said[start:], len(target)), snr_db, {"prompt": enrolment}, meta)


def _mixture(
    clean: acoustics.F64, other: acoustics.F64, snr_db: int, more: Mapping[str, Samples], meta: Mapping[str, JSON]
) -> Made:
    """`clean` as the reference and its sum with `other`, `snr_db` below it, as the source; `more` files as they are."""
    noise = acoustics.scale_to_snr(clean, other, snr_db)
    gain = min(1.0, *(acoustics.PEAK / float(np.abs(x).max()) for x in (clean, noise, clean + noise)))
    reference, added = acoustics.pcm16(clean * gain), acoustics.pcm16(noise * gain)
    return Made({**more, "reference": reference, "source": reference + added}, {**meta, "gain": round(gain, 6)})


def _other(index: int) -> Speaker:
    """The other talker of an item: never its own, and all others in turn."""
    shift = 1 + index // len(SPEAKERS) % (len(SPEAKERS) - 1)
    return SPEAKERS[(index + shift) % len(SPEAKERS)]


def _other_voices(engine: EspeakEngine, seed: int, index: int, rate: int) -> Iterator[acoustics.F64]:
    """Other talkers than the item's own, saying sentences that are nobody's target."""
    for shift in range(1, 1 + BABBLE):
        role: Literal["prompt-1", "prompt-2"] = "prompt-1" if shift % 2 else "prompt-2"
        yield say(engine, SPEAKERS[(index + shift) % len(SPEAKERS)], sentence(seed, "se", role, index), rate)


def _subset(task: str, index: int) -> str:
    """For se alternating, and the other way round in the next round of talkers: every talker is in both subsets."""
    return "" if task != "se" else REVERB[(index + index // len(SPEAKERS)) % 2]


def _encode_npy(regions: Regions) -> bytes:
    stream = io.BytesIO()
    np.save(stream, regions, allow_pickle=False)
    return stream.getvalue()


def _read_manifest(path: Path, identity: Identity) -> list[Entry]:
    """The entries of an earlier run, or none when there is no readable manifest of this very identity."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return []
    return manifest.items if manifest.identity == identity else []
