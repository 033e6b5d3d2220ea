from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from metis_bench.corpora.base import LoadedCorpus, corpora
from metis_bench.corpora.folder import Folder, FolderParams
from metis_bench.errors import CorpusError, MissingPrerequisite


def read(root: Path | None, **params: str) -> LoadedCorpus:
    return Folder(FolderParams.model_validate({"task": "se", **params}), root, Path("unused")).load()


def manifest(root: Path, *records: object, name: str = "manifest.jsonl") -> Path:
    path = root / name
    lines = [r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_registered_and_needs_no_root() -> None:
    assert corpora.get("folder") is Folder and Folder.default_folder is None


def test_every_key_of_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.wav", "p.wav", "r.wav")
    full = {
        "id": "one",
        "text": "Hello.",
        "prompt": "p.wav",
        "prompt_text": "Prompt.",
        "source": "in/a.wav",
        "reference": str(tmp_path / "r.wav"),
        "cluster": "ann",
        "subset": "hard",
        "language": "de",
        "meta": {"snr": 3.5, "tags": ["x"]},
    }
    manifest(tmp_path, full, {"source": "in/a.wav", "prompt": None})
    corpus = read(tmp_path)
    first, second = corpus.items
    assert (first.id, first.text, first.prompt_text, first.cluster) == ("one", "Hello.", "Prompt.", "ann")
    assert (first.prompt, first.source) == (tmp_path / "p.wav", tmp_path / "in/a.wav")
    assert first.reference == tmp_path / "r.wav" and first.meta == {"snr": 3.5, "tags": ["x"]}
    assert (first.subset, first.language, first.task) == ("hard", "de", "se")
    assert (second.id, second.cluster, second.subset, second.language) == ("a", "a", "", "en")
    assert second.prompt is None and second.meta == {}
    assert list(corpus.subsets) == ["hard", ""] and corpus.subsets["hard"].official_count is None
    assert corpus.subsets["hard"].provides == {"text", "prompt", "prompt_text", "source", "reference"}
    assert corpus.subsets[""].provides == {"source"} and corpus.warnings == ()


def test_a_field_of_one_item_is_provided_by_its_subset(tmp_path: Path) -> None:
    touch(tmp_path, "p.wav")
    manifest(tmp_path, {"id": "a", "text": "A."}, {"id": "b", "text": "B.", "prompt": "p.wav"})
    corpus = read(tmp_path, task="tts", language="fr")
    assert corpus.subsets[""].provides == {"text", "prompt"}
    assert corpus.items[0].prompt is None and corpus.items[0].language == "fr"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"id": "b", "source": "b.wav", "promt": "x"}, "unknown key 'promt'; did you mean 'prompt'"),
        ({"id": "a", "source": "b.wav"}, "the id 'a' is already on line 1"),
        ({"id": "b"}, "the task 'se' needs 'source'"),
        ({"id": "b", "source": None}, "the task 'se' needs 'source'"),
        ({"id": 3, "source": "b.wav"}, "'id' must be a string, not 3"),
        ({"source": "b.wav", "meta": [1]}, "'meta' must be an object"),
        ({"source": ["b.wav"]}, "'source' must be a string"),
        ({"source": ""}, "'source' is empty"),
        ({"source": "../b.wav"}, "leaves the corpus"),
        ({"source": "/etc/passwd"}, "leaves the corpus"),
        ({"source": "b.wav", "reference": "x/../../c.wav"}, "leaves the corpus"),
        ('{"source": "b\\u0000.wav"}', "not a path"),
        ('{"source": "b.wav", "meta": {"snr": NaN}}', "not valid JSON"),
        ('{"source": "b.wav", "meta": {"snr": 1e999}}', "not valid JSON"),
        ('{"source": "b.wav", "text": "\\ud800"}', "not valid JSON"),
        ('{"source": "b.wav", "source": "c.wav"}', "'source' is given twice"),
        ('{"source": "b.wav"', "not valid JSON: .* at column"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", "a JSON object is expected"),
        ('"x"', "a JSON object is expected"),
        ("", "blank line"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, second: object, reason: str) -> None:
    path = manifest(tmp_path, {"id": "a", "source": "a.wav"}, second, {"id": "z", "source": "z.wav"})
    with pytest.raises(CorpusError, match=reason) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{path}:2: ")


@pytest.mark.parametrize(
    ("task", "record", "lacking"),
    [
        ("tts", {"id": "a", "prompt": "p.wav"}, "text"),
        ("vc", {"source": "a.wav"}, "prompt"),
        ("vc", {"id": "a", "prompt": "p.wav"}, "source"),
        ("tse", {"source": "a.wav"}, "prompt"),
        ("l2s", {"id": "a", "text": "t"}, "source"),
    ],
)
def test_what_each_task_needs(tmp_path: Path, task: str, record: dict[str, str], lacking: str) -> None:
    manifest(tmp_path, record)
    with pytest.raises(CorpusError, match=f"the task '{task}' needs '{lacking}'"):
        read(tmp_path, task=task)


def test_the_same_id_in_two_subsets_is_fine(tmp_path: Path) -> None:
    manifest(tmp_path, *({"id": "a", "source": "a.wav", "subset": s} for s in ("x", "y")))
    assert [(i.subset, i.id) for i in read(tmp_path).items] == [("x", "a"), ("y", "a")]


def test_a_text_alone_needs_an_id(tmp_path: Path) -> None:
    manifest(tmp_path, {"text": "Hello."})
    with pytest.raises(CorpusError, match="'id' is needed"):
        read(tmp_path, task="tts")


def test_missing_files_stay_items(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    manifest(tmp_path, {"source": "a.wav"}, {"source": "b.wav"})
    corpus = read(tmp_path)
    assert len(corpus.items) == 2
    assert corpus.warnings == (f"1 of 2 source files are missing, first: {tmp_path / 'b.wav'}",)


def test_empty_or_misnamed_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_bytes(b"\n")
    with pytest.raises(CorpusError, match="the list is empty"):
        read(tmp_path)
    with pytest.raises(CorpusError, match=r"did you mean 'manifest\.jsonl'"):
        read(tmp_path, manifest="manifst.jsonl")
    with pytest.raises(CorpusError, match="leaves the corpus"):
        read(tmp_path, manifest="../m.jsonl")
    touch(tmp_path, "a.wav")
    manifest(tmp_path, {"source": "a.wav", "id": "other"}, name="b.jsonl")
    assert read(tmp_path, manifest="b.jsonl").items[0].id == "other"


def test_where_the_folder_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/a.wav")
    monkeypatch.chdir(tmp_path)
    assert [i.id for i in read(None, path="data").items] == ["a"]
    assert [i.id for i in read(tmp_path / "elsewhere", path="data").items] == ["a"], "path wins over the config"
    assert [i.id for i in read(tmp_path / "data").items] == ["a"]
    for root, params in ((None, {}), (tmp_path / "absent", {}), (None, {"path": "absent"})):
        with pytest.raises(MissingPrerequisite, match="needs your data") as caught:
            read(root, **params)
        assert "path: my_data" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "example"), [("tts", '"text"'), ("vc", '"prompt"'), ("tse", '"prompt"'), ("l2s", '"source"')]
)
def test_other_tasks_need_a_manifest_and_are_shown_one(tmp_path: Path, task: str, example: str) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(CorpusError, match=f"the task '{task}' needs a manifest") as caught:
        read(tmp_path, task=task)
    line = caught.value.fix.split("example:", 1)[1].strip() if caught.value.fix else ""
    assert example in line
    manifest(tmp_path, line)
    assert len(read(tmp_path, task=task).items) == 1, "the line that is shown is a valid one"


def test_plain_folder(tmp_path: Path) -> None:
    touch(tmp_path, "b.WAV", "sub/a.flac", "sub/deep/a.mp3", ".hidden.wav", ".git/x.wav", "readme.md", "z.m4a")
    (tmp_path / "b.txt").write_text("\ufeffHello,\n  world. \n", encoding="utf-8")
    (tmp_path / "sub/a.txt").write_text("\n", encoding="utf-8")
    corpus = read(tmp_path)
    assert [(i.id, i.text, i.cluster) for i in corpus.items] == [
        ("b", "Hello, world.", "b"),
        ("sub/a", None, "sub/a"),
        ("sub/deep/a", None, "sub/deep/a"),
    ]
    assert corpus.items[1].source == tmp_path / "sub/a.flac" and corpus.items[1].reference is None
    assert corpus.subsets[""].provides == {"source", "text"}
    assert corpus.warnings == (f"2 entries of {tmp_path} are not audio files and are ignored, first: readme.md",)


def test_noisy_and_clean(tmp_path: Path) -> None:
    touch(
        tmp_path, "noisy/a.wav", "noisy/s/b.wav", "noisy/c.wav", "clean/a.flac", "clean/s/b.wav", "clean/d.wav", "x.wav"
    )
    (tmp_path / "clean/a.txt").write_text("Words.", encoding="utf-8")
    corpus = read(tmp_path)
    assert [i.id for i in corpus.items] == ["a", "c", "d", "s/b"]
    a, c, d, b = corpus.items
    assert (a.source, a.reference, a.text) == (tmp_path / "noisy/a.wav", tmp_path / "clean/a.flac", "Words.")
    assert b.reference == tmp_path / "clean/s/b.wav"
    assert c.reference and not c.reference.exists() and d.source and not d.source.exists()
    assert corpus.subsets[""].provides == {"source", "reference", "text"}
    assert [w.split(",")[0] for w in corpus.warnings] == [
        f"only noisy/ and clean/ of {tmp_path} are read; ignored: x.wav",
        "1 of 4 source files are missing",
        "1 of 4 reference files are missing",
    ]


def test_same_name_twice(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "a.flac")
    with pytest.raises(CorpusError, match=r"'a\.flac' and 'a\.wav' have the same name"):
        read(tmp_path)


def test_links(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.wav", "far/c.wav")
    (tmp_path / "data/b.wav").symlink_to(tmp_path / "gone.wav")
    (tmp_path / "data/more").symlink_to(tmp_path / "far")
    corpus = read(tmp_path / "data")
    assert [i.id for i in corpus.items] == ["a", "b"]
    assert any("not audio files" in w and "more" in w for w in corpus.warnings), "never dropped in silence"
    assert any("1 of 2 source files are missing" in w for w in corpus.warnings)


def test_no_audio_and_bad_text(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no audio files"):
        read(tmp_path)
    touch(tmp_path, "a.wav")
    (tmp_path / "a.txt").write_bytes(b"ok\n\xff")
    with pytest.raises(CorpusError, match="UTF-8") as caught:
        read(tmp_path)
    assert caught.value.line == 2


def test_wrong_params() -> None:
    for params in ({}, {"task": "asr"}, {"task": "se", "root": "x"}):
        with pytest.raises(ValidationError):
            FolderParams.model_validate(params)


def test_real_recordings(real: Path) -> None:
    root = real / "voicebank_demand"
    names = sorted(p.name for p in (root / "noisy_trainset_28spk_wav_16k").iterdir() if p.suffix == ".wav")
    corpus = read(root / "noisy_trainset_28spk_wav_16k")
    assert (
        [f"{i.id}.wav" for i in corpus.items]
        == names
        == ["p287_001.wav", "p287_002.wav", "p287_003.wav", "p287_004.wav"]
    )
