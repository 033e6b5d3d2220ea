"""What the readers of corpora share: finding the tree, reading line-oriented lists, and paths that stay inside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from metis_bench.errors import CorpusError, MissingPrerequisite


def locate(name: str, root: Path | None, folders: Sequence[str], signs: Sequence[str], how_to_get: str) -> Path:
    """The first of `folders` (under `root`, then under root/name) that holds one of the files or folders `signs`.

    Raises MissingPrerequisite that says what was looked for where, what to get and where to put it.
    """
    configure = f"name its folder in metis-bench.yaml:  corpora: {{{name}: /path/to/it}}"
    if root is None:
        raise MissingPrerequisite(f"the corpus '{name}' needs a folder", fix=f"{how_to_get}\n       then {configure}")
    top = root.absolute()
    places = [Path(os.path.normpath(base / folder)) for base in (top, top / name) for folder in folders]
    for place in places:
        if any(os.access(place / sign, os.F_OK) for sign in signs):
            return place
    looked = "".join(f"\n    {place}{'' if os.access(place, os.F_OK) else '  (no such folder)'}" for place in places)
    raise MissingPrerequisite(
        f"the corpus '{name}' is not there: looked for {' or '.join(signs)} in{looked}",
        fix=f"{how_to_get}\n       then put it into {places[0]}, or {configure}",
    )


def absent(look: Callable[[], object]) -> bool:
    """Whether what `look` looks for is missing (MissingPrerequisite)."""
    try:
        look()
    except MissingPrerequisite:
        return True
    return False


def read_text(path: Path) -> str:
    """A UTF-8 text file, without its byte order mark. Raises CorpusError (file:line) when it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"cannot read it ({error.strerror})", where=path) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError("not UTF-8 text", where=path, line=line, fix="save it as UTF-8") from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, line) of a list: UTF-8, with or without BOM, LF or CRLF; blank lines at its end are dropped.

    Raises CorpusError for an empty list or a blank line inside it.
    """
    lines = read_text(path).rstrip().split("\n")  # not splitlines(): U+2028 and the like belong to a text
    if lines == [""]:
        raise CorpusError("the list is empty", where=path)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise CorpusError("blank line inside the list", where=path, line=number)
        yield number, line.rstrip("\r")


def inside(root: Path, folder: Path, name: str, where: Path, line: int, *, absolute: bool = False) -> Path:
    """`folder`/`name`, which must lie inside `root`. `absolute`: an absolute `name` is allowed if it does.

    The check is on the names (links that the owner made in the tree are followed). Raises CorpusError (file:line).
    """
    if "\0" in name:
        raise CorpusError(f"{name!r} is not a path", where=where, line=line)
    if not absolute and (PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor):
        raise CorpusError(f"'{name}' is absolute; paths are relative to {folder}", where=where, line=line)
    path = Path(os.path.normpath(folder.absolute() / name))
    if not path.is_relative_to(os.path.normpath(root.absolute())):
        raise CorpusError(f"'{name}' leaves the corpus folder {root}", where=where, line=line)
    return path


def visible(folder: Path) -> list[Path]:
    """The files directly in `folder` in name order, without hidden ones (.DS_Store, ._x). Dangling links stay in."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
    except OSError as error:
        raise CorpusError(f"cannot read the folder ({error.strerror})", where=folder) from None


def missing_warning(paths: Sequence[Path], what: str) -> list[str]:
    """One warning that counts the `paths` that do not exist and names the first; none if all exist."""
    absent = [path for path in paths if not path.is_file()]
    return [f"{len(absent)} of {len(paths)} {what} are missing, first: {absent[0]}"] if absent else []


def count_warning(name: str, count: int, official: int | None) -> list[str]:
    """The warning that a set is not the official one; none if it has as many items."""
    if official is None or count == official:
        return []
    return [f"{name}: {count} of {official} items of the official release: not comparable with published numbers"]
