"""DNS Challenge 2020 test set (speech enhancement): synthetic without and with reverberation, and real recordings.

Layout `datasets/test_set/synthetic/{no_reverb,with_reverb}/{noisy,clean}` and `datasets/test_set/real_recordings`;
noisy and clean are paired by the file id that ends their names (haoxiangsnr/FullSubNet:
recipes/dns_interspeech_2020/dataset_validation.py). 16 kHz mono, 10 s. In `with_reverb` the clean reference is taken
to be the reverberant speech, so enhancement there means denoising, not dereverberation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field as PydanticField

from metis_bench.audio import GIT_LFS
from metis_bench.corpora.base import Corpus, Fetch, Field, Item, LoadedCorpus, Params, Subset, corpora
from metis_bench.corpora.download import Download
from metis_bench.corpora.lfs import LfsFolder
from metis_bench.corpora.lists import count_warning, locate, missing_warning, visible
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.hashing import JSON

SubsetName = Literal["no_reverb", "with_reverb", "real"]
OFFICIAL: Mapping[str, int] = {"no_reverb": 150, "with_reverb": 150, "real": 300}
FOLDERS = ("datasets/test_set", "test_set", ".")
TEST_SET = Download(
    "DNS 2020 test set",
    "https://github.com/microsoft/DNS-Challenge",
    "",
    290_000_000,
    "CC BY 4.0 (Microsoft)",
    lfs=LfsFolder("microsoft/DNS-Challenge", "interspeech2020/master", "datasets/test_set"),
)
_FILE_ID = re.compile(r"fileid_(\d+)\.wav$", re.IGNORECASE)
_MIXED = re.compile(r"^clnsp\d+_(?P<noise>.+)_snr(?P<snr>-?\d+)_tl(?P<tl>-?\d+)_fileid_\d+\.wav$", re.IGNORECASE)


class Dns2020Params(Params):
    """Which of the three sets to use."""

    subsets: Annotated[tuple[SubsetName, ...], PydanticField(min_length=1)] = ("no_reverb", "with_reverb", "real")


@corpora.register("dns2020")
class Dns2020(Corpus):
    """Source = noisy speech, reference = clean speech (none for real recordings), cluster = file id.

    meta: `snr` (dB), `tl` (target level, dBFS) and `noise` (noise file), where the noisy file's name tells them.
    """

    params_type = Dns2020Params
    params: Dns2020Params
    default_folder = "dns2020"
    how_to_get = (
        "metis-bench prepare SUITE downloads it; or\n"
        "       git clone -b interspeech2020/master --single-branch https://github.com/microsoft/DNS-Challenge\n"
        "       cd DNS-Challenge && git lfs install && git lfs pull -I datasets/test_set   (CC BY 4.0, Microsoft)"
    )

    def load(self) -> LoadedCorpus:
        """All items of the chosen sets. Raises MissingPrerequisite (tree, set or audio absent) and CorpusError."""
        tree = locate("dns2020", self.root, FOLDERS, ("synthetic", "real_recordings"), self.how_to_get)
        items: list[Item] = []
        warnings: list[str] = []
        subsets: dict[str, Subset] = {}
        for name in dict.fromkeys(self.params.subsets):
            found = self._real(tree, warnings) if name == "real" else self._synthetic(tree, name, warnings)
            warnings += count_warning(f"subset {name}", len(found), OFFICIAL[name])
            provides: frozenset[Field] = frozenset(("source",) if name == "real" else ("source", "reference"))
            subsets[name] = Subset(provides, OFFICIAL[name])
            items += found
        return LoadedCorpus(tuple(items), subsets, "CC BY 4.0 (Microsoft DNS Challenge 2020)", tuple(warnings))

    def downloads(self, data: Path) -> Sequence[Fetch]:
        """The whole test set, where nothing of it is here."""
        try:
            locate("dns2020", self.root, FOLDERS, ("synthetic", "real_recordings"), self.how_to_get)
        except MissingPrerequisite:
            return [Fetch(TEST_SET, self.root or data / "dns2020")]
        return []

    def _synthetic(self, tree: Path, subset: str, warnings: list[str]) -> list[Item]:
        """One item for every file id that has a noisy or a clean file; the other one may be missing."""
        folder = tree / "synthetic" / subset
        noisy = _by_file_id(self._wavs(folder / "noisy", warnings))
        clean = _by_file_id(self._wavs(folder / "clean", warnings))
        items = [
            Item(
                id=f"fileid_{key}",
                task="se",
                subset=subset,
                source=noisy.get(key, folder / "noisy" / f"fileid_{key}.wav"),
                reference=clean.get(key, folder / "clean" / f"clean_fileid_{key}.wav"),
                cluster=f"fileid_{key}",
                meta=_mix_meta(noisy[key].name) if key in noisy else {},
            )
            for key in sorted(noisy.keys() | clean.keys())
        ]
        warnings += missing_warning([i.source for i in items if i.source], f"noisy files of {subset}")
        warnings += missing_warning([i.reference for i in items if i.reference], f"clean files of {subset}")
        return items

    def _real(self, tree: Path, warnings: list[str]) -> list[Item]:
        """Every recording, named by its file."""
        wavs = self._wavs(tree / "real_recordings", warnings)
        by_stem: dict[str, Path] = {}
        for wav in wavs:
            if wav.stem in by_stem:
                raise CorpusError(f"{by_stem[wav.stem].name} and {wav.name} have the same name", where=wav.parent)
            by_stem[wav.stem] = wav
        warnings += missing_warning(wavs, "files of real")
        return [Item(id=key, task="se", subset="real", source=wav, cluster=key) for key, wav in by_stem.items()]

    def _wavs(self, folder: Path, warnings: list[str]) -> list[Path]:
        """The wav files of a folder. Raises MissingPrerequisite when there is none, or when they are LFS pointers."""
        files = visible(folder) if folder.is_dir() else []
        wavs = [path for path in files if path.suffix.lower() == ".wav"]
        if not wavs:
            fix = f"{self.how_to_get}\n       or choose the sets that are there:  subsets: [...]"
            raise MissingPrerequisite(
                "no wav files there" if folder.is_dir() else "no such folder", where=folder, fix=fix
            )
        pointers = [path for path in wavs if _is_lfs_pointer(path)]
        if pointers:
            raise MissingPrerequisite(
                f"{len(pointers)} of {len(wavs)} files are git-lfs pointers, not audio; first: {pointers[0].name}",
                where=folder,
                fix="in the clone of DNS-Challenge:  git lfs install && git lfs pull -I datasets/test_set",
            )
        if len(files) > len(wavs):
            warnings.append(f"{len(files) - len(wavs)} files in {folder} are not .wav and are ignored")
        return wavs


def _is_lfs_pointer(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > 1024:
        return False
    with path.open("rb") as stream:
        return stream.read(len(GIT_LFS)) == GIT_LFS


def _by_file_id(wavs: list[Path]) -> dict[int, Path]:
    """Files by the number that ends their names. Raises CorpusError where it is absent or used twice."""
    files: dict[int, Path] = {}
    for path in wavs:
        match = _FILE_ID.search(path.name)
        if match is None:
            raise CorpusError(
                f"'{path.name}' does not end in fileid_<number>.wav: it cannot be paired", where=path.parent
            )
        other = files.setdefault(int(match[1]), path)
        if other != path:
            raise CorpusError(f"'{other.name}' and '{path.name}' have the same file id", where=path.parent)
    return files


def _mix_meta(name: str) -> dict[str, JSON]:
    match = _MIXED.match(name)
    return {"snr": int(match["snr"]), "tl": int(match["tl"]), "noise": match["noise"]} if match else {}
