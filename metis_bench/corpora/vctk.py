"""VCTK 0.92 for voice conversion: sources and prompts drawn by a seed, because the paper's list is unpublished.

Layout `wav48_silence_trimmed/pXXX/pXXX_NNN_mic{1,2}.flac`, `txt/pXXX/pXXX_NNN.txt` (48 kHz). Two pairings: `cross`, the
prompt is another speaker's (conversion proper), and `same`, "another sample from the same speaker" (paper §4.3, to the
letter: the source's own voice). All speakers read one passage, so pairs that say the same words are not drawn. p315 has
no text, p280 and part of p362 have no second microphone (torchaudio.datasets.VCTK_092; lhotse: recipes/vctk.py).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field as Limit

from metis_bench.corpora.base import Corpus, Fetch, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.download import Download
from metis_bench.corpora.lists import absent, locate, read_text, visible
from metis_bench.errors import CorpusError
from reference_models.seeds import derive_seed

AUDIO, TEXT = "wav48_silence_trimmed", "txt"
OFFICIAL_SPEAKERS = {"mic1": 109, "mic2": 108}  # of 110: p315 has no text, p280 no second microphone
LICENCE = "CC BY 4.0 (VCTK 0.92, University of Edinburgh)"
ARCHIVE = Download(  # as torchaudio.datasets.VCTK_092 checks it
    "VCTK-Corpus-0.92.zip",
    "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
    "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
    11_747_302_977,
    LICENCE,
    "zip",
)
_FILE = re.compile(r"((?:p|s)\d+)_(\d+)_(mic[12])\.flac")


class VctkParams(Params):
    """pairing: whose the prompt is; mic: torchaudio and lhotse read mic2; items, seed: of the drawn list."""

    pairing: Literal["cross", "same"] = "cross"
    mic: Literal["mic1", "mic2"] = "mic2"
    items: int = Limit(200, ge=1, le=10_000)
    seed: int = Limit(0, ge=0)


@dataclass(frozen=True)
class Utterance:
    """What a speaker said in one file."""

    name: str  # p225_003
    speaker: str
    path: Path
    text: str


@corpora.register("vctk")
class Vctk(Corpus):
    """Source = what is to be said, prompt = the voice to say it in; no reference. cluster = the prompt's speaker."""

    params_type = VctkParams
    params: VctkParams
    default_folder = "vctk"
    how_to_get = (
        "metis-bench prepare SUITE downloads it (11 GB); or get VCTK-Corpus-0.92.zip (CC BY 4.0) from\n"
        "       https://datashare.ed.ac.uk/handle/10283/3443 and unpack it"
    )

    def load(self) -> LoadedCorpus:
        """The drawn pairs. Raises MissingPrerequisite (tree absent) and CorpusError."""
        tree = self._tree()
        utterances, warnings = read_utterances(tree, self.params.mic)
        items = tuple(self._pairs(utterances, tree))
        if len(items) < self.params.items:
            warnings.append(f"{len(items)} pairs could be drawn, not {self.params.items}")
        speakers = len({u.speaker for u in utterances})
        official = OFFICIAL_SPEAKERS[self.params.mic]
        if speakers != official:
            warnings.append(f"{speakers} of {official} speakers: the drawn pairs are not those of the whole corpus")
        subsets = {"": Subset(frozenset({"text", "source", "prompt", "prompt_text"}), self.params.items)}
        return LoadedCorpus(items, subsets, LICENCE, tuple(warnings))

    def downloads(self, data: Path) -> Sequence[Fetch]:
        """The archive, where there is no tree."""
        if absent(self._tree):
            return [Fetch(ARCHIVE, (self.root or data / "vctk") / "VCTK-Corpus-0.92")]
        return []

    def _tree(self) -> Path:
        return locate("vctk", self.root, (".", "VCTK-Corpus-0.92"), (AUDIO,), self.how_to_get)

    def _pairs(self, utterances: Sequence[Utterance], tree: Path) -> list[Item]:
        """So many sources, each with the first prompt of its own order that fits it."""
        p = self.params
        rng = np.random.RandomState(derive_seed("vctk", p.seed, p.pairing))  # its streams never change
        by_speaker: dict[str, list[Utterance]] = defaultdict(list)
        for utterance in utterances:
            by_speaker[utterance.speaker].append(utterance)
        speakers = sorted(by_speaker)
        items: list[Item] = []
        for i in rng.permutation(len(utterances)):
            source = utterances[i]
            draw = np.random.RandomState(derive_seed("vctk-prompt", p.seed, p.pairing, source.name))
            prompt = _prompt(source, by_speaker, speakers, p.pairing == "same", draw)
            if prompt is not None:
                items.append(_item(source, prompt))
            if len(items) == p.items:
                return items
        if not items:
            raise CorpusError(f"no pair of different words for '{p.pairing}'", where=tree, fix="get the whole corpus")
        return items


def _prompt(
    source: Utterance,
    by_speaker: Mapping[str, Sequence[Utterance]],
    speakers: Sequence[str],
    same: bool,
    draw: np.random.RandomState,
) -> Utterance | None:
    """A speaker first, so that those who read much are not asked more often; then one of their utterances."""
    others = [source.speaker] if same else [s for s in speakers if s != source.speaker]
    for j in draw.permutation(len(others)):
        able = [u for u in by_speaker[others[j]] if u.name != source.name and words(u.text) != words(source.text)]
        if able:
            return able[draw.randint(len(able))]
    return None


def _item(source: Utterance, prompt: Utterance) -> Item:
    return Item(
        id=f"{source.name}-{prompt.name}",
        task="vc",
        text=source.text,
        prompt=prompt.path,
        prompt_text=prompt.text,
        source=source.path,
        cluster=prompt.speaker,
        meta={"source_speaker": source.speaker, "speaker": prompt.speaker},
    )


def words(text: str) -> str:
    """A text by its words alone: what makes two readings of one sentence the same."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def read_utterances(tree: Path, mic: str) -> tuple[list[Utterance], list[str]]:
    """All utterances that have a recording by `mic` and a text, by name; and what is left out, counted."""
    found: list[Utterance] = []
    other_mic, silent, odd = set(), 0, 0
    for folder in sorted(path for path in (tree / AUDIO).iterdir() if path.is_dir()):
        names = set()
        for path in visible(folder):
            match = _FILE.fullmatch(path.name)
            if match is None or match[1] != folder.name:
                odd += path.suffix == ".flac"
                continue
            name = f"{match[1]}_{match[2]}"
            if match[3] != mic:
                other_mic.add(name)
                continue
            names.add(name)
            text = tree / TEXT / folder.name / f"{name}.txt"
            spoken = read_text(text).strip() if text.is_file() else ""
            if spoken:
                found.append(Utterance(name, folder.name, path, spoken))
            else:
                silent += 1
        other_mic -= names
    if not found:
        raise CorpusError(
            f"no utterance has a recording by {mic} and a text", where=tree, fix="choose the other one with mic: ..."
        )
    counted = ((silent, "have no text"), (len(other_mic), f"have no recording by {mic}"), (odd, "are called otherwise"))
    return found, [f"left out: {count} recordings that {what}" for count, what in counted if count]
