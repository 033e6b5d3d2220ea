"""Downloads from a server on this machine: whole, cut off, corrupted, gone, and onto a full disk."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from metis_bench.corpora import download, lfs
from metis_bench.corpora.download import Download, fetch, unpack
from metis_bench.corpora.lfs import LfsFolder
from metis_bench.errors import CorpusError, MissingPrerequisite

CONTENT = bytes(range(256)) * 4000


class Served(NamedTuple):
    """What the server does: `files` by path; `cut`: end the connection after so many bytes, once; `ranges`: asked."""

    url: str
    files: dict[str, bytes]
    cut: list[int]
    ranges: list[str | None]


@pytest.fixture
def server() -> Iterator[Served]:
    files: dict[str, bytes] = {"/data.bin": CONTENT}
    cut: list[int] = []
    ranges: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            asked = self.headers.get("Range")
            ranges.append(asked)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            if asked and start >= len(data):
                self.send_error(416)
                return
            body = data[start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: cut.pop() if cut else None])

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield Served(f"http://127.0.0.1:{httpd.server_port}", files, cut, ranges)
    httpd.shutdown()
    httpd.server_close()


def wanted(server: Served, content: bytes = CONTENT, name: str = "data.bin", **more: object) -> Download:
    sha = hashlib.sha256(content).hexdigest()
    return Download(name, f"{server.url}/{name}", sha, len(content), "free", **more)  # type: ignore[arg-type]


def quiet(_what: str, _done: int, _total: int) -> None:
    pass


def test_whole(server: Served, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = fetch(wanted(server), tmp_path / "a" / "b", lambda *x: seen.append(x))
    assert path.read_bytes() == CONTENT and seen[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    fetch(wanted(server), path.parent, quiet)
    assert len(server.ranges) == 1, "what is there is not fetched again"
    assert [p.name for p in path.parent.iterdir()] == ["data.bin"]


def test_cut_off_goes_on(server: Served, tmp_path: Path) -> None:
    server.cut.append(300_000)
    with pytest.raises(MissingPrerequisite, match="goes on where it was") as caught:
        fetch(wanted(server), tmp_path, quiet)
    assert "curl -L -C - -o" in str(caught.value) and not (tmp_path / "data.bin").exists()
    kept = (tmp_path / "data.bin.part").stat().st_size
    assert 0 < kept <= 300_000
    assert fetch(wanted(server), tmp_path, quiet).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={kept}-"]
    assert not (tmp_path / "data.bin.part").exists()


def test_all_was_received_before_it_was_cut_off(server: Served, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert fetch(wanted(server), tmp_path, quiet).read_bytes() == CONTENT


def test_another_content_is_refused_and_not_kept(server: Served, tmp_path: Path) -> None:
    server.files["/data.bin"] = CONTENT[:-1] + b"x"
    with pytest.raises(CorpusError, match="is not what it was"):
        fetch(wanted(server), tmp_path, quiet)
    assert not list(tmp_path.iterdir())
    server.files["/data.bin"] = CONTENT
    assert fetch(wanted(server), tmp_path, quiet).read_bytes() == CONTENT


def test_gone(server: Served, tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="404"):
        fetch(wanted(server, name="nothing.bin"), tmp_path, quiet)
    nowhere = Download("data.bin", "http://127.0.0.1:9/data.bin", "0" * 64, 1, "free")
    with pytest.raises(MissingPrerequisite, match="cannot be downloaded"):
        fetch(nowhere, tmp_path, quiet)


def test_a_full_disk_is_told_before_anything_is_fetched(
    server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(MissingPrerequisite, match=r"0\.0 GB free"):
        fetch(wanted(server), tmp_path, quiet)
    assert not server.ranges


def test_the_disk_fills_up_meanwhile(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_receive", full)
    with pytest.raises(MissingPrerequisite, match="No space left"):
        fetch(wanted(server), tmp_path, quiet)


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_are_unpacked_into_what_is_there(server: Served, tmp_path: Path, kind: str) -> None:
    pack = tar_of if kind == "tar" else zip_of
    data = pack({"LibriSpeech/test-clean/1/a.flac": b"a", "LibriSpeech/README": b"new"})
    server.files["/data.bin"] = data
    (tmp_path / "LibriSpeech" / "test-other").mkdir(parents=True)
    (tmp_path / "LibriSpeech" / "test-other" / "b").write_bytes(b"b")
    fetch(wanted(server, data, unpack=kind), tmp_path, quiet)
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["LibriSpeech/README", "LibriSpeech/test-clean/1/a.flac", "LibriSpeech/test-other/b"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives_that_lead_out_or_are_damaged(tmp_path: Path, kind: str) -> None:
    pack = tar_of if kind == "tar" else zip_of
    for name, data in (("evil", pack({"../evil": b"x"})), ("cut", pack({"a": CONTENT})[:-30])):
        archive = tmp_path / f"{name}.{kind}"
        archive.write_bytes(data)
        with pytest.raises((CorpusError, tarfile.TarError)):
            unpack(archive, kind, tmp_path / "out")  # type: ignore[arg-type]
        assert not (tmp_path / "evil").exists()
        assert not (tmp_path / "out" / "a").exists(), "never half of it"


@pytest.fixture
def repository(server: Served, monkeypatch: pytest.MonkeyPatch) -> LfsFolder:
    """A branch with two files in Git LFS and one that is not."""
    for name in ("API", "RAW", "MEDIA"):
        monkeypatch.setattr(lfs, name, server.url)
    names = ["data/a.wav", "data/b/c.wav", "data/README"]
    tree = [{"path": n, "type": "blob"} for n in (*names, "other/d.wav")] + [{"path": "data/b", "type": "tree"}]
    server.files["/repos/me/repo/git/trees/x%2Fy?recursive=1"] = json.dumps({"tree": tree}).encode()
    for name in names[:2]:
        content = name.encode() * 100
        oid = hashlib.sha256(content).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
        server.files[f"/me/repo/x/y/{name}"] = pointer.encode()
        server.files[f"/media/me/repo/x/y/{name}"] = content
    server.files["/me/repo/x/y/data/README"] = b"read me"
    return LfsFolder("me/repo", "x/y", "data")


def test_a_folder_in_git_lfs(server: Served, repository: LfsFolder, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    wanted = Download("files", "https://github.com/me/repo", "", 1000, "free", lfs=repository)
    fetch(wanted, tmp_path, lambda *x: seen.append(x))
    found = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {n: n.encode() * 100 for n in ("data/a.wav", "data/b/c.wav")} | {"data/README": b"read me"}
    assert seen[-1] == ("files (files)", 3, 3)
    del server.files["/media/me/repo/x/y/data/a.wav"]
    fetch(wanted, tmp_path, quiet)  # what is there, and right, is not fetched again
    (tmp_path / "data/a.wav").write_bytes(b"cut")
    with pytest.raises(MissingPrerequisite, match="404") as caught:
        fetch(wanted, tmp_path, quiet)
    assert "git lfs pull -I data" in str(caught.value)
    server.files["/media/me/repo/x/y/data/a.wav"] = b"something else"
    with pytest.raises(CorpusError, match="not what its pointer says"):
        fetch(wanted, tmp_path, quiet)
    assert (tmp_path / "data/a.wav").read_bytes() == b"cut"


def test_a_branch_without_the_folder(server: Served, repository: LfsFolder, tmp_path: Path) -> None:
    server.files["/repos/me/repo/git/trees/x%2Fy?recursive=1"] = b'{"tree": []}'
    with pytest.raises(CorpusError, match="does not list 'data'"):
        repository.fetch(tmp_path, lambda *_: None)
