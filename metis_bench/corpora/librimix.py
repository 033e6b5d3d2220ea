"""Libri2Mix for target speaker extraction, mixed here from LibriSpeech and LibriMix' metadata: no 472 GB are needed.

The recipe is the official one, sample for sample (JorisCos/LibriMix: scripts/create_librimix_from_metadata.py, 16 kHz):
sources times their gains in float32, cut to the shorter (`min`) or padded with zeros to the longer (`max`), added up,
written as 16-bit PCM. `both` adds WHAM! noise. In `min` mode half of the targets lose their end, so they have no text.

Whom to extract is shown by an enrolment. The paper does not say which; ours is another utterance of the speaker, of at
least 3 s, drawn by a seed from LibriMix' list of LibriSpeech. `speakerbeam` reads the map of BUTSpeechFIT/speakerbeam
(whose licence forbids copying: bring your own), `folder` recordings called after the mixtures, as TSELM's `aux_s1`.
"""

from __future__ import annotations

import csv
import functools
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from metis_bench.corpora.base import Corpus, Fetch, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.librispeech import librispeech_tree, missing_tree
from metis_bench.corpora.lists import count_warning, missing_warning, read_lines, read_text
from metis_bench.corpora.published import find_list, missing_list
from metis_bench.errors import AudioError, CorpusError, MissingPrerequisite
from metis_bench.files import write_atomic
from metis_bench.hashing import sha256_file, sha256_json
from reference_models.seeds import derive_seed

F32 = NDArray[np.float32]
RATE = 16_000  # Hz
SHORTEST_S = 3.0  # of an enrolment
OFFICIAL = {"s1": 3000, "both": 6000}
METADATA, UTTERANCES = "Libri2Mix_libri2mix_test-clean.csv", "LibriSpeech_test-clean.csv"
SPEAKERBEAM_SHA256 = "ed57375b97e2e82f04692251b9a53084f0d6a6e476cca4f4f809437554052ae6"
SPEAKERBEAM = "BUTSpeechFIT/speakerbeam: egs/libri2mix/data/wav8k/min/test/map_mixture2enrollment"
COLUMNS = ("mixture_ID", "source_1_path", "source_1_gain", "source_2_path", "source_2_gain", "noise_path", "noise_gain")
LICENCE = "CC BY 4.0 (LibriSpeech); metadata MIT (LibriMix)"


class LibriMixParams(Params):
    """Which of the many Libri2Mix: see above.

    enrolment_path: the map, or the folder; exclude_self: leave out enrolments that are the target itself (71 of 6000 in
    SpeakerBeam's map), counted; metadata, utterances: other lists in the official format, e.g. of your own mixtures
    """

    mode: Literal["max", "min"] = "max"
    mixture: Literal["clean", "both"] = "clean"
    target: Literal["s1", "both"] = "s1"
    enrolment: Literal["own", "speakerbeam", "folder"] = "own"
    enrolment_path: str | None = None
    exclude_self: bool = True
    seed: int = 0
    metadata: str | None = None
    utterances: str | None = None

    @model_validator(mode="after")
    def _placed(self) -> LibriMixParams:
        if (self.enrolment_path is None) != (self.enrolment == "own"):
            raise ValueError("enrolment_path goes with the enrolments 'speakerbeam' and 'folder'")
        return self


@dataclass(frozen=True)
class Mixture:
    """One line of the metadata. sources: paths below LibriSpeech, and their gains; noise: below wham_noise."""

    name: str
    sources: tuple[tuple[str, float], ...]
    noise: tuple[str, float]

    def utterance(self, number: int) -> str:
        """The id of source `number` (0, 1)."""
        return Path(self.sources[number][0]).stem


@corpora.register("librimix")
class LibriMix(Corpus):
    """Source = the mixture, prompt = the enrolment, reference = the target alone; cluster = the target speaker."""

    params_type = LibriMixParams
    params: LibriMixParams

    def load(self) -> LoadedCorpus:
        """All mixtures; nothing is mixed yet. Raises MissingPrerequisite and CorpusError (file:line)."""
        p = self.params
        mixtures = read_metadata(self._list(p.metadata, METADATA))
        split = Path(mixtures[0].sources[0][0]).parts[0]
        tree = librispeech_tree(self.root or self.others("librispeech"), split)
        noise = self._noise() if p.mixture == "both" else None
        recipe = _Recipe(tree.root, noise, p.mode, self.cache)
        texts = tree.texts(split) if p.mode == "max" else {}
        enrolments = self._enrolments(mixtures, recipe)
        items, himself = [], 0
        for mixture in mixtures:
            for number in range(2 if p.target == "both" else 1):
                enrolment = enrolments[mixture.name, number]
                own = enrolment.utterance == mixture.utterance(number)
                himself += own
                if not (own and p.exclude_self):
                    items.append(_item(mixture, number, enrolment, recipe, texts, p))
        warnings = [f"{himself} enrolments are the target itself" + (", left out" if p.exclude_self else "")]
        official = None if p.metadata else OFFICIAL[p.target]
        warnings = (warnings if himself else []) + count_warning("librimix", len(items), official)
        needed = dict.fromkeys(tree.root / path for m in mixtures for path, _ in m.sources)
        warnings += missing_warning(list(needed), "utterances of LibriSpeech")
        provides: set[Field] = {"source", "prompt", "reference"}
        if texts:
            provides.add("text")
        make = _Maker(recipe, {m.name: m for m in mixtures})
        return LoadedCorpus(tuple(items), {"": Subset(frozenset(provides), official)}, LICENCE, tuple(warnings), make)

    def downloads(self, data: Path) -> Sequence[Fetch]:
        """LibriSpeech's test-clean and LibriMix' lists, as far as they are not here."""
        p, found = self.params, list(missing_tree(self.root or self.others("librispeech"), "test-clean", data))
        if p.metadata is not None:
            return []
        found += missing_list(METADATA, self.root, self.cache.parent)
        if p.enrolment == "own" and p.utterances is None:
            found += missing_list(UTTERANCES, self.root, self.cache.parent)
        return found

    def _list(self, given: str | None, published: str) -> Path:
        return Path(given) if given is not None else find_list(published, self.root, self.cache.parent)

    def _noise(self) -> Path:
        """The folder `wham_noise`."""
        places = [folder for root in (self.root, self.others("wham")) if root for folder in (root / "wham_noise", root)]
        for place in places:
            if any((place / part).is_dir() for part in ("tt", "cv", "tr")):
                return place
        raise MissingPrerequisite(
            "mixtures with noise need WHAM!",
            fix="get wham_noise.zip from http://wham.whisper.ai (CC BY-NC 4.0)\n"
            "       then name its folder in metis-bench.yaml:  corpora: {wham: /path/to/wham_noise}",
        )

    def _enrolments(self, mixtures: Sequence[Mixture], recipe: _Recipe) -> Mapping[tuple[str, int], Enrolment]:
        if self.params.enrolment == "own":
            return drawn(mixtures, self._list(self.params.utterances, UTTERANCES), recipe.librispeech, self.params.seed)
        place = Path(str(self.params.enrolment_path))
        if not place.exists():
            raise MissingPrerequisite(f"{place} does not exist", fix="put the enrolments there, or correct the suite")
        if self.params.enrolment == "folder":
            return {(m.name, number): Enrolment(place / f"{m.name}.wav", None) for m in mixtures for number in range(2)}
        return speakerbeam(mixtures, place, recipe, exact=self.params.metadata is None)


@dataclass(frozen=True)
class Enrolment:
    """A recording of the target speaker. utterance: which, if it is one of LibriSpeech's."""

    path: Path
    utterance: str | None


def _item(
    mixture: Mixture, number: int, enrolment: Enrolment, recipe: _Recipe, texts: Mapping[str, str], p: LibriMixParams
) -> Item:
    target = mixture.utterance(number)
    return Item(
        id=mixture.name if p.target == "s1" else f"{mixture.name}-s{number + 1}",
        task="tse",
        text=texts.get(target),
        prompt=enrolment.path,
        source=recipe.place(mixture, f"mix_{p.mixture}"),
        reference=recipe.place(mixture, f"s{number + 1}"),
        cluster=target.split("-")[0],
        meta={"mixture": mixture.name, "target": target, "enrolment": enrolment.utterance},
    )


class _Recipe:
    """How mixtures are made, and where they are kept: a file is named after all that decides its samples."""

    def __init__(self, librispeech: Path, noise: Path | None, mode: Literal["max", "min"], cache: Path) -> None:
        self.librispeech, self.noise, self.mode, self.cache = librispeech, noise, mode, cache
        self._made_of = functools.cache(self._hashed)  # asked for every part of every mixture

    def place(self, mixture: Mixture, part: str) -> Path:
        """Where `s1`, `s2`, `mix_clean` or `mix_both` of a mixture goes."""
        made_of = self._made_of(mixture, self.noise is not None and part == "mix_both")
        return self.cache / f"wav16k-{self.mode}" / part / f"{mixture.name}-{made_of}.wav"

    def _hashed(self, mixture: Mixture, noisy: bool) -> str:
        sizes = [_size(self.librispeech / path) for path, _ in mixture.sources]
        sizes.append(_size(self.noise / mixture.noise[0]) if self.noise and noisy else 0)
        return sha256_json([mixture.name, mixture.sources, mixture.noise, self.mode, sizes])[:12]

    def make(self, mixture: Mixture, wanted: Sequence[str]) -> None:
        """Write the parts of a mixture that are not there. Raises AudioError."""
        missing = [part for part in wanted if not self.place(mixture, part).is_file()]
        if not missing:
            return
        sources: list[NDArray[np.floating]] = [_read(self.librispeech / path) for path, _ in mixture.sources]
        gains = [gain for _, gain in mixture.sources]
        if "mix_both" in missing:
            assert self.noise is not None
            longest = max(map(len, sources))
            sources.append(extended(_read(self.noise / mixture.noise[0], longest), longest))
            gains.append(mixture.noise[1])
        fitted = fit([source * gain for source, gain in zip(sources, gains, strict=True)], self.mode)
        parts = {"s1": fitted[0], "s2": fitted[1], "mix_clean": added(fitted[:2]), "mix_both": added(fitted)}
        for part in missing:
            write_atomic(self.place(mixture, part), pcm16(parts[part]))


class _Maker:
    """Makes an item's mixture and target, and a SpeakerBeam enrolment, which is a source of another mixture."""

    def __init__(self, recipe: _Recipe, by_name: Mapping[str, Mixture]) -> None:
        self.recipe, self.by_name = recipe, by_name
        self.places = {
            recipe.place(mixture, part): (mixture, part) for mixture in by_name.values() for part in ("s1", "s2")
        }

    def __call__(self, item: Item) -> None:
        """Raises AudioError where a source cannot be read."""
        mixture = self.by_name[str(item.meta["mixture"])]
        wanted = [path.parent.name for path in (item.source, item.reference) if path is not None]
        self.recipe.make(mixture, wanted)
        if item.prompt in self.places:
            other, part = self.places[item.prompt]
            self.recipe.make(other, [part])


def fit(sources: Sequence[NDArray[np.floating]], mode: str) -> list[NDArray[np.floating]]:
    """All cut to the shortest, or padded with zeros to the longest."""
    lengths = [len(source) for source in sources]
    if mode == "min":
        return [source[: min(lengths)] for source in sources]
    return [np.pad(source, (0, max(lengths) - len(source))) for source in sources]


def added(sources: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Their sum, in their order, in the type of the first (float32)."""
    mixture = np.zeros_like(sources[0])
    for source in sources:
        mixture += source
    return mixture


def extended(noise: F32, length: int) -> NDArray[np.floating]:
    """(length,) of noise: repeated with cross-fades of half a second where it is too short."""
    out: NDArray[np.floating] = noise
    window = np.hanning(RATE + 1)
    rising, falling = window[: len(window) // 2 + 1], window[len(window) // 2 :: -1]
    while len(out) < length:
        kept, end = out[: len(out) - len(falling)], out[len(out) - len(falling) :]
        out = np.concatenate((kept, end * falling + noise[: len(rising)] * rising, noise[len(rising) :]))
    return out[:length]


def pcm16(samples: NDArray[np.floating]) -> bytes:
    """A wav file as `soundfile.write` makes it: 16-bit PCM, clipped."""
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def _read(path: Path, stop: int | None = None) -> F32:
    """(T,) float32 at 16 kHz, the first channel. Raises AudioError."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", stop=stop)
    except (OSError, RuntimeError) as error:
        reason = "no such file" if not path.exists() else str(error).splitlines()[0]
        raise AudioError(f"cannot be mixed: {reason}", where=path) from None
    if rate != RATE or not len(samples):
        raise AudioError(f"cannot be mixed: {len(samples)} samples at {rate} Hz, expected 16000 Hz", where=path)
    return np.ascontiguousarray(samples if samples.ndim == 1 else samples[:, 0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def read_metadata(path: Path) -> list[Mixture]:
    """The mixtures of a `libri2mix_*.csv`. Raises CorpusError (file:line)."""
    found: dict[str, Mixture] = {}
    for line, row in _rows(path, COLUMNS):
        name = row["mixture_ID"]
        try:
            gains = [float(row[f"{source}_gain"]) for source in ("source_1", "source_2", "noise")]
        except ValueError:
            raise CorpusError("a gain is no number", where=path, line=line) from None
        if not all(np.isfinite(gains)):
            raise CorpusError("a gain is not finite", where=path, line=line)
        if name in found or not name or set(name) & {"/", "\\", "\0"}:
            raise CorpusError(f"'{name}' stands twice, or cannot name a file", where=path, line=line)
        paths = (row["source_1_path"], row["source_2_path"], row["noise_path"])
        for source in paths:
            if Path(source).is_absolute() or ".." in Path(source).parts:
                raise CorpusError(f"'{source}' leaves its folder", where=path, line=line)
        found[name] = Mixture(name, ((paths[0], gains[0]), (paths[1], gains[1])), (paths[2], gains[2]))
    return list(found.values())


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV file with at least these columns. Raises CorpusError."""
    reader = csv.DictReader(io.StringIO(read_text(path)))
    absent = [column for column in columns if column not in (reader.fieldnames or ())]
    if absent:
        raise CorpusError(f"no column '{absent[0]}'", where=path, line=1, fix=f"columns: {','.join(columns)}")
    empty = True
    for row in reader:
        empty = False
        if None in row or any(row[column] is None for column in columns):
            raise CorpusError("other fields than columns", where=path, line=reader.line_num)
        yield reader.line_num, row
    if empty:
        raise CorpusError("no mixture", where=path)


def drawn(
    mixtures: Sequence[Mixture], utterances: Path, librispeech: Path, seed: int
) -> Mapping[tuple[str, int], Enrolment]:
    """Our enrolments: another utterance of the target speaker, of at least 3 s, by (seed, mixture, target) alone.

    Raises CorpusError for a speaker who has no other one.
    """
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for line, row in _rows(utterances, ("length", "origin_path")):
        if not row["length"].isdigit():
            raise CorpusError("length is no number of samples", where=utterances, line=line)
        if int(row["length"]) >= SHORTEST_S * RATE:
            by_speaker[Path(row["origin_path"]).stem.split("-")[0]].append(row["origin_path"])
    found: dict[tuple[str, int], Enrolment] = {}
    for mixture in mixtures:
        for number in range(2):
            target = mixture.utterance(number)
            able = sorted(path for path in by_speaker[target.split("-")[0]] if Path(path).stem != target)
            if not able:
                raise CorpusError(f"the speaker of {target} has no other utterance of 3 s", where=utterances)
            chosen = able[derive_seed("librimix", seed, mixture.name, number) % len(able)]
            found[mixture.name, number] = Enrolment(librispeech / chosen, Path(chosen).stem)
    return found


def speakerbeam(
    mixtures: Sequence[Mixture], path: Path, recipe: _Recipe, *, exact: bool
) -> Mapping[tuple[str, int], Enrolment]:
    """Lines `mixture target s{1|2}/other-mixture`. Raises CorpusError (file:line).

    exact: it must be the published map.
    """
    if exact and sha256_file(path) != SPEAKERBEAM_SHA256:
        raise CorpusError("it is not SpeakerBeam's map for the test set", where=path, fix=f"get {SPEAKERBEAM}")
    by_name = {mixture.name: mixture for mixture in mixtures}
    found: dict[tuple[str, int], Enrolment] = {}
    for line, text in read_lines(path):
        fields = text.split()
        part, _, other = fields[2].partition("/") if len(fields) == 3 else ("", "", "")
        if len(fields) != 3 or part not in ("s1", "s2"):
            raise CorpusError("expected: mixture target s{1|2}/other-mixture", where=path, line=line)
        if fields[0] not in by_name or other not in by_name:
            raise CorpusError(f"no mixture '{other if fields[0] in by_name else fields[0]}'", where=path, line=line)
        mixture, source = by_name[fields[0]], by_name[other]
        numbers = [number for number in range(2) if mixture.utterance(number) == fields[1]]
        if not numbers:
            raise CorpusError(f"'{fields[1]}' is not in the mixture", where=path, line=line)
        found[mixture.name, numbers[0]] = Enrolment(recipe.place(source, part), source.utterance(int(part[1]) - 1))
    absent = [m.name for m in mixtures for number in range(2) if (m.name, number) not in found]
    if absent:
        raise CorpusError(f"no enrolment for {absent[0]} and {len(absent) - 1} others", where=path)
    return found
