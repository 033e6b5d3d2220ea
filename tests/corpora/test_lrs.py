"""LRS2 and LRS3: lists, texts, prompts from SeedTTS, and the sound of a video as the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from metis_bench.corpora.base import LoadedCorpus
from metis_bench.corpora.lrs import Lrs2, Lrs2Params, Lrs3, Lrs3Params, spoken
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.suite.plan import test_sets as plan_sets

PROMPTS = "".join(f"{p}-{i}|What {p} says.|prompt-wavs/{p}.wav|Text {i}.\n" for p in ("a", "b", "c") for i in (1, 2))


def clip(folder: Path, name: str, text: str | None = "Text:  HELLO {NOISE} THERE\nConf:  3\n") -> None:
    path = folder / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"video")
    if text is not None:
        path.with_suffix(".txt").write_text(text)


@pytest.fixture
def seedtts(tmp_path: Path) -> Path:
    folder = tmp_path / "seedtts"
    (folder / "en" / "prompt-wavs").mkdir(parents=True)
    (folder / "en" / "meta.lst").write_text(PROMPTS)
    return folder


def others(seedtts: Path | None) -> Callable[[str], Path | None]:
    return {"seedtts": seedtts}.get


def lrs2(root: Path | None, seedtts: Path | None, **params: object) -> LoadedCorpus:
    return Lrs2(Lrs2Params.model_validate(params), root, Path("unused") / "lrs2", "lrs2", others(seedtts)).load()


def test_lrs2_reads_its_list(tmp_path: Path, seedtts: Path) -> None:
    tree = tmp_path / "mvlrs_v1"
    for name in ("6330311066473698535/00011", "6330311066473698535/00018", "5535415699068794046/00001"):
        clip(tree / "main", name)
    (tree / "test.txt").write_text(
        "6330311066473698535/00011 NF\n5535415699068794046/00001 MV\n6330311066473698535/00099 NF\n"
    )
    corpus = lrs2(tmp_path, seedtts)
    assert [i.id for i in corpus.items] == [
        "6330311066473698535-00011", "5535415699068794046-00001", "6330311066473698535-00099"
    ]  # fmt: skip
    item = corpus.items[0]
    assert (item.task, item.text, item.cluster) == ("l2s", "HELLO THERE", "6330311066473698535")
    assert item.video == tree / "main/6330311066473698535/00011.mp4"
    assert item.prompt and item.prompt.parent == seedtts / "en/prompt-wavs" and item.prompt_text
    assert corpus.subsets[""].official_count == 1243
    told = " ".join(corpus.warnings)
    assert "1 of 3 videos are missing" in told and "1 of 3 clips have no text" in told and "3 of 1243" in told
    assert corpus.items == lrs2(tree, seedtts).items
    drawn = {tuple(i.prompt for i in lrs2(tree, seedtts, seed=s).items) for s in range(6)}
    assert len(drawn) > 1
    silent = lrs2(tree, None, prompts="none")
    assert silent.subsets[""].provides == {"text", "video", "reference"} and silent.items[0].prompt is None


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [("a\n", 1, "is not <programme>/<clip>"), ("a/1\na/1 x\n", 2, "already on line 1"), ("../x/1\n", 1, "is not"),
     ("", None, "empty"), ("../1\n", 1, "leaves the corpus")],
)  # fmt: skip
def test_wrong_lists(tmp_path: Path, seedtts: Path, lines: str, line: int | None, words: str) -> None:
    (tmp_path / "test.txt").write_text(lines)
    with pytest.raises(CorpusError, match=words) as caught:
        lrs2(tmp_path, seedtts)
    assert caught.value.line == line


def test_lrs3_is_its_folder(tmp_path: Path, seedtts: Path) -> None:
    for name in ("0Fi83BHQsMA/00002", "0Fi83BHQsMA/00004", "zzz/00001"):
        clip(tmp_path / "lrs3" / "test", name)
    corpus = Lrs3(Lrs3Params(), tmp_path, tmp_path / "cache" / "lrs3", "lrs3", others(seedtts)).load()
    assert [i.id for i in corpus.items] == ["0Fi83BHQsMA-00002", "0Fi83BHQsMA-00004", "zzz-00001"]
    assert [i.cluster for i in corpus.items] == ["0Fi83BHQsMA", "0Fi83BHQsMA", "zzz"]
    assert any("3 of 1321" in w for w in corpus.warnings), "the release in use, not the 1452 of its paper"
    (tmp_path / "empty" / "test").mkdir(parents=True)
    with pytest.raises(CorpusError, match="no clip there"):
        Lrs3(Lrs3Params(), tmp_path / "empty", tmp_path, "lrs3", others(seedtts)).load()


@pytest.mark.parametrize(("count", "told"), [(1321, ""), (1452, "1452 clips are the test set of the corpus' paper")])
def test_two_releases_of_lrs3_are_told_apart(tmp_path: Path, count: int, told: str) -> None:
    for number in range(count):
        clip(tmp_path / "test", f"video{number % 20}/{number:05}")
    params = Lrs3Params.model_validate({"prompts": "none"})
    warnings = " ".join(Lrs3(params, tmp_path, Path("unused") / "lrs3", "lrs3", others(None)).load().warnings)
    assert (told in warnings) if told else not warnings


def test_what_is_missing_is_named(tmp_path: Path, seedtts: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingPrerequisite, match="sign the agreement"):
            lrs2(root, seedtts)
    clip(tmp_path / "main", "a/1")
    (tmp_path / "test.txt").write_text("a/1\n")
    with pytest.raises(MissingPrerequisite, match="prompts of SeedTTS test-en") as caught:
        lrs2(tmp_path, None)
    assert "prompts: none" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("Text:  A B\nConf: 1\n", "A B"), ("Text: {LAUGH}\n", None), ("Text:A{X}B\r\n", "A B"), ("\ufeffText: Z\n", "Z")],
)
def test_texts(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    assert spoken(path) == said


def test_a_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("HELLO\n")
    with pytest.raises(CorpusError, match="does not begin with 'Text:'"):
        spoken(tmp_path / "a.txt")
    assert spoken(tmp_path / "none.txt") is None


def test_the_reference_is_the_videos_sound(tmp_path: Path, real: Path) -> None:
    pytest.importorskip("av")
    tree = tmp_path / "tree"
    shutil.copytree(real / "lrs/grid", tree)
    names = sorted(p.stem for p in (tree / "main/grid").glob("*.mp4"))
    (tree / "test.txt").write_text("".join(f"grid/{n}\n" for n in names))
    (tree / "main/grid" / f"{names[-1]}.mp4").write_bytes(b"broken")
    corpus = Lrs2(Lrs2Params(), tree, tmp_path / "cache" / "lrs2", "lrs2", others(real / "seedtts")).load()
    (test_set,) = plan_sets("lrs2", corpus, None)
    assert len(test_set.items) == len(names)
    *good, bad = [p.files["reference"] for p in test_set.items]
    assert all(f.info and 2.9 < f.info.seconds < 3.2 for f in good)
    assert bad.error and "cannot be decoded" in bad.error
    assert not any(p.files["prompt"].error for p in test_set.items)
    cropped = tree / "main/grid" / f"{names[0]}.wav"
    shutil.copy(good[0].path, cropped)
    again = Lrs2(Lrs2Params(), tree, tmp_path / "cache" / "lrs2", "lrs2", others(real / "seedtts")).load()
    assert again.items[0].reference == cropped, "of trees that are cropped to mouths"
