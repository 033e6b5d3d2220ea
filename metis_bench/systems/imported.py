"""Outputs that somebody else has made: a folder of audio files, scored like any system."""

from __future__ import annotations

from pathlib import Path

from metis_bench.audio import Audio, load
from metis_bench.corpora.base import ALL_TASKS, Params
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.systems.base import Request, System, systems

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
MAX_NAME_BYTES = 250  # file systems stop at 255, suffix included
MAX_ID_BYTES = 2000  # Linux stops at 4096 for a whole path


class ImportedParams(Params):
    """path: a folder with one `<item id>.wav` (or .flac, .mp3, .ogg) an item; the item a/b is `a/b.wav` in it."""

    path: str


@systems.register("imported")
class Imported(System):
    """Reads `<path>/<item id>.<suffix>`, or `<path>/<subset>/<item id>.<suffix>` where the corpus has subsets.

    Ids are unique only within a subset, so a file beside the subsets' folders is nobody's. The folder's content is
    part of the fingerprint, its name is not.
    """

    kind = "imported"
    tasks = ALL_TASKS
    needs = frozenset()
    file_params = ("path",)
    timed = False  # reading a file says nothing about how long making it took
    params_type = ImportedParams
    params: ImportedParams

    def check(self) -> None:
        """Raise MissingPrerequisite when the folder is missing or is a file."""
        super().check()
        if not Path(self.params.path).is_dir():
            raise MissingPrerequisite(
                f"path is a file, not a folder of outputs: {self.params.path}", fix="give the folder that holds it"
            )

    def generate(self, request: Request) -> Audio:
        """The file of this item, mono at its own rate. Raises ItemError when there is none, or more than one."""
        folder = Path(self.params.path)
        name = file_name(f"{request.subset}/{request.id}" if request.subset else request.id)
        found = [path for path in (folder / f"{name}{suffix}" for suffix in SUFFIXES) if path.is_file()]
        if not found:
            raise ItemError(f"no file for item '{request.id}' in {folder}, expected {name}.wav")
        if len(found) > 1:
            raise ItemError(
                f"{len(found)} files for item '{request.id}' in {folder}: {', '.join(p.name for p in found)}",
                fix="keep one of them",
            )
        return load(found[0])


def file_name(item_id: str) -> str:
    """The id as a path below the folder, without suffix: no two ids share one. ItemError for what would leave it."""
    parts = item_id.replace("\\", "/").split("/")
    leaves = not {"", ".", ".."}.isdisjoint(parts) or Path(item_id).drive  # "" is in: an empty id, /absolute, a//b
    too_long = len(item_id.encode()) > MAX_ID_BYTES or any(len(part.encode()) > MAX_NAME_BYTES for part in parts)
    if leaves or too_long or "\0" in item_id:
        raise ItemError(f"the item id {item_id!r} cannot be a file name")
    return item_id
