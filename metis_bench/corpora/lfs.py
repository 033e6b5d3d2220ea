"""A folder of a GitHub repository whose files are in Git LFS, without git: names, pointers, then contents.

A pointer is a small text with the sha256 and the size of what it stands for, so every file is checked, and one that is
there is not fetched again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from metis_bench.errors import CorpusError
from metis_bench.files import write_atomic
from metis_bench.hashing import sha256_bytes, sha256_file

API, RAW, MEDIA = "https://api.github.com", "https://raw.githubusercontent.com", "https://media.githubusercontent.com"
AT_ONCE = 8
TIMEOUT_S = 60.0
TRIES = 3
_POINTER = re.compile(rb"oid sha256:([0-9a-f]{64})\s+size (\d+)")


@dataclass(frozen=True)
class LfsFolder:
    """`folder` of a repository ("owner/name") at a branch."""

    repo: str
    branch: str
    folder: str

    def fetch(self, to: Path, progress: Callable[[int, int], None]) -> None:
        """All its files below `to`, under their paths in the repository. progress: files.

        Raises requests' errors and OSError for what cannot be reached, CorpusError for another content.
        """
        names = self._names()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done, _ in enumerate(pool.map(lambda name: self._file(name, to), names), start=1):
                progress(done, len(names))

    def _names(self) -> list[str]:
        branch = self.branch.replace("/", "%2F")
        reply = _get(f"{API}/repos/{self.repo}/git/trees/{branch}?recursive=1").json()
        entries: list[dict[str, Any]] = reply.get("tree", [])
        wanted = [e["path"] for e in entries if e.get("type") == "blob" and e["path"].startswith(f"{self.folder}/")]
        if not wanted or reply.get("truncated") or any(".." in PurePosixPath(path).parts for path in wanted):
            raise CorpusError(f"github.com/{self.repo} does not list '{self.folder}' at {self.branch}")
        return sorted(wanted)

    def _file(self, name: str, to: Path) -> None:
        target, place = to / name, f"{self.repo}/{self.branch}/{name}"
        pointer = _get(f"{RAW}/{place}").content
        found = _POINTER.search(pointer[:200])
        if found is None:  # a file that is small enough to be kept as it is
            write_atomic(target, pointer)
            return
        sha256 = found[1].decode()
        if target.is_file() and target.stat().st_size == int(found[2]) and sha256_file(target) == sha256:
            return
        content = _get(f"{MEDIA}/media/{place}").content
        if sha256_bytes(content) != sha256:
            raise CorpusError(f"{MEDIA}/media/{place} is not what its pointer says", fix="try again later")
        write_atomic(target, content)


def _get(url: str) -> Any:
    """A reply, asked for again where the connection broke. Raises requests' errors."""
    import requests

    for left in reversed(range(TRIES)):
        try:
            reply = requests.get(url, timeout=TIMEOUT_S)
            reply.raise_for_status()
            return reply
        except (requests.ConnectionError, requests.Timeout):
            if not left:
                raise
    raise AssertionError
