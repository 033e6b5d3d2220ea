"""Downloads of what may be downloaded: checked, resumed where they were cut off, unpacked whole or not at all."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from metis_bench.corpora.lfs import LfsFolder
from metis_bench.errors import CorpusError, MissingPrerequisite

Progress: TypeAlias = Callable[[str, int, int], None]  # what, bytes done, bytes in all
BLOCK = 1 << 16  # bytes: so many at most are lost when a connection ends
SPARE = 100_000_000  # bytes that stay free on the disk
UNPACKED = 2.2  # times its size that an archive and what is in it take
TIMEOUT_S = 60.0
PART = ".part"


@dataclass(frozen=True)
class Download:
    """A file for a corpus.

    sha256: of the file, None where nobody has told it; size: bytes; unpack: what it is, if it holds a tree;
    licence: said before it is fetched; lfs: instead of one file a folder of many, each with its own hash, of about
    `size` bytes together; elsewhere: the line of metis-bench.yaml that names another folder
    """

    name: str
    url: str
    sha256: str | None
    size: int
    licence: str
    unpack: Literal["tar", "zip"] | None = None
    lfs: LfsFolder | None = None
    elsewhere: str = "corpora: {root: /path}"

    @property
    def by_hand(self) -> str:
        """The command that does the same."""
        if self.lfs is not None:
            return (
                f"git clone -b {self.lfs.branch} --single-branch {self.url}\n"
                f"       cd {self.lfs.repo.split('/')[1]} && git lfs install && git lfs pull -I {self.lfs.folder}"
            )
        return f"curl -L -C - -o '{self.name}' {self.url}"


def fetch(download: Download, folder: Path, progress: Progress) -> Path:
    """The file, or the folder with what was in it. Does nothing where the file is there already.

    Raises MissingPrerequisite when the disk is too full or the server cannot be reached (what was received is kept, and
    the next call goes on), CorpusError when the content is another one.
    """
    target = folder / download.name
    if target.is_file() and download.unpack is None:
        return target
    require_space(folder, space_for(download) - _received(target), download.elsewhere)
    if download.lfs is not None:
        with _reachable(download, folder):
            download.lfs.fetch(folder, lambda done, total: progress(f"{download.name} (files)", done, total))
        return folder
    _retrieve(download, target, progress)
    if download.unpack is None:
        return target
    progress(f"unpacking {download.name}", 0, 1)
    unpack(target, download.unpack, folder)
    target.unlink()
    return folder


def space_for(download: Download) -> int:
    """Bytes that a download takes while it is unpacked."""
    return round(download.size * (UNPACKED if download.unpack else 1))


def require_space(folder: Path, wanted: int, elsewhere: str = Download.elsewhere) -> None:
    """Raise MissingPrerequisite when the disk of `folder` has not so many bytes to spare."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise MissingPrerequisite(f"{folder} cannot be written: {error.strerror}") from None
    if free < wanted + SPARE:
        raise MissingPrerequisite(
            f"{folder} has {free / 1e9:.1f} GB free, {(wanted + SPARE) / 1e9:.1f} GB are needed",
            fix=f"make room, or name another folder in metis-bench.yaml:  {elsewhere}",
        )


def _received(target: Path) -> int:
    part = target.with_name(target.name + PART)
    return part.stat().st_size if part.is_file() else 0


def _retrieve(download: Download, target: Path, progress: Progress) -> None:
    """pooch checks the hash and puts the file in place; receiving, which may be cut off, is `_receive`."""
    import pooch

    def receive(url: str, output: str, _pooch: object) -> None:
        part = target.with_name(target.name + PART)
        _receive(url, part, lambda done, total: progress(download.name, done, total or download.size))
        shutil.move(part, output)

    pooch.get_logger().setLevel("WARNING")
    known = f"sha256:{download.sha256}" if download.sha256 else None
    try:
        with _reachable(download, target.parent):
            pooch.retrieve(download.url, known, fname=target.name, path=target.parent, downloader=receive)
    except ValueError as error:  # another content than the known one: nothing of it is kept
        raise CorpusError(
            f"{download.url} is not what it was: {str(error).splitlines()[0]}",
            fix="try again; if it stays so, get it by hand and look at it",
        ) from None


@contextmanager
def _reachable(download: Download, folder: Path) -> Iterator[None]:
    """Errors of the network and of the disk as MissingPrerequisite, with the command that does it by hand."""
    import requests

    try:
        yield
    except (requests.RequestException, OSError) as error:
        raise MissingPrerequisite(
            f"{download.url} cannot be downloaded ({error or type(error).__name__})",
            fix=f"run the same command again, it goes on where it was; or by hand, in {folder}:\n"
            f"       {download.by_hand}",
        ) from None


def _receive(url: str, part: Path, progress: Callable[[int, int], None]) -> None:
    """Into `part`, behind what it holds already if the server can. Raises requests' errors and OSError."""
    import requests

    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is there
        reply.raise_for_status()
        goes_on = reply.status_code == requests.codes.partial_content
        have = have if goes_on else 0
        total = have + int(reply.headers.get("Content-Length") or 0)
        with part.open("ab" if goes_on else "wb") as file:
            for block in reply.iter_content(BLOCK):
                file.write(block)
                have += len(block)
                progress(have, total)
    if total > 0 and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def unpack(archive: Path, kind: Literal["tar", "zip"], folder: Path) -> None:
    """All of an archive into `folder`, first beside it, so that a tree that was cut off is never taken for a whole one.

    Raises CorpusError for a damaged archive and for names that lead out of it.
    """
    aside = folder / f".{archive.name}.unpacking"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        if kind == "tar":
            with tarfile.open(archive) as tar:
                tar.extractall(aside, filter="data")
        else:
            with zipfile.ZipFile(archive) as packed:
                outside = [n for n in packed.namelist() if Path(n).is_absolute() or ".." in Path(n).parts]
                if outside:
                    raise CorpusError(f"'{outside[0]}' leads out of the archive", where=archive)
                packed.extractall(aside)
        _merge(aside, folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise CorpusError(f"it cannot be unpacked ({error})", where=archive, fix="remove it, and try again") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _merge(source: Path, target: Path) -> None:
    """Move what is in `source` into `target`, folders into folders of the same name."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        place = target / path.name
        if path.is_dir() and place.is_dir():
            _merge(path, place)
        else:
            path.replace(place)
