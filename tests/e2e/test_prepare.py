"""`metis-bench prepare` from nothing to a corpus that runs, with a server on this machine."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from metis_bench.cli import main
from metis_bench.corpora import librispeech, published
from metis_bench.corpora.librispeech import ARCHIVES, F5_LIST
from tests.corpora.test_download import Served, server, tar_of  # noqa: F401 - a fixture
from tests.corpora.test_librispeech import utterance

SUITE = """\
name: mine
task: tts
corpora: {libri: {corpus: librispeech}}
systems: [ground-truth, prompt-copy]
metrics: [peak_mb]
"""
LINE = "1-10-0001\t3.500\tA prompt.\t1-10-0000\t5.000\tA text, as written.\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Served) -> Path:  # noqa: F811
    """An empty home, and a server that has LibriSpeech's archive and the list."""
    tree = tmp_path / "made" / "LibriSpeech"
    for name, seconds in (("1-10-0000", 5), ("1-10-0001", 3.5)):
        utterance(tree, name, seconds)
    files = {p.relative_to(tree.parent).as_posix(): p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    for name, content, table in (("test-clean", tar_of(files), ARCHIVES), (F5_LIST, LINE.encode(), published.LISTS)):
        known = table[name]
        server.files[f"/{known.name}"] = content
        fake = replace(
            known, url=f"{server.url}/{known.name}", sha256=hashlib.sha256(content).hexdigest(), size=len(content)
        )
        monkeypatch.setitem(table, name, fake)  # type: ignore[arg-type]
    monkeypatch.setattr(librispeech, "F5_COUNT", 1)
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("METIS_BENCH_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SUITE)
    return tmp_path


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_from_nothing_to_a_corpus(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("prepare", "mine.yaml") == 5
    told = capsys.readouterr().err
    assert "test-clean.tar.gz" in told and "CC BY 4.0" in told and "nothing was downloaded; add --yes" in told
    assert "corpora: {librispeech: /path/to/it}" in told, "or by hand"
    assert not (here / "home" / "data").exists()

    assert command("prepare", "mine.yaml", "--yes") == 0
    shown = capsys.readouterr().out
    assert "libri" in shown and "problem" not in shown.replace("problems", "")
    assert (here / "home/data/librispeech/LibriSpeech/test-clean/1/10/1-10-0000.flac").is_file()
    assert (here / "home/corpora/lists" / F5_LIST).is_file()

    assert command("prepare", "mine.yaml") == 0
    assert "to download" not in capsys.readouterr().err, "all of it is there"
    assert command("run", "mine.yaml") == 0


def test_a_common_root_takes_the_downloads(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "metis-bench.yaml").write_text(f"corpora: {{root: {here / 'speech'}}}\n")
    assert command("prepare", "mine.yaml", "--yes") == 0
    assert (here / "speech/librispeech/LibriSpeech/test-clean").is_dir()


def test_a_corrupted_download_is_told(here: Path, server: Served, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    server.files["/test-clean.tar.gz"] = b"something else"
    assert command("prepare", "mine.yaml", "--yes") == 2
    assert "is not what it was" in capsys.readouterr().err
    assert not list((here / "home").rglob("*.flac"))


def test_mixtures_need_the_same_archive_once(
    here: Path,
    server: Served,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = SUITE.replace("task: tts", "task: omni").replace(
        "{corpus: librispeech}", "{corpus: librispeech}, mix: {corpus: librimix}"
    )
    (here / "mine.yaml").write_text(both)
    assert command("prepare", "mine.yaml") == 5
    told = capsys.readouterr().err
    assert told.count(f"{server.url}/test-clean.tar.gz") == 1 and "libri, mix" in told
    assert "Libri2Mix/libri2mix_test-clean.csv" in told


def test_verify_names_what_has_changed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("prepare", "mine.yaml", "--yes", "--verify") == 2
    assert "there is no manifest of this corpus yet" in capsys.readouterr().err
    assert command("prepare", "mine.yaml") == 0
    assert command("prepare", "mine.yaml", "--verify") == 0
    capsys.readouterr()
    folder = here / "home/data/librispeech/LibriSpeech/test-clean/1/10"
    target, prompt = folder / "1-10-0000.flac", folder / "1-10-0001.flac"
    whole = target.read_bytes()
    utterance(here / "short" / "LibriSpeech", "1-10-0000", 4)
    target.write_bytes((here / "short/LibriSpeech/test-clean/1/10/1-10-0000.flac").read_bytes())
    assert command("prepare", "mine.yaml", "--verify") == 6
    shown = " ".join(capsys.readouterr().out.split())
    assert "truncated: libri 1-10-0000 reference (1-10-0000.flac)" in shown and "frames 80000 -> 64000" in shown
    target.write_bytes(whole[:-2] + b"\x01\x01")
    assert command("prepare", "mine.yaml", "--verify") == 6
    assert "other content of the same size" in " ".join(capsys.readouterr().out.split())
    target.write_bytes(whole)
    prompt.unlink()
    assert command("prepare", "mine.yaml", "--verify") == 6
    assert "missing: libri 1-10-0000 prompt (1-10-0001.flac)" in " ".join(capsys.readouterr().out.split())
