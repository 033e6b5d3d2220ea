"""EmiliaMix for target speaker extraction, built from Emilia: the paper's own 1000 mixtures are unpublished.

The rule is that of the paper's training data (§3.4): the first part of an utterance is the prompt, the rest is mixed
with an utterance of another speaker by adding the waveforms, without any gain. Ours where it is silent: the prompt is
the first 3 s, at most 40 %; the other talker starts with the mixture and is cut to it. Which utterances follows from a
seed and from the archives that are read; a manifest of ids alone, beside the mixtures, makes the same set elsewhere.

Emilia: WebDataset archives `EN/EN-B000000.tar` (amphion/Emilia-Dataset), or `raw/EN/EN_B00000.jsonl` and mp3 files.
Nobody wrote down what the rest of an utterance says: the paper's reference is a recogniser's transcript of the clean
rest: `wer: {against: transcript}`. Or give yours as `texts`, JSONL lines {"id": ..., "text": ...}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field as Limit

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Corpus, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.lists import read_lines
from metis_bench.errors import AudioError, CorpusError, MissingPrerequisite
from metis_bench.files import write_atomic
from metis_bench.hashing import sha256_json
from reference_models.errors import MetisError
from reference_models.seeds import derive_seed

if TYPE_CHECKING:
    from reference_models.training.sources import Utterance

LICENCE = "CC BY-NC 4.0 (Emilia; the audio is not its owners')"
PROMPT_S, PROMPT_SHARE = 3.0, 0.4
OFFICIAL = 1000
MANIFEST = "manifest.jsonl"


class EmiliaMixParams(Params):
    """lang, archives: which archives are read, and how many of them, in the order of their names; items, seed: drawn.

    manifest: JSONL lines {"id", "target", "interferer"} instead of drawing; texts: see above
    """

    lang: str = Limit("en", pattern=r"^[a-z]{2}$")
    archives: int = Limit(1, ge=1)
    items: int = Limit(OFFICIAL, ge=1, le=100_000)
    seed: int = Limit(0, ge=0)
    manifest: str | None = None
    texts: str | None = None


@dataclass(frozen=True)
class Pair:
    """Whose rest is mixed with whom."""

    id: str
    target: Utterance
    interferer: Utterance


@corpora.register("emiliamix")
class EmiliaMix(Corpus):
    """Source = the mixture, prompt = the target's beginning, reference = its rest; cluster = the target speaker."""

    params_type = EmiliaMixParams
    params: EmiliaMixParams
    default_folder = "emilia"
    how_to_get = (
        "accept the terms at https://huggingface.co/datasets/amphion/Emilia-Dataset (CC BY-NC 4.0), then\n"
        "       hf download amphion/Emilia-Dataset Emilia/EN/EN-B000000.tar --repo-type dataset --local-dir ."
    )

    def load(self) -> LoadedCorpus:
        """The mixtures; nothing is decoded yet. Raises MissingPrerequisite and CorpusError."""
        p = self.params
        utterances = self._utterances()
        pairs = draw(utterances, p.items, p.seed) if p.manifest is None else listed(Path(p.manifest), utterances)
        folder = self.cache / sha256_json([p.lang, [[x.id, x.target.key, x.interferer.key] for x in pairs]])[:16]
        lines = [{"id": x.id, "target": x.target.key, "interferer": x.interferer.key} for x in pairs]
        write_atomic(folder / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines).encode())
        texts = {} if p.texts is None else read_texts(Path(p.texts))
        items = tuple(_item(pair, folder, texts.get(pair.id), p.lang) for pair in pairs)
        provides: set[Field] = {"source", "prompt", "reference"}
        if texts:
            provides.add("text")
        warnings = [f"drawn from {len(utterances)} utterances; the paper's list is unpublished: not comparable with it"]
        if len(pairs) < p.items and p.manifest is None:
            warnings.append(f"{len(pairs)} mixtures could be drawn, not {p.items}")
        make = partial(_make, {pair.id: pair for pair in pairs})
        return LoadedCorpus(items, {"": Subset(frozenset(provides), None)}, LICENCE, tuple(warnings), make)

    def _utterances(self) -> list[Utterance]:
        """Of the first archives, by key. Raises MissingPrerequisite where there are none."""
        from reference_models.training.sources import open_sources

        lang = self.params.lang.upper()
        places = (f"Emilia/{lang}", f"raw/{lang}", lang, ".")
        tops = [] if self.root is None else [self.root / place for place in places]
        for top in tops:
            tars, lists = sorted(top.glob("*.tar")), sorted(top.glob("*.jsonl"))
            try:
                if tars:
                    return open_sources([f"emilia:{tar}" for tar in tars[: self.params.archives]])
                if lists:
                    return [u for path in lists[: self.params.archives] for u in raw(path)]
            except MetisError as error:
                raise CorpusError(error.message, where=top, fix=error.fix) from None
        looked = "no folder is named" if self.root is None else f"no {lang}-*.tar or {lang}_*.jsonl in {self.root}"
        raise MissingPrerequisite(f"Emilia is not there ({looked})", fix=self.how_to_get)


def raw(path: Path) -> list[Utterance]:
    """OpenDataLab's layout: JSONL lines with `id`, `wav` (relative to the list), `speaker`, `language`."""
    from reference_models.training.sources import Utterance, read_speech

    found = []
    for number, line in read_lines(path):
        record = _object(line, path, number, ("id", "wav", "speaker"))
        audio = path.parent / record["wav"]
        if Path(record["wav"]).is_absolute() or ".." in Path(record["wav"]).parts:
            raise CorpusError(f"'{record['wav']}' leaves its folder", where=path, line=number)
        load = partial(read_speech, audio, str(audio))
        found.append(Utterance(record["id"], load, None, record.get("language"), record["speaker"]))
    return found


def draw(utterances: Sequence[Utterance], items: int, seed: int) -> list[Pair]:
    """So many targets in a seeded order, each with an interferer of another speaker."""
    known = sorted((u for u in utterances if u.speaker is not None), key=lambda u: u.key)
    if len({u.speaker for u in known}) < 2:
        raise CorpusError("there are not two speakers to mix", fix="read more archives:  archives: 2")
    pairs = []
    for i in np.random.RandomState(derive_seed("emiliamix", seed)).permutation(len(known))[:items]:
        target = known[i]
        rng = np.random.RandomState(derive_seed("emiliamix-other", seed, target.key))
        other = known[rng.randint(len(known))]
        while other.speaker == target.speaker:
            other = known[rng.randint(len(known))]
        pairs.append(Pair(target.key, target, other))
    return pairs


def listed(path: Path, utterances: Sequence[Utterance]) -> list[Pair]:
    """The pairs of a manifest. Raises CorpusError (file:line) for ids that are not here."""
    if not path.is_file():
        raise MissingPrerequisite(f"the manifest {path} is not there", fix="put it there, or correct the suite")
    by_key = {u.key: u for u in utterances}
    pairs: dict[str, Pair] = {}
    for number, line in read_lines(path):
        record = _object(line, path, number, ("id", "target", "interferer"))
        for key in (record["target"], record["interferer"]):
            if key not in by_key:
                message = f"'{key}' is not in the archives that are read"
                raise CorpusError(message, where=path, line=number, fix="read more of them:  archives: N")
        if record["id"] in pairs or set(record["id"]) & {"/", "\\", "\0"}:
            raise CorpusError(f"the id '{record['id']}' stands twice, or names no file", where=path, line=number)
        pairs[record["id"]] = Pair(record["id"], by_key[record["target"]], by_key[record["interferer"]])
    return list(pairs.values())


def read_texts(path: Path) -> Mapping[str, str]:
    """Text by id. Raises CorpusError (file:line)."""
    if not path.is_file():
        raise MissingPrerequisite(f"the texts {path} are not there", fix="put them there, or leave out 'texts'")
    records = [_object(line, path, number, ("id", "text")) for number, line in read_lines(path)]
    return {record["id"]: record["text"] for record in records}


def _object(line: str, path: Path, number: int, fields: Sequence[str]) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"not JSON ({error})", where=path, line=number) from None
    for name in fields:
        if not isinstance(record, dict) or not isinstance(record.get(name), str) or not record[name]:
            raise CorpusError(f"no '{name}'", where=path, line=number)
    return dict(record)


def _item(pair: Pair, folder: Path, text: str | None, language: str) -> Item:
    return Item(
        id=pair.id,
        task="tse",
        language=pair.target.language or language,
        text=text,
        prompt=folder / "prompt" / f"{pair.id}.wav",
        source=folder / "mixture" / f"{pair.id}.wav",
        reference=folder / "target" / f"{pair.id}.wav",
        cluster=str(pair.target.speaker),
        meta={"target": pair.target.key, "interferer": pair.interferer.key},
    )


def _make(pairs: Mapping[str, Pair], item: Item) -> None:
    """Write prompt, mixture and target, as floats: a sum beyond full scale stays what it is. Raises AudioError."""
    assert item.prompt is not None and item.source is not None and item.reference is not None
    if all(path.is_file() for path in (item.prompt, item.source, item.reference)):
        return
    pair = pairs[item.id]
    try:
        target, other = pair.target.load(), pair.interferer.load()
    except MetisError as error:
        raise AudioError(error.message) from None
    samples, rate = target.samples, target.rate
    prompt = round(min(PROMPT_S, PROMPT_SHARE * len(samples) / rate) * rate)
    rest = samples[prompt:]
    if len(rest) == 0 or prompt == 0:
        raise AudioError(f"{pair.target.key} is too short to be cut")
    added = Audio(other.samples, other.rate).resampled(rate).samples[: len(rest)]
    mixture = rest.copy()
    mixture[: len(added)] += added
    for path, wave in ((item.prompt, samples[:prompt]), (item.reference, rest), (item.source, mixture)):
        write_atomic(path, encode_wav(Audio(np.ascontiguousarray(wave, dtype=np.float32), rate)))
