from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import load
from metis_bench.config import Config
from metis_bench.corpora.base import LoadedCorpus, corpora
from metis_bench.corpora.folder import Folder, FolderParams
from metis_bench.corpora.tracks import audio_track
from metis_bench.engine.prepare import load_corpus
from metis_bench.errors import AudioError, CorpusError, MissingPrerequisite
from metis_bench.suite.schema import CorpusSpec


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
    touch(tmp_path, "in/a.wav", "in/a.mp4", "p.wav", "r.wav")
    full = {
        "id": "one",
        "text": "Hello.",
        "prompt": "p.wav",
        "prompt_text": "Prompt.",
        "source": "in/a.wav",
        "video": "in/a.mp4",
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
    assert first.video == tmp_path / "in/a.mp4" and second.video is None
    assert first.reference == tmp_path / "r.wav" and first.meta == {"snr": 3.5, "tags": ["x"]}
    assert (first.subset, first.language, first.task) == ("hard", "de", "se")
    assert (second.id, second.cluster, second.subset, second.language) == ("a", "a", "", "en")
    assert second.prompt is None and second.meta == {}
    assert list(corpus.subsets) == ["hard", ""] and corpus.subsets["hard"].official_count is None
    assert corpus.subsets["hard"].provides == {"text", "prompt", "prompt_text", "source", "reference", "video"}
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
        ({"source": "b.wav", "video": "../c.mp4"}, "leaves the corpus"),
        ({"source": "b.wav", "video": 3}, "'video' must be a string"),
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
        ("l2s", {"id": "a", "source": "a.wav"}, "video"),
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
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(MissingPrerequisite, match=r"no manifest 'list\.jsonl' yet") as caught:
        read(tmp_path, manifest="list.jsonl")
    assert '"source"' in str(caught.value), "nothing to mistype: it has to be written first, and this is how"
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
    ("task", "example"), [("tts", '"text"'), ("vc", '"prompt"'), ("tse", '"prompt"'), ("l2s", '"video"')]
)
def test_other_tasks_need_a_manifest_and_are_shown_one(tmp_path: Path, task: str, example: str) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(CorpusError, match=f"the task '{task}' needs a manifest") as caught:
        read(tmp_path, task=task)
    line = caught.value.fix.split("example:", 1)[1].strip() if caught.value.fix else ""
    assert example in line
    manifest(tmp_path, line)
    assert len(read(tmp_path, task=task).items) == 1, "the line that is shown is a valid one"


def test_it_is_known_by_the_suites_name(tmp_path: Path) -> None:
    """In the machine's config: by name, else below the common root, else as `folder`."""
    touch(tmp_path, "here/a.wav", "root/mine/b.wav", "any/c.wav")
    spec = CorpusSpec("mine", "folder", FolderParams(task="se"))

    def ids(**places: str) -> list[str]:
        return [i.id for i in load_corpus(spec, Config(corpora={k: tmp_path / v for k, v in places.items()})).items]

    assert ids(mine="here", root="root", folder="any") == ["a"]
    assert ids(root="root", folder="any") == ["b"]
    assert ids(root="any", folder="any") == ["c"]
    with pytest.raises(MissingPrerequisite, match="the corpus 'mine' needs your data: no folder is given") as caught:
        ids()
    assert "corpora: {mine: /path/to/it}" in str(caught.value)


def test_a_video_stands_for_its_audio_track(tmp_path: Path, real: Path) -> None:
    pytest.importorskip("av")
    clip = real / "lrs/talking_face/WDA_AlexandriaOcasioCortez_000.mp4"
    data = tmp_path / "data"
    data.mkdir()
    (data / "face.mp4").symlink_to(clip)
    (data / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    videos = [{"id": n, "video": f"{n}.mp4", "reference": f"{n}.mp4"} for n in ("face", "broken", "gone")]
    manifest(data, *videos)
    corpus = Folder(FolderParams(task="l2s"), data, tmp_path / "cache").load()
    face, broken, gone = corpus.items
    assert face.video == data / "face.mp4" and face.reference and face.reference.parent == tmp_path / "cache"
    audio = load(face.reference)
    assert 7.5 < audio.seconds < 8.5 and audio.rate >= 16_000 and np.std(audio.samples) > 0.01
    assert broken.reference == data / "broken.mp4" and gone.reference == data / "gone.mp4", "rows that will fail"
    assert any("item broken: reference: " in w for w in corpus.warnings)
    assert any("1 of 3 reference files are missing" in w for w in corpus.warnings)
    before = face.reference.stat().st_mtime_ns
    again = Folder(FolderParams(task="l2s"), data, tmp_path / "cache").load().items[0]
    assert again == face and face.reference.stat().st_mtime_ns == before, "decoded once"


def test_a_video_without_sound_is_told(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "mute.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no audio track"):
        audio_track(tmp_path / "mute.mp4", tmp_path)


def test_a_track_is_decoded_sample_by_sample(tmp_path: Path) -> None:
    """Lossless sound in a video comes out as it went in: the mean of its channels, at its rate, nothing dropped."""
    av = pytest.importorskip("av")
    samples = (np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5000)) * 32768).astype(np.int16)
    with av.open(str(tmp_path / "tone.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=22_050, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout="stereo")
        frame.sample_rate = 22_050
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    track = load(audio_track(tmp_path / "tone.mkv", tmp_path))
    assert track.rate == 22_050
    np.testing.assert_allclose(track.samples, samples.mean(axis=0) / 32768, atol=1e-6)


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
