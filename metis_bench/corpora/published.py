"""Lists that others published and we only point to: where they come from, what they must be, where they are kept here.

`metis-bench prepare` downloads them; by hand, put them into the corpus' folder under their own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metis_bench.corpora.base import Fetch
from metis_bench.corpora.download import Download
from metis_bench.corpora.lists import absent
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.hashing import sha256_file

LIBRIMIX = "https://raw.githubusercontent.com/JorisCos/LibriMix/b898ca375c03e4039cdb3dbe3dd485aad58ec7d1/metadata"
F5 = "https://raw.githubusercontent.com/SWivid/F5-TTS/2ae2c9bd9b64dab2cb069c4b97e5e7673c521e01/data"
FOLDER = "lists"  # in the cache of corpora


def _librimix(path: str, sha256: str, size: int) -> Download:
    return Download(path.replace("/", "_"), f"{LIBRIMIX}/{path}", sha256, size, "MIT, LibriMix")


LISTS: dict[str, Download] = {
    entry.name: entry
    for entry in (
        _librimix(
            "Libri2Mix/libri2mix_test-clean.csv",
            "e3d4dc64a03fbbb00ba807a821df2994dbc0c3a9c6fe6a176cfa14949bd8624e",
            646465,
        ),
        _librimix(
            "Libri2Mix/libri2mix_dev-clean.csv",
            "43ad88e65ee8678be73a79920fba1dcf44fa87271ba95a57205707edc0b85f77",
            648265,
        ),
        _librimix(
            "LibriSpeech/test-clean.csv", "b312de12794724d475f7064776087e58935e6556a1124792ad887bb552aa4623", 150260
        ),
        Download(
            "librispeech_pc_test_clean_cross_sentence.lst",
            f"{F5}/librispeech_pc_test_clean_cross_sentence.lst",
            "09811d521effa4eeb1da655f7379de97343b2f5ea86d829ec7ccb8656758a10f",
            222318,
            "MIT, F5-TTS",
        ),
    )
}


def find_list(name: str, root: Path | None, cache: Path, *, exact: bool = True) -> Path:
    """A list in the corpus' folder, else in the cache of lists.

    exact: it must be the published one. Raises MissingPrerequisite with the command that brings it, CorpusError for
    another content.
    """
    known = LISTS[name]
    places = [folder / name for folder in (root, cache / FOLDER) if folder is not None]
    for place in places:
        if place.is_file():
            if exact and sha256_file(place) != known.sha256:
                raise CorpusError(
                    f"it is not the published list (its sha256 is not {str(known.sha256)[:12]}...)",
                    where=place,
                    fix=f"remove it, and get {known.url}",
                )
            return place
    raise MissingPrerequisite(
        f"the list {name} ({known.licence}) is not on this machine; looked in {_told(places)}",
        fix=f"metis-bench prepare SUITE downloads it; or  curl --create-dirs -o '{places[-1]}' {known.url}",
    )


def missing_list(name: str, root: Path | None, cache: Path) -> list[Fetch]:
    """What is to be downloaded for `find_list` to find it."""
    if absent(lambda: find_list(name, root, cache, exact=False)):
        return [Fetch(LISTS[name], cache / FOLDER)]
    return []


def _told(places: Sequence[Path]) -> str:
    return " and ".join(str(place.parent) for place in places)
