from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from metis_bench.audio import Audio
from metis_bench.errors import AudioError, ItemError, MissingPrerequisite
from metis_bench.systems.imported import Imported, ImportedParams

Make = Callable[..., Any]


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_reads_the_item_s_file(suffix: str, tmp_path: Path, build: Make, make_request: Make, voice: Make) -> None:
    audio = voice(0.5, 24_000)
    soundfile.write(tmp_path / f"utt_1.{suffix}", audio.samples, 24_000)
    soundfile.write(tmp_path / "utt_2.wav", -audio.samples, 24_000)
    out = build("imported", path=str(tmp_path)).generate(make_request(id="utt_1"))
    assert (out.rate, out.samples.dtype) == (24_000, np.float32)
    length = len(audio.samples)
    assert float(np.corrcoef(out.samples[:length], audio.samples[: len(out.samples)])[0, 1]) > 0.9


def test_stereo_becomes_mono(tmp_path: Path, build: Make, make_request: Make) -> None:
    soundfile.write(tmp_path / "a.wav", np.tile([0.5, 0.25], (100, 1)), 16_000)
    out = build("imported", path=str(tmp_path)).generate(make_request(id="a"))
    np.testing.assert_allclose(out.samples, np.full(100, 0.375), atol=1e-6)


def test_odd_ids_are_literal_names(
    tmp_path: Path, build: Make, make_request: Make, voice: Make, write_wav: Make
) -> None:
    audio = voice(0.1, 16_000)
    (tmp_path / "no_reverb").mkdir()
    write_wav(tmp_path / "no_reverb" / "fileid 7[a]*.wav", audio)
    write_wav(tmp_path / "v1..2.wav", audio)
    system = build("imported", path=str(tmp_path))
    for item in ("no_reverb/fileid 7[a]*", "v1..2"):
        assert len(system.generate(make_request(id=item)).samples) == 1600
    with pytest.raises(ItemError, match="no file"):
        system.generate(make_request(id="no_reverb/fileid 7a"))


def test_ids_with_a_slash_lie_in_sub_folders_and_never_share_a_file(
    tmp_path: Path, build: Make, make_request: Make, voice: Make, write_wav: Make
) -> None:
    for folder in ("a", "deep/er"):
        (tmp_path / folder).mkdir(parents=True)
    write_wav(tmp_path / "a" / "b.wav", voice(0.1, 16_000))
    write_wav(tmp_path / "a_b.wav", voice(0.2, 16_000))
    write_wav(tmp_path / "deep" / "er" / "est.wav", voice(0.3, 16_000))
    system = build("imported", path=str(tmp_path))
    lengths = [len(system.generate(make_request(id=item)).samples) for item in ("a/b", "a_b", "deep/er/est")]
    assert lengths == [1600, 3200, 4800]
    (tmp_path / "a_b.wav").unlink()
    with pytest.raises(ItemError, match=r"no file for item 'a_b' .* expected a_b\.wav"):
        system.generate(make_request(id="a_b"))


BAD_IDS = ["../secret", "a/../../secret", "..\\secret", "..", "", "a\0b", "x" * 300, "a/" * 2000 + "b"]
BAD_IDS += ["/secret", "//secret", "a//secret", "./secret", "a/./secret", "secret/", "\\secret"]


@pytest.mark.parametrize("item", BAD_IDS)
def test_ids_never_leave_the_folder(item: str, tmp_path: Path, build: Make, make_request: Make, voice: Make) -> None:
    soundfile.write(tmp_path / "secret.wav", voice(0.1, 16_000).samples, 16_000)
    (tmp_path / "outputs" / "a").mkdir(parents=True)
    for folder in ("outputs", "outputs/a"):  # reachable, were one of the ids only tidied up
        soundfile.write(tmp_path / folder / "secret.wav", voice(0.1, 16_000).samples, 16_000)
    system = build("imported", path=str(tmp_path / "outputs"))
    for subset in ("", "a"):
        with pytest.raises(ItemError, match="cannot be a file name"):
            system.generate(make_request(id=item, subset=subset))


def test_an_absolute_id_is_refused(tmp_path: Path, build: Make, make_request: Make, voice: Make) -> None:
    soundfile.write(tmp_path / "secret.wav", voice(0.1, 16_000).samples, 16_000)
    with pytest.raises(ItemError, match="cannot be a file name"):
        build("imported", path=str(tmp_path)).generate(make_request(id=str(tmp_path / "secret")))


def test_its_time_is_not_reported() -> None:
    assert Imported.timed is False


def test_a_missing_file_says_what_was_expected(tmp_path: Path, build: Make, make_request: Make) -> None:
    with pytest.raises(ItemError) as caught:
        build("imported", path=str(tmp_path)).generate(make_request(id="set/utt"))
    assert str(caught.value) == f"no file for item 'set/utt' in {tmp_path}, expected set/utt.wav"


def test_two_files_for_one_item_are_refused(
    tmp_path: Path, build: Make, make_request: Make, voice: Make, write_wav: Make
) -> None:
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"utt.{suffix}", voice(0.1, 16_000).samples, 16_000)
    with pytest.raises(ItemError, match=r"2 files for item 'utt' .*utt\.wav, utt\.flac"):
        build("imported", path=str(tmp_path)).generate(make_request(id="utt"))


def test_a_broken_file_is_an_audio_error(tmp_path: Path, build: Make, make_request: Make) -> None:
    (tmp_path / "utt.wav").write_bytes(b"not audio at all")
    with pytest.raises(AudioError, match=r"utt\.wav"):
        build("imported", path=str(tmp_path)).generate(make_request(id="utt"))


def test_check_wants_a_folder(tmp_path: Path, voice: Make, write_wav: Make) -> None:
    with pytest.raises(MissingPrerequisite, match="path not found"):
        Imported(ImportedParams(path=str(tmp_path / "absent"))).check()
    file = write_wav(tmp_path / "one.wav", Audio(np.zeros(10, np.float32), 16_000))
    with pytest.raises(MissingPrerequisite, match="not a folder"):
        Imported(ImportedParams(path=str(file))).check()


def test_a_subset_is_a_folder_and_nothing_else_stands_in_for_it(
    tmp_path: Path, build: Make, make_request: Make, write_wav: Make
) -> None:
    """DNS 2020 has fileid_1 in two subsets: one file must never be scored for both."""
    (tmp_path / "no_reverb").mkdir()
    write_wav(tmp_path / "no_reverb" / "fileid_1.wav", Audio(np.full(800, 0.25, dtype=np.float32), 16_000))
    write_wav(tmp_path / "fileid_1.wav", Audio(np.full(800, 0.5, dtype=np.float32), 16_000))
    system = build("imported", path=str(tmp_path))
    assert system.generate(make_request(id="fileid_1", subset="no_reverb")).samples[0] == 0.25
    with pytest.raises(ItemError, match=r"expected with_reverb/fileid_1\.wav"):
        system.generate(make_request(id="fileid_1", subset="with_reverb"))
