"""LibriSpeech: both protocols, on a made tree in the real layout and on the real excerpt."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav, load, probe
from metis_bench.corpora import published
from metis_bench.corpora.base import LoadedCorpus
from metis_bench.corpora.librispeech import F5_COUNT, F5_LIST, LibriSpeech, LibriSpeechParams
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.suite.plan import test_sets as plan_sets


def utterance(
    tree: Path, name: str, seconds: float, text: str | None = "SOME WORDS", split: str = "test-clean"
) -> Path:
    speaker, chapter, _ = name.split("-")
    path = tree / split / speaker / chapter / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(int(speaker)).standard_normal(round(16_000 * seconds)).astype(np.float32) * 0.1
    path.write_bytes(encode_wav(Audio(samples, 16_000)))  # libsndfile goes by content
    if text is not None:
        with (path.parent / f"{speaker}-{chapter}.trans.txt").open("a") as stream:
            stream.write(f"{name} {text}\n")
    return path


def read(root: Path | None, tmp_path: Path, **params: object) -> LoadedCorpus:
    return LibriSpeech(LibriSpeechParams.model_validate(params), root, tmp_path / "cache" / "librispeech").load()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    for name, seconds in (("1-10-0000", 5), ("1-10-0001", 3.5), ("1-11-0000", 7), ("2-20-0000", 4.5), ("2-20-0001", 2),
                          ("3-30-0000", 6), ("1-10-0002", 10), ("1-10-0003", 4)):  # fmt: skip
        utterance(root, name, seconds)
    return root


def test_valle_targets_have_prompts_of_their_speaker(tree: Path, tmp_path: Path) -> None:
    corpus = read(tree, tmp_path, protocol="valle-4-10s")
    assert [i.id for i in corpus.items] == ["1-10-0000", "1-11-0000"], "4 < seconds < 10, and another one of 3 to 6 s"
    for item in corpus.items:
        assert item.prompt and item.reference and item.prompt != item.reference
        assert item.meta["prompt"] in ("1-10-0000", "1-10-0001", "1-10-0003") and item.prompt_text == "SOME WORDS"
        assert item.cluster == "1" and item.reference.is_file() and item.prompt.is_file()
    assert any("2 utterances are left out" in w for w in corpus.warnings)
    assert any("2 of 1234 items" in w for w in corpus.warnings)
    assert corpus.items == read(tree.parent, tmp_path, protocol="valle-4-10s").items, "the root may be the folder above"
    others = {read(tree, tmp_path, protocol="valle-4-10s", seed=s).items[1].meta["prompt"] for s in range(12)}
    assert len(others) > 1, "another seed draws other prompts"


def test_valle_cuts_are_made_for_the_plan_alone(tree: Path, tmp_path: Path) -> None:
    corpus = read(tree, tmp_path, protocol="valle-4-10s", prompt="cut")
    assert corpus.subsets[""].provides == {"text", "prompt", "reference"}, "nobody knows what the first 3 s say"
    assert not list((tmp_path / "cache").rglob("*.wav"))
    (planned,) = plan_sets("libri", corpus, 1)[0].items
    path = planned.files["prompt"].path
    assert probe(path).seconds == 3.0 and planned.files["prompt"].sha256
    whole = load(Path(str(planned.item.meta["prompt_file"]))).samples
    assert np.array_equal(load(path).samples, whole[:48_000])
    assert len(list((tmp_path / "cache").rglob("*.wav"))) == 1


def test_an_unreadable_prompt_is_a_failed_row(tree: Path, tmp_path: Path) -> None:
    corpus = read(tree, tmp_path, protocol="valle-4-10s", prompt="cut")
    Path(str(corpus.items[0].meta["prompt_file"])).write_bytes(b"")
    (test_set,) = plan_sets("libri", corpus, None)
    assert len(test_set.items) == len(corpus.items)
    assert "empty" in str(test_set.items[0].files["prompt"].error)


def listed(tree: Path, lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tree / F5_LIST
    path.write_text(lines)
    known = published.LISTS[F5_LIST]
    other = published.Download(known.name, known.url, published.sha256_file(path), len(lines), known.licence)
    monkeypatch.setitem(published.LISTS, F5_LIST, other)


LINE = "1-10-0001\t3.500\tA prompt.\t1-10-0000\t5.000\tA text, as written.\n"


def test_the_f5_list(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPrerequisite, match="curl --create-dirs"):
        read(tree, tmp_path)
    listed(tree, LINE + LINE.replace("1-10-0000", "2-20-0000").replace("1-10-0001", "2-20-0001"), monkeypatch)
    corpus = read(tree, tmp_path)
    one, two = corpus.items
    assert (one.id, one.text, one.prompt_text, one.cluster) == ("1-10-0000", "A text, as written.", "A prompt.", "1")
    assert (
        one.prompt == tree / "test-clean/1/10/1-10-0001.flac"
        and two.reference == tree / "test-clean/2/20/2-20-0000.flac"
    )
    assert any(f"2 of {F5_COUNT} items" in w for w in corpus.warnings)
    (tree / F5_LIST).write_text(LINE)
    with pytest.raises(CorpusError, match="not the published list"):
        read(tree, tmp_path)
    (tmp_path / "cache" / "lists").mkdir(parents=True)
    listed(tree, LINE, monkeypatch)
    shutil.move(tree / F5_LIST, tmp_path / "cache" / "lists" / F5_LIST)
    assert len(read(tree, tmp_path).items) == 1, "downloaded lists are kept in the cache"


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        (LINE + "a\tb\n", 2, "6 fields"),
        (LINE + LINE, 2, "already on line 1"),
        (LINE.replace("1-10-0000", "../x"), 1, "is no utterance id"),
        (LINE.replace("1-10-0001", "1-10"), 1, "is no utterance id"),
        (LINE.replace("A prompt.", " "), 1, "6 fields"),
        (LINE + "\n" + LINE.replace("1-10-0000", "1-10-0002"), 2, "blank line"),
    ],
)
def test_wrong_lists(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, line: int, words: str
) -> None:
    listed(tree, lines, monkeypatch)
    with pytest.raises(CorpusError, match=words) as caught:
        read(tree, tmp_path)
    assert caught.value.line == line


@pytest.mark.parametrize("text", ["1-10-0000", "X Y\n", "1-10-0000 A\n1-10-0000 B\n"])
def test_wrong_transcripts(tree: Path, tmp_path: Path, text: str) -> None:
    (tree / "test-clean/1/10/1-10.trans.txt").write_text(text)
    with pytest.raises(CorpusError) as caught:
        read(tree, tmp_path, protocol="valle-4-10s")
    assert caught.value.where == tree / "test-clean/1/10/1-10.trans.txt" and caught.value.line


def test_without_a_tree_it_says_what_to_get(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingPrerequisite, match=r"openslr\.org") as caught:
            read(root, tmp_path, protocol="valle-4-10s")
        assert "corpora: {librispeech:" in str(caught.value)


def test_real_excerpt(shared: Path, tmp_path: Path) -> None:
    root = shared / "data/real/librispeech"
    corpus = read(root, tmp_path, protocol="valle-4-10s", split="test-other")
    assert len(corpus.items) > 10
    (test_set,) = plan_sets("libri", corpus, None)
    assert not [p.item.id for p in test_set.items if any(f.error for f in p.files.values())]
    with pytest.raises(CorpusError, match="a single utterance a speaker gives no prompt"):
        read(root, tmp_path, protocol="valle-4-10s")
    shutil.copytree(shared / "data/protocol/librispeech", tmp_path / "cache" / "lists")
    corpus = read(root, tmp_path)
    assert len(corpus.items) == F5_COUNT and len({i.cluster for i in corpus.items}) == 39
    assert any("1127 of 1127 utterances are missing" in w for w in corpus.warnings)
    assert all(i.prompt != i.reference and i.prompt.name.split("-")[0] == i.cluster for i in corpus.items if i.prompt)
