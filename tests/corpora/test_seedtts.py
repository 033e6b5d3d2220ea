from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from metis_bench.corpora.base import LoadedCorpus, corpora
from metis_bench.corpora.seedtts import SeedTts, SeedTtsParams
from metis_bench.errors import CorpusError, MissingPrerequisite

OFFICIAL_LINE = (
    "common_voice_en_10119832-common_voice_en_10119840|We asked over twenty different people, and they all said it was "
    "his.|prompt-wavs/common_voice_en_10119832.wav|Get the trust fund to the bank early."
)


def read(root: Path | None, **params: str) -> LoadedCorpus:
    return SeedTts(SeedTtsParams.model_validate(params), root, Path("unused")).load()


def make(root: Path, lines: str | bytes, *, wavs: bool = True, name: str = "en/meta.lst") -> Path:
    path = root / name
    path.parent.mkdir(parents=True)
    path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    if wavs:
        (path.parent / "wavs").mkdir()
    return path


def test_registered() -> None:
    assert corpora.get("seedtts") is SeedTts and SeedTts.default_folder == "seedtts"


def test_official_line(tmp_path: Path) -> None:
    make(tmp_path, OFFICIAL_LINE)
    corpus = read(tmp_path)
    (item,) = corpus.items
    assert item.id == "common_voice_en_10119832-common_voice_en_10119840"
    assert item.prompt == tmp_path / "en/prompt-wavs/common_voice_en_10119832.wav"
    assert item.prompt_text == "We asked over twenty different people, and they all said it was his."
    assert item.text == "Get the trust fund to the bank early." and (item.task, item.language) == ("tts", "en")
    assert item.reference == tmp_path / f"en/wavs/{item.id}.wav"
    assert item.cluster == item.id.split("-")[0]
    assert corpus.subsets[""].provides == {"text", "prompt", "prompt_text", "reference"}
    assert corpus.subsets[""].official_count == 1088


def test_the_other_forms(tmp_path: Path) -> None:
    make(tmp_path, "a-b|pt|p/a.wav|t1|gt/b.wav\nc-d.wav|t2|p/c.wav\ne.wav|pt|p/e.wav|t3\n", wavs=False)
    five, three, four = read(tmp_path).items
    assert five.reference == tmp_path / "en/gt/b.wav" and (five.text, five.prompt_text) == ("t1", "pt")
    assert (three.id, three.text, three.prompt_text) == ("c-d", "t2", None), "this form alone cuts .wav off utt"
    assert three.prompt == tmp_path / "en/p/c.wav" and three.reference is None
    assert four.id == "e.wav" and four.reference is None


def test_what_a_list_does_not_have_is_not_provided(tmp_path: Path) -> None:
    make(tmp_path, "c-d|t|p/c.wav", wavs=False)
    assert read(tmp_path).subsets[""].provides == {"text", "prompt"}


def test_bom_crlf_and_blank_end(tmp_path: Path) -> None:
    make(tmp_path, b"\xef\xbb\xbfa|pt|p.wav|t\r\nb|pt|p.wav|u\r\n\r\n\r\n")
    assert [(i.id, i.text) for i in read(tmp_path).items] == [("a", "t"), ("b", "u")]


@pytest.mark.parametrize("place", [".", "seedtts_testset", "seedtts", "seedtts/seedtts_testset"])
def test_roots(tmp_path: Path, place: str) -> None:
    make(tmp_path / place, OFFICIAL_LINE)
    assert len(read(tmp_path).items) == 1


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("a", "1 fields"),
        ("a|t", "zero-shot TTS needs one"),
        ("a|pt|p.wav|t|r.wav|x", "6 fields"),
        ("|pt|p.wav|t", "utt is empty"),
        (".wav|t|p.wav", "utt is empty"),
        ("a|pt|p.wav| ", "text is empty"),
        ("a|pt||t", "prompt_wav is empty"),
        ("ok|pt|p.wav|t", "'ok' is already on line 1"),
        ("a|pt|../../p.wav|t", "leaves the corpus"),
        ("a|pt|/etc/passwd|t", "absolute"),
        ("a|pt|p.wav|t|../../r.wav", "leaves the corpus"),
        ("../../a|pt|p.wav|t", "cannot hold a slash"),
        ("a\0|pt|p.wav|t|r.wav", "cannot hold a slash"),
        ("", "blank line"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, second: str, reason: str) -> None:
    path = make(tmp_path, f"ok|pt|p.wav|t\n{second}\nlast|pt|p.wav|t\n")
    with pytest.raises(CorpusError, match=reason) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_warnings(tmp_path: Path) -> None:
    path = make(tmp_path, "a|same|p.wav|same\nb|pt|p.wav|t\n")
    (path.parent / "wavs/a.wav").write_bytes(b"x")
    corpus = read(tmp_path)
    assert len(corpus.items) == 2 and corpus.items[1].reference == path.parent / "wavs/b.wav"
    assert corpus.warnings == (
        "en/meta.lst: 2 of 1088 items of the official release: not comparable with published numbers",
        f"2 of 2 prompt files of en/meta.lst are missing, first: {path.parent / 'p.wav'}",
        f"1 of 2 reference files of en/meta.lst are missing, first: {path.parent / 'wavs/b.wav'}",
        "en/meta.lst: 1 items ask for the very words of their prompt",
    )


def test_official_counts_give_no_count_warning(tmp_path: Path) -> None:
    for name, count, params in (
        ("en/meta.lst", 1088, {}),
        ("zh/meta.lst", 2020, {"lang": "zh"}),
    ):
        make(tmp_path, "".join(f"u{i}|pt|p.wav|t\n" for i in range(count)), name=name)
        assert not any("official release" in w for w in read(tmp_path, **params).warnings)


def test_absent_list(tmp_path: Path) -> None:
    make(tmp_path, OFFICIAL_LINE)
    with pytest.raises(MissingPrerequisite, match=r"looked for zh/meta\.lst") as caught:
        read(tmp_path, lang="zh")
    assert "seed-tts-eval" in str(caught.value) and "CC0" in str(caught.value) and caught.value.exit_code == 5
    with pytest.raises(MissingPrerequisite):
        read(None)


CONVERSION = {"list": "non_para_reconstruct_meta"}


def test_the_conversion_list(tmp_path: Path) -> None:
    """The fifth field is the source, and no `wavs/` file may pass for what nobody recorded."""
    path = make(tmp_path, "a-b|pt|p/a.wav|t|wavs/b.wav\n", name="en/non_para_reconstruct_meta.lst")
    (path.parent / "wavs/a-b.wav").write_bytes(b"x")
    corpus = read(tmp_path, **CONVERSION)
    (item,) = corpus.items
    assert (item.task, item.text, item.prompt_text, item.cluster) == ("vc", "t", "pt", "a")
    assert (item.source, item.prompt) == (path.parent / "wavs/b.wav", path.parent / "p/a.wav")
    assert item.reference is None
    assert corpus.subsets[""].provides == {"text", "prompt", "prompt_text", "source"}
    assert corpus.subsets[""].official_count == 1086
    assert any("source files of en/non_para_reconstruct_meta.lst are missing" in w for w in corpus.warnings)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a|pt|p.wav|t", "needs a fifth field"),
        ("a|t|p.wav", "needs a fifth field"),
        ("a|pt|p.wav|t| ", "needs a fifth field"),
        ("a|pt|p.wav|t|../../s.wav", "leaves the corpus"),
    ],
)
def test_a_conversion_needs_a_source(tmp_path: Path, line: str, reason: str) -> None:
    path = make(tmp_path, f"ok|pt|p.wav|t|s.wav\n{line}\n", name="en/non_para_reconstruct_meta.lst")
    with pytest.raises(CorpusError, match=reason) as caught:
        read(tmp_path, **CONVERSION)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_real_conversion_list(real: Path) -> None:
    corpus = read(real, **CONVERSION)
    assert len(corpus.items) == 10
    assert all(i.source and i.source.is_file() and i.prompt and i.prompt.is_file() and i.text for i in corpus.items)


@pytest.mark.parametrize("params", [{"lang": "de"}, {"list": "hardcase"}, {"speaker": "x"}])
def test_wrong_params(params: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        SeedTtsParams.model_validate(params)


@pytest.mark.parametrize("below", ["", "seedtts"])
def test_real_english_layout(real: Path, below: str) -> None:
    corpus = read(real / below)
    assert len(corpus.items) == 10 and len(corpus.warnings) == 1
    for item in corpus.items:
        assert item.prompt and item.prompt.is_file() and item.reference and item.reference.is_file()
        assert item.prompt_text and item.text and item.text != item.prompt_text
        assert item.id.startswith(f"{item.cluster}-")
    clusters = {item.id: item.cluster for item in corpus.items}
    assert clusters["LJ001-0008-LJ001-0002"] == "LJ001-0008" and len(set(clusters.values())) == 10


def test_real_chinese_layout(real: Path) -> None:
    corpus = read(real, lang="zh")
    assert [i.language for i in corpus.items] == ["zh"] * 3 and corpus.items[0].text == "今天下午我们一起去公园散步吧。"
    assert corpus.subsets[""].provides == {"text", "prompt", "prompt_text"}, "this set has no wavs/"
    hard = read(real, lang="zh", list="hardcase")
    assert [i.id for i in hard.items] == ["BAC009S0724W0121-hard00"] and hard.subsets[""].official_count == 400
