from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench.corpora.lists import count_warning, inside, locate, missing_warning, read_lines, visible
from metis_bench.errors import CorpusError, MissingPrerequisite


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_lines_with_bom_crlf_and_blank_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lst", b"\xef\xbb\xbfone\r\ntwo \xe2\x80\xa8 2\r\n\r\n  \n")
    assert list(read_lines(path)) == [(1, "one"), (2, "two \u2028 2")]


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", None, "empty"),
        (b"\xef\xbb\xbf \r\n\n", None, "empty"),
        (b"a\n\nb\n", 2, "blank line"),
        (b"a\nb\n\xff\xfe\n", 3, "UTF-8"),
    ],
)
def test_bad_lists(tmp_path: Path, data: bytes, line: int | None, reason: str) -> None:
    path = write(tmp_path / "a.lst", data)
    with pytest.raises(CorpusError, match=reason) as caught:
        list(read_lines(path))
    assert (caught.value.where, caught.value.line) == (path, line)


def test_unreadable_list(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="directory"):
        list(read_lines(tmp_path))


def test_paths_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "en"
    assert inside(tmp_path, folder, "wavs/a.wav", folder, 1) == folder / "wavs/a.wav"
    assert inside(tmp_path, folder, "../zh/a.wav", folder, 1) == tmp_path / "zh/a.wav"
    assert inside(tmp_path, folder, str(tmp_path / "x.wav"), folder, 1, absolute=True) == tmp_path / "x.wav"
    for name in ("../../x.wav", "/etc/passwd", "C:\\x.wav", "a\0b", str(tmp_path / "x.wav"), "../en/../../y"):
        with pytest.raises(CorpusError) as caught:
            inside(tmp_path, folder, name, folder, 7)
        assert str(caught.value).startswith(f"{folder}:7: ")
    for name in ("/etc/passwd", f"{tmp_path}-other/x.wav", f"{tmp_path}/../x.wav"):
        with pytest.raises(CorpusError, match="leaves the corpus"):
            inside(tmp_path, folder, name, folder, 7, absolute=True)


def test_paths_stay_inside_a_relative_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert inside(Path(), Path(), "a.wav", tmp_path, 1) == tmp_path / "a.wav"
    with pytest.raises(CorpusError, match="leaves"):
        inside(Path(), Path(), "../a.wav", tmp_path, 1)


def test_locate(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite) as caught:
        locate("corp", tmp_path, ("x/y", "."), ("a.lst",), "get it there (CC0)")
    message = str(caught.value)
    for part in (
        "a.lst",
        f"{tmp_path}/x/y  (no such folder)",
        f"{tmp_path}\n",
        f"{tmp_path}/corp/x/y",
        "CC0",
        "corpora: {corp:",
    ):
        assert part in message
    (tmp_path / "corp").mkdir()
    write(tmp_path / "corp/a.lst", b"1")
    assert locate("corp", tmp_path, ("x/y", "."), ("a.lst",), "") == tmp_path / "corp"
    write(tmp_path / "a.lst", b"1")
    assert locate("corp", tmp_path, ("x/y", "."), ("b", "a.lst"), "") == tmp_path
    with pytest.raises(MissingPrerequisite, match="needs a folder"):
        locate("corp", None, (".",), ("a.lst",), "get it")


def test_visible_keeps_dangling_links(tmp_path: Path) -> None:
    for name in ("b.wav", ".DS_Store", "._a.wav", "a.wav"):
        write(tmp_path / name, b"")
    (tmp_path / "c.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "folder").mkdir()
    assert [p.name for p in visible(tmp_path)] == ["a.wav", "b.wav", "c.wav"]
    assert missing_warning(visible(tmp_path), "files") == [f"1 of 3 files are missing, first: {tmp_path / 'c.wav'}"]


def test_count_warning() -> None:
    assert count_warning("x", 5, 5) == count_warning("x", 5, None) == []
    assert count_warning("subset real", 6, 300) == [
        "subset real: 6 of 300 items of the official release: not comparable with published numbers"
    ]
