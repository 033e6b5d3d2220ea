"""LibriSpeech for zero-shot TTS, cross-sentence: the prompt is another utterance of the speaker who is asked for.

Layout `LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac` with `<speaker>-<chapter>.trans.txt`.
Two protocols. `f5-pc-1127`: the list of F5-TTS and ZipVoice (`SWivid/F5-TTS:data/`, see F5_LIST), 1127 pairs with the
punctuated text of LibriSpeech-PC. `valle-4-10s`: all utterances of 4 to 10 s (VALL-E, arXiv 2301.02111 §5.1); VALL-E's
prompts were never published, ours are drawn by a seed: of another utterance, the first 3 s (`cut`), whose text nobody
knows, or a whole one of 3 to 6 s (`whole`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metis_bench.audio import Audio, encode_wav, load, probe
from metis_bench.corpora.base import Corpus, Fetch, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.download import Download
from metis_bench.corpora.lists import absent, count_warning, locate, missing_warning, read_lines, visible
from metis_bench.corpora.published import find_list, missing_list
from metis_bench.errors import AudioError, CorpusError
from metis_bench.files import write_atomic
from reference_models.seeds import derive_seed

F5_LIST, F5_COUNT = "librispeech_pc_test_clean_cross_sentence.lst", 1127
TARGET_S, PROMPT_S, WHOLE_S = (4.0, 10.0), 3.0, (3.0, 6.0)
VALLE_COUNT = {
    "test-clean": 1234
}  # both limits excluded (LibriMix: metadata/LibriSpeech/test-clean.csv); 1237 with them
LICENCE = "CC BY 4.0 (LibriSpeech)"
_UTTERANCE = re.compile(r"(\d+)-(\d+)-(\d+)")
Split = Literal["test-clean", "test-other", "dev-clean", "dev-other"]
_SHA256: Mapping[Split, tuple[str, int]] = {  # and bytes; as torchaudio.datasets.LIBRISPEECH checks them
    "test-clean": ("39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 346_663_984),
    "test-other": ("d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 328_757_843),
    "dev-clean": ("76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337_926_286),
    "dev-other": ("12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 314_305_928),
}
ARCHIVES: Mapping[str, Download] = {
    split: Download(
        f"{split}.tar.gz", f"https://www.openslr.org/resources/12/{split}.tar.gz", sha256, size, LICENCE, "tar"
    )
    for split, (sha256, size) in _SHA256.items()
}


class LibriSpeechParams(Params):
    """protocol: see above; split: of valle-4-10s; prompt, seed: of its prompts."""

    protocol: Literal["f5-pc-1127", "valle-4-10s"] = "f5-pc-1127"
    split: Split = "test-clean"
    prompt: Literal["whole", "cut"] = "whole"
    seed: int = 0


@dataclass(frozen=True)
class Tree:
    """A LibriSpeech folder: where utterances and their texts lie."""

    root: Path

    def flac(self, utterance: str, split: str, where: Path | None = None, line: int | None = None) -> Path:
        """The file of `<speaker>-<chapter>-<number>`. Raises CorpusError for what is no such id."""
        found = _UTTERANCE.fullmatch(utterance)
        if found is None:
            raise CorpusError(f"'{utterance}' is no utterance id (speaker-chapter-number)", where=where, line=line)
        return self.root / split / found[1] / found[2] / f"{utterance}.flac"

    def texts(self, split: str) -> Mapping[str, str]:
        """Text by utterance id, of every trans.txt. Raises CorpusError (file:line)."""
        found: dict[str, str] = {}
        for path in sorted((self.root / split).glob("*/*/*.trans.txt")):
            for number, line in read_lines(path):
                utterance, _, text = line.partition(" ")
                if not text or _UTTERANCE.fullmatch(utterance) is None:
                    raise CorpusError("expected: ID TEXT", where=path, line=number)
                if utterance in found:
                    raise CorpusError(f"'{utterance}' stands twice", where=path, line=number)
                found[utterance] = text
        return found

    def utterances(self, split: str) -> Iterator[Path]:
        """All flac files, in the order of their names."""
        for chapter in sorted((self.root / split).glob("*/*")):
            yield from (path for path in visible(chapter) if path.suffix == ".flac")


def librispeech_tree(root: Path | None, split: str) -> Tree:
    """The tree that holds `split`. Raises MissingPrerequisite."""
    url = ARCHIVES[split].url if split in ARCHIVES else f"{split} from https://www.openslr.org/12"
    get = f"metis-bench prepare SUITE downloads it; or get {url} ({LICENCE}) and unpack it"
    return Tree(locate("librispeech", root, (".", "LibriSpeech"), (split,), get))


def missing_tree(root: Path | None, split: str, data: Path) -> list[Fetch]:
    """What is to be downloaded for `librispeech_tree` to find it."""
    if split in ARCHIVES and absent(lambda: librispeech_tree(root, split)):
        return [Fetch(ARCHIVES[split], root or data / "librispeech")]
    return []


@corpora.register("librispeech")
class LibriSpeech(Corpus):
    """Zero-shot TTS; reference = the utterance that is asked for, cluster = its speaker."""

    params_type = LibriSpeechParams
    params: LibriSpeechParams
    default_folder = "librispeech"
    how_to_get = f"metis-bench prepare SUITE downloads it; or unpack {ARCHIVES['test-clean'].url} ({LICENCE})"

    def load(self) -> LoadedCorpus:
        """The items of the protocol. Raises MissingPrerequisite (tree, list) and CorpusError (file:line)."""
        return self._listed() if self.params.protocol == "f5-pc-1127" else self._drawn()

    def downloads(self, data: Path) -> Sequence[Fetch]:
        """The split and the list, as far as they are not here."""
        listed = self.params.protocol == "f5-pc-1127"
        found = missing_tree(self.root, "test-clean" if listed else self.params.split, data)
        return [*found, *(missing_list(F5_LIST, self.root, self.cache.parent) if listed else ())]

    def _listed(self) -> LoadedCorpus:
        split = "test-clean"
        tree = librispeech_tree(self.root, split)
        path = find_list(F5_LIST, self.root, self.cache.parent)
        items = tuple(_f5_items(path, tree, split))
        return self._loaded(items, F5_COUNT, frozenset({"text", "prompt", "prompt_text", "reference"}))

    def _drawn(self) -> LoadedCorpus:
        split = self.params.split
        tree = librispeech_tree(self.root, split)
        texts = tree.texts(split)
        speakers: dict[str, dict[str, float]] = defaultdict(dict)
        silent = 0
        for path in tree.utterances(split):
            if path.stem in texts:
                speakers[path.stem.split("-")[0]][path.stem] = _seconds(path)
            else:
                silent += 1
        chosen = [self._item(tree, texts, own, utterance) for own in speakers.values() for utterance in _targets(own)]
        items = tuple(item for item in chosen if item is not None)
        if not items:
            raise CorpusError(
                f"no utterance of {TARGET_S[0]:g} to {TARGET_S[1]:g} s has another one of its speaker for a prompt",
                where=tree.root / split,
                fix="get the whole split; a single utterance a speaker gives no prompt",
            )
        provides: set[Field] = {"text", "prompt", "reference"}
        if self.params.prompt == "whole":
            provides.add("prompt_text")
        warnings = [f"{silent} utterances have no text"] if silent else []
        alone = len(chosen) - len(items)
        warnings += [f"{alone} utterances are left out: their speaker has no other one for a prompt"] if alone else []
        return self._loaded(items, VALLE_COUNT.get(split), frozenset(provides), warnings)

    def _item(self, tree: Tree, texts: Mapping[str, str], own: Mapping[str, float], target: str) -> Item | None:
        """None: the speaker has no utterance that could be the prompt."""
        low, high = WHOLE_S if self.params.prompt == "whole" else (PROMPT_S, float("inf"))
        able = sorted(u for u, seconds in own.items() if u != target and low <= seconds <= high)
        if not able:
            return None
        prompt = able[derive_seed("librispeech", self.params.seed, target) % len(able)]
        source = tree.flac(prompt, self.params.split)
        whole = self.params.prompt == "whole"
        return Item(
            id=target,
            task="tts",
            text=texts[target],
            prompt=source if whole else self.cache / "prompts-3s" / f"{prompt}.wav",
            prompt_text=texts[prompt] if whole else None,
            reference=tree.flac(target, self.params.split),
            cluster=target.split("-")[0],
            meta={"prompt": prompt, "prompt_file": str(source)} if not whole else {"prompt": prompt},
        )

    def _loaded(
        self, items: tuple[Item, ...], official: int | None, provides: frozenset[Field], more: list[str] | None = None
    ) -> LoadedCorpus:
        warnings = [
            *(more or []),
            *count_warning(self.params.protocol, len(items), official),
            *missing_warning([i.reference for i in items if i.reference], "utterances"),
        ]
        return LoadedCorpus(items, {"": Subset(provides, official)}, LICENCE, tuple(warnings), _cut)


def _f5_items(path: Path, tree: Tree, split: str) -> Iterator[Item]:
    """Lines `ref_utt  ref_seconds  ref_text  gen_utt  gen_seconds  gen_text`, separated by tabs."""
    seen: dict[str, int] = {}
    for number, line in read_lines(path):
        fields = line.split("\t")
        if len(fields) != 6 or not all(field.strip() for field in fields):
            raise CorpusError("expected 6 fields separated by tabs", where=path, line=number)
        prompt, _, prompt_text, target, _, text = fields
        if target in seen:
            raise CorpusError(f"'{target}' is already on line {seen[target]}", where=path, line=number)
        seen[target] = number
        yield Item(
            id=target,
            task="tts",
            text=text,
            prompt=tree.flac(prompt, split, path, number),
            prompt_text=prompt_text,
            reference=tree.flac(target, split, path, number),
            cluster=target.split("-")[0],
            meta={"prompt": prompt},
        )


def _targets(own: Mapping[str, float]) -> list[str]:
    return sorted(u for u, seconds in own.items() if TARGET_S[0] < seconds < TARGET_S[1])


def _seconds(path: Path) -> float:
    """Of a readable file; what cannot be read is no candidate."""
    try:
        return probe(path).seconds
    except AudioError:
        return 0.0


def _cut(item: Item) -> None:
    """Write the 3 s prompt of an item that has one."""
    source = item.meta.get("prompt_file")
    if source is None or item.prompt is None or item.prompt.is_file():
        return
    audio = load(Path(str(source)))
    write_atomic(item.prompt, encode_wav(Audio(audio.samples[: round(PROMPT_S * audio.rate)], audio.rate)))
