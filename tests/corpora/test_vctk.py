"""VCTK: seeded pairs, on a made tree in the real layout and on the real excerpt."""

from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench.corpora.base import LoadedCorpus
from metis_bench.corpora.vctk import Vctk, VctkParams, read_utterances, words
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.suite.plan import test_sets as plan_sets


def recording(tree: Path, name: str, text: str | None, mics: str = "12") -> None:
    speaker = name.split("_")[0]
    for mic in mics:
        path = tree / "wav48_silence_trimmed" / speaker / f"{name}_mic{mic}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"flac")
    if text is not None:
        path = tree / "txt" / speaker / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "VCTK-Corpus-0.92"
    for speaker in ("p225", "p226", "p227", "s5"):
        for number in range(1, 7):
            recording(root, f"{speaker}_{number:03d}", f"Sentence number {number}.")
    recording(root, "p315_001", None)
    recording(root, "p280_001", "Only one microphone.", "1")
    (root / "wav48_silence_trimmed" / "log.txt").write_text("x")
    (root / "wav48_silence_trimmed" / "p225" / "p226_900_mic2.flac").write_bytes(b"")
    return root


def read(root: Path | None, **params: object) -> LoadedCorpus:
    return Vctk(VctkParams.model_validate(params), root, Path("unused")).load()


def test_cross_pairs_are_of_two_speakers_who_say_different_words(tree: Path) -> None:
    corpus = read(tree, items=24)
    assert len(corpus.items) == 24 and len({i.id for i in corpus.items}) == 24
    for item in corpus.items:
        assert item.source and item.prompt and item.text and item.prompt_text
        assert item.source.parent != item.prompt.parent and words(item.text) != words(item.prompt_text)
        assert item.cluster == item.prompt.parent.name == item.meta["speaker"] and item.reference is None
        assert item.source.name.endswith("_mic2.flac")
    assert len({i.cluster for i in corpus.items}) == 4
    told = " ".join(corpus.warnings)
    assert "left out: 1 recordings that have no text" in told
    assert "left out: 1 recordings that have no recording by mic2" in told
    assert "left out: 1 recordings that are called otherwise" in told
    assert "4 of 108 speakers" in told


def test_same_pairs_are_of_one_speaker(tree: Path) -> None:
    for item in read(tree, items=10, pairing="same").items:
        assert item.source and item.prompt
        assert item.source.parent == item.prompt.parent and item.source != item.prompt


def test_the_list_is_the_seeds(tree: Path) -> None:
    ids = [i.id for i in read(tree, items=12).items]
    assert ids == [i.id for i in read(tree.parent, items=12).items]
    assert [i.id for i in read(tree, items=5).items] == ids[:5], "fewer items are the first ones"
    assert ids != [i.id for i in read(tree, items=12, seed=1).items]
    recording(tree, "p228_001", "Another voice.")
    other = [i.id for i in read(tree, items=12).items]
    assert other != ids


def test_mic1(tree: Path) -> None:
    found, warnings = read_utterances(tree, "mic1")
    assert "p280_001" in {u.name for u in found} and not any("mic1" in w for w in warnings)


def test_too_few(tree: Path) -> None:
    corpus = read(tree, items=500)
    assert len(corpus.items) == 24 and any("24 pairs could be drawn, not 500" in w for w in corpus.warnings)


def test_what_cannot_be_used(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingPrerequisite, match="datashare"):
            read(root)
    recording(tmp_path / "a", "p225_001", "One.", "1")
    with pytest.raises(CorpusError, match="choose the other one"):
        read(tmp_path / "a")
    recording(tmp_path / "b", "p225_001", "One.")
    recording(tmp_path / "b", "p226_001", "one")
    with pytest.raises(CorpusError, match="no pair of different words"):
        read(tmp_path / "b")
    (tmp_path / "b" / "txt" / "p225" / "p225_001.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CorpusError, match="UTF-8"):
        read(tmp_path / "b")


def test_real_excerpt(real: Path) -> None:
    corpus = read(real / "vctk", mic="mic1", items=20)
    assert len(corpus.items) == 20
    (test_set,) = plan_sets("vctk", corpus, None)
    assert not [p.item.id for p in test_set.items if any(f.error for f in p.files.values())]
    with pytest.raises(CorpusError, match="mic2"):
        read(real / "vctk")
