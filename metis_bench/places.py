"""Files below one root: a folder (of this machine, or shared), or anywhere else that fsspec knows (s3://, gs://, ...).

A place is a Path, or the text of a URL. Both kinds are read and written whole; writing replaces a file or leaves it as
it was. Reading many at once asks a slow place (a network file system, an object store) for many at a time.
"""

from __future__ import annotations

import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from metis_bench.errors import MissingPrerequisite, UsageError
from metis_bench.files import write_atomic

Place: TypeAlias = "Path | str"
T = TypeVar("T")

URL_WITHOUT_SLASHES = re.compile(r"[a-z][a-z0-9+]+:(?!//|\\)")  # (c:\ is a drive)
SLOW_S = 0.0003  # a read that takes longer than this is worth a thread
TRIED = 64  # reads that tell how fast a folder is
AT_ONCE = 32  # threads
NEVER_HALF = frozenset(
    {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "memory"}
)  # PUT is atomic


def place(text: str, base: Path | None = None) -> Place:
    """What a config, a flag or a run.json says: a URL as it is; else a folder, relative to `base` or to ours."""
    scheme, found, rest = text.partition("://")
    if (found and not (scheme and rest)) or URL_WITHOUT_SLASHES.match(text):
        raise UsageError(f"{text} is neither a folder nor a URL", fix="a path, or a URL such as s3://bucket/metis")
    if found and scheme != "file":
        return text.rstrip("/")
    return ((base or Path.cwd()) / Path(rest if found else text).expanduser()).resolve()


class Files(ABC):
    """Names are relative, with slashes."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Its content; None where there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """So that nobody ever reads a part of it. Raises OSError."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """In bytes; None where there is none."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Where it is there."""

    @abstractmethod
    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """As `read`, many at once."""

    @abstractmethod
    def sizes(self, names: Sequence[str]) -> list[int | None]:
        """As `size`, many at once."""

    @abstractmethod
    def local(self, name: str) -> Path:
        """A path of this machine with its content, or (there is no such file) one that does not exist."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Do not trust a copy of it that this machine may have."""

    @abstractmethod
    def where(self, name: str) -> str:
        """What people are told."""


def open_place(root: Place, cache: Path) -> Files:
    """cache: where copies of remote files are kept. Raises MissingPrerequisite (a package), UsageError (a URL)."""
    return Folder(root) if isinstance(root, Path) else Remote(root, cache)


class Folder(Files):
    """A folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below = f"{root}{os.sep}"  # paths are made ten thousand times

    def read(self, name: str) -> bytes | None:
        """None also where it cannot be read: what is damaged is made again."""
        try:
            with open(self._below + name, "rb", buffering=0) as stream:  # noqa: PTH123 - ten thousand times, as above
                return stream.read()
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """By renaming."""
        write_atomic(self.root / name, data)

    def size(self, name: str) -> int | None:
        """As the file system says."""
        try:
            return os.stat(self._below + name).st_size  # noqa: PTH116
        except OSError:
            return None

    def remove(self, name: str) -> None:
        """No error where it is gone."""
        (self.root / name).unlink(missing_ok=True)

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """One after another where that is fast."""
        return list(_each(self.read, names))

    def sizes(self, names: Sequence[str]) -> list[int | None]:
        """One after another where that is fast."""
        return list(_each(self.size, names))

    def local(self, name: str) -> Path:
        """The file itself."""
        return self.root / name

    def forget(self, name: str) -> None:
        """There are no copies."""

    def where(self, name: str) -> str:
        """Its path."""
        return self._below + name


def _each(look: Callable[[str], T], names: Sequence[str]) -> Iterator[T]:
    """In threads where the first ones were slow: a network file system answers many as fast as one."""
    started = time.perf_counter()
    yield from map(look, names[:TRIED])
    rest = names[TRIED:]
    if time.perf_counter() - started < SLOW_S * TRIED or not rest:
        yield from map(look, rest)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(look, rest)


class Remote(Files):
    """What fsspec reaches. Audio that is read is kept in a folder of this machine, by its name (that is its hash)."""

    def __init__(self, url: str, cache: Path) -> None:
        import fsspec

        try:
            self.fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            raise MissingPrerequisite(f"the store {url} needs a package that is not installed: {error}") from None
        except ValueError as error:
            raise UsageError(f"the store {url} is no place that fsspec knows: {error}") from None
        self.url, self.cache = url, cache
        protocols = {self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)
        self._atomic = bool(protocols & NEVER_HALF)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _done(self, call: Callable[..., Any], *args: Any) -> Any:
        """FileNotFoundError as it is. Every other error, whoever raised it, as an OSError."""
        try:
            return call(*args)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{self.url}: {type(error).__name__}: {error}".splitlines()[0]) from error

    def _asked(self, call: Callable[..., Any], *args: Any) -> Any:
        """None where there is no such file. A place that does not answer ends the run: nothing is to be done twice."""
        try:
            return self._done(call, *args)
        except FileNotFoundError:
            return None
        except OSError as error:
            fix = "check the address and your credentials, then run the same command again to resume"
            raise MissingPrerequisite(f"the store cannot be read: {error}", where=self.url, fix=fix) from None

    def read(self, name: str) -> bytes | None:
        """Over the network."""
        data: bytes | None = self._asked(self.fs.cat_file, self._path(name))
        return data

    def write(self, name: str, data: bytes) -> None:
        """At once where the place does that; elsewhere under another name first."""
        path = self._path(name)
        if self._atomic:
            self._done(self.fs.pipe_file, path, data)
            return
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/.{last}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
        self._done(self.fs.makedirs, folder, True)
        self._done(self.fs.pipe_file, temporary, data)
        self._done(self.fs.mv, temporary, path)

    def size(self, name: str) -> int | None:
        """Over the network."""
        found = self._asked(self.fs.info, self._path(name))
        return None if found is None else found["size"]

    def remove(self, name: str) -> None:
        """And the copy here."""
        self.forget(name)
        self._asked(self.fs.rm_file, self._path(name))

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """As many at once as the library does."""
        paths = [self._path(name) for name in names]
        if not paths:
            return []
        found = self._asked(lambda: self.fs.cat(paths, on_error="return"))
        return [None if found is None else self._content(found.get(path), path) for path in paths]

    def _content(self, found: Any, path: str) -> bytes | None:
        if found is None or isinstance(found, FileNotFoundError):
            return None
        return bytes(found) if isinstance(found, bytes) else self.read(path[len(self._root.rstrip("/")) + 1 :])

    def sizes(self, names: Sequence[str]) -> list[int | None]:
        """From the lists of their folders."""
        folders = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            lists = pool.map(lambda folder: self._asked(self.fs.ls, self._path(folder), True) or (), folders)
            known = {entry["name"].strip("/"): entry["size"] for listed in lists for entry in listed}
        return [known.get(self._path(name).strip("/")) for name in names]

    def local(self, name: str) -> Path:
        """A copy, fetched once."""
        copy = self.cache / name
        if not copy.exists():
            data = self.read(name)
            if data is not None:
                write_atomic(copy, data)
        return copy

    def forget(self, name: str) -> None:
        """Remove the copy."""
        with suppress(OSError):
            (self.cache / name).unlink(missing_ok=True)

    def where(self, name: str) -> str:
        """Its address."""
        return f"{self.url}/{name}"
