"""Audio in the report: once each, linked or copied, converted where browsers cannot play it, never an exception."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from metis_bench import audio
from metis_bench.hashing import sha256_file
from metis_bench.report.audio_files import AudioFolder
from metis_bench.report.data import InputAudio, OutputAudio
from tests.report.conftest import wav


@pytest.fixture
def folder(tmp_path: Path) -> AudioFolder:
    return AudioFolder(tmp_path / "audio", {}.__getitem__)


def given(path: Path) -> InputAudio:
    return InputAudio(str(path), sha256_file(path), seconds=0.25)


def test_equal_audio_is_placed_once_and_hard_linked(tmp_path: Path, folder: AudioFolder) -> None:
    first, second = tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav"
    wav(first, 1), wav(second, 1)
    players = [folder.input(given(first)), folder.input(given(second))]
    assert players[0] == players[1]
    assert players[0].url == f"audio/{sha256_file(first)}.wav" and players[0].seconds == 0.25
    assert [(tmp_path / str(players[0].url)).samefile(p) for p in (first, second)] == [True, False]
    assert len(list((tmp_path / "audio").iterdir())) == 1


def test_copies_where_links_do_not_work(tmp_path: Path, folder: AudioFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    wav(tmp_path / "a.wav", 1)
    player = folder.input(given(tmp_path / "a.wav"))
    assert (tmp_path / str(player.url)).read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize(
    ("name", "container", "subtype", "suffix", "converted"),
    [
        ("a.sph", "NIST", "PCM_16", ".wav", True),
        ("a.wav", "WAV", "DOUBLE", ".wav", True),
        ("a.wav", "WAV", "PCM_24", ".wav", False),
        ("a.wav", "WAV", "FLOAT", ".wav", False),
        ("a.bin", "FLAC", "PCM_16", ".flac", False),
        ("a.ogg", "OGG", "VORBIS", ".ogg", False),
    ],
)
def test_formats(
    tmp_path: Path, folder: AudioFolder, name: str, container: str, subtype: str, suffix: str, converted: bool
) -> None:
    path = tmp_path / name
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (1600, 2)).astype(np.float32)
    soundfile.write(path, samples, 16000, format=container, subtype=subtype)
    placed = tmp_path / str(folder.input(given(path)).url)
    assert placed.suffix == suffix
    assert (placed.read_bytes() != path.read_bytes()) == converted
    if converted:
        assert audio.probe(placed).container == "WAV"
        np.testing.assert_array_equal(audio.load(placed).samples, audio.load(path).samples)


def test_whatever_is_wrong_becomes_a_note(tmp_path: Path, folder: AudioFolder) -> None:
    wav(tmp_path / "changed.wav", 1)
    (tmp_path / "text.wav").write_text("not audio")
    clips = {
        "No such file": InputAudio(str(tmp_path / "gone.wav"), "a" * 64),
        "changed since the run": InputAudio(str(tmp_path / "changed.wav"), "b" * 64),
        "not a decodable": given(tmp_path / "text.wav"),
        "cannot read <it>": InputAudio("x", error="cannot read <it>"),
    }
    for why, clip in clips.items():
        player = folder.input(clip)
        assert player.url is None and player.note is not None and why in player.note
    assert "not in the store" in str(folder.output(OutputAudio("c" * 64)).note)
    assert list((tmp_path / "audio").iterdir()) == []


def test_a_sha_that_is_a_path_writes_nothing(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", 1)
    folder = AudioFolder(tmp_path / "audio", lambda _: tmp_path / "a.wav")
    assert folder.output(OutputAudio("../../evil")).url is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "audio"]
