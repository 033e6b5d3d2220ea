from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import Audio, encode_wav, load
from metis_bench.corpora.base import LoadedCorpus, corpora
from metis_bench.corpora.dns2020 import Dns2020, Dns2020Params
from metis_bench.errors import CorpusError, MissingPrerequisite

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 320044\n"
WAV = encode_wav(Audio(np.zeros(160, dtype=np.float32), 16000))


def read(root: Path | None, *subsets: str) -> LoadedCorpus:
    params = Dns2020Params.model_validate({"subsets": subsets} if subsets else {})
    return Dns2020(params, root, Path("unused")).load()


def make(test_set: Path, ids: tuple[int, ...] = (3, 20, 100), subset: str = "no_reverb") -> Path:
    """A test set with one noisy and one clean file an id; returns the subset's folder."""
    folder = test_set / "synthetic" / subset
    for kind in ("noisy", "clean"):
        (folder / kind).mkdir(parents=True)
    for key in ids:
        (folder / f"noisy/clnsp{key}_Unt_WsHPhfA_snr{key % 20}_tl-30_fileid_{key}.wav").write_bytes(WAV)
        (folder / f"clean/clean_fileid_{key}.wav").write_bytes(WAV)
    return folder


def test_registered() -> None:
    assert corpora.get("dns2020") is Dns2020 and Dns2020.default_folder == "dns2020"


def test_pairs_in_numeric_order(tmp_path: Path) -> None:
    make(tmp_path)
    corpus = read(tmp_path, "no_reverb")
    assert [i.id for i in corpus.items] == ["fileid_3", "fileid_20", "fileid_100"]
    item = corpus.items[2]
    assert (item.task, item.subset, item.cluster, item.text) == ("se", "no_reverb", "fileid_100", None)
    assert item.source and item.source.name == "clnsp100_Unt_WsHPhfA_snr0_tl-30_fileid_100.wav"
    assert item.reference and item.reference.name == "clean_fileid_100.wav" and item.reference.parent.name == "clean"
    assert item.meta == {"snr": 0, "tl": -30, "noise": "Unt_WsHPhfA"}
    assert corpus.subsets["no_reverb"].provides == {"source", "reference"}
    assert corpus.subsets["no_reverb"].official_count == 150
    assert corpus.warnings == (
        "subset no_reverb: 3 of 150 items of the official release: not comparable with published numbers",
    )


@pytest.mark.parametrize(
    "place", ["datasets/test_set", "test_set", ".", "dns2020/datasets/test_set", "dns2020/test_set", "dns2020"]
)
def test_roots(tmp_path: Path, place: str) -> None:
    make(tmp_path / place)
    assert len(read(tmp_path, "no_reverb").items) == 3


def test_official_counts_give_no_warning(tmp_path: Path) -> None:
    make(tmp_path, tuple(range(150)))
    make(tmp_path, tuple(range(150, 300)), "with_reverb")
    (tmp_path / "real_recordings").mkdir()
    for number in range(300):
        (tmp_path / f"real_recordings/rec_{number:03}.wav").write_bytes(WAV)
    corpus = read(tmp_path)
    assert corpus.warnings == () and Counter(i.subset for i in corpus.items) == {
        "no_reverb": 150,
        "with_reverb": 150,
        "real": 300,
    }


def test_missing_halves_stay_in_the_denominator(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "clean/clean_fileid_20.wav").unlink()
    next((folder / "noisy").glob("*fileid_3.wav")).unlink()
    corpus = read(tmp_path, "no_reverb")
    first, second, third = corpus.items
    assert first.source and not first.source.exists() and first.reference and first.reference.exists()
    assert first.meta == {}
    assert second.reference == folder / "clean/clean_fileid_20.wav" and not second.reference.exists()
    assert third.source and third.source.exists()
    assert any("1 of 3 noisy files of no_reverb are missing" in w and "fileid_3.wav" in w for w in corpus.warnings)
    assert any(
        "1 of 3 clean files of no_reverb are missing" in w and "clean_fileid_20.wav" in w for w in corpus.warnings
    )


def test_two_files_with_one_id(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "noisy/other_fileid_0020.wav").write_bytes(WAV)
    with pytest.raises(CorpusError, match=r"clnsp20_.*fileid_20\.wav' and 'other_fileid_0020\.wav'"):
        read(tmp_path, "no_reverb")


def test_name_that_cannot_be_paired(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "noisy/speech.wav").write_bytes(WAV)
    with pytest.raises(CorpusError, match=r"'speech.wav' does not end in fileid_"):
        read(tmp_path, "no_reverb")


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path: Path) -> None:
    folder = make(tmp_path)
    for name in ("readme.txt", "notes.csv", ".DS_Store", "._clean_fileid_3.wav"):
        (folder / "clean" / name).write_bytes(b"x")
    warnings = read(tmp_path, "no_reverb").warnings
    assert [w for w in warnings if "ignored" in w] == [f"2 files in {folder / 'clean'} are not .wav and are ignored"]


def test_git_lfs_pointers(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "clean/clean_fileid_20.wav").write_bytes(POINTER)
    with pytest.raises(MissingPrerequisite, match="1 of 3 files are git-lfs pointers") as caught:
        read(tmp_path, "no_reverb")
    assert "git lfs pull -I datasets/test_set" in str(caught.value) and caught.value.exit_code == 5


def test_absent_tree_set_or_root(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="synthetic or real_recordings") as caught:
        read(tmp_path)
    assert "CC BY 4.0" in str(caught.value) and "git clone" in str(caught.value)
    with pytest.raises(MissingPrerequisite):
        read(None)
    make(tmp_path)
    with pytest.raises(MissingPrerequisite, match=r"with_reverb.*no such folder") as caught:
        read(tmp_path)
    assert "subsets: [" in str(caught.value)
    (tmp_path / "real_recordings").mkdir()
    with pytest.raises(MissingPrerequisite, match="no wav files"):
        read(tmp_path, "real")


def test_real_recordings_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "real_recordings").mkdir()
    for name in ("a.wav", "a.WAV"):
        (tmp_path / "real_recordings" / name).write_bytes(WAV)
    with pytest.raises(CorpusError, match=r"a\.WAV and a\.wav have the same name"):
        read(tmp_path, "real")


@pytest.mark.parametrize("subsets", [[], ["reverb"]])
def test_wrong_params(subsets: list[str]) -> None:
    with pytest.raises(ValidationError):
        Dns2020Params.model_validate({"subsets": subsets})


@pytest.mark.parametrize("below", ["", "dns2020"])
def test_real_layout(real: Path, below: str) -> None:
    corpus = read(real / below)
    assert Counter(i.subset for i in corpus.items) == {"no_reverb": 6, "with_reverb": 6, "real": 6}
    assert len(corpus.warnings) == 3 and "subset no_reverb: 6 of 150 items" in corpus.warnings[0]
    by_key = {(i.subset, i.id): i for i in corpus.items}
    assert len(by_key) == 18
    item = by_key["no_reverb", "fileid_181"]
    assert item.meta == {"snr": 20, "tl": -30, "noise": "perfectalley_1004_0"}
    assert corpus.subsets["real"].provides == {"source"}
    for item in corpus.items:
        assert item.source and item.source.is_file()
        assert (item.reference is None) == (item.subset == "real")
    noisy, clean = by_key["no_reverb", "fileid_229"].source, by_key["no_reverb", "fileid_229"].reference
    assert noisy and clean
    speech, noise = load(clean).samples, load(noisy).samples - load(clean).samples
    measured = 10 * np.log10((speech**2).sum() / (noise**2).sum())
    assert measured == pytest.approx(2.0, abs=0.1), "the right clean file: the SNR is the one in the noisy file's name"
