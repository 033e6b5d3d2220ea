"""Libri2Mix: mixed as the official script does, from real and made LibriSpeech; enrolments; malformed lists."""

from __future__ import annotations

import csv
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError
from scipy.signal import resample_poly

from metis_bench.corpora import librimix
from metis_bench.corpora.base import LoadedCorpus
from metis_bench.corpora.librimix import LibriMix, LibriMixParams
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.suite.plan import test_sets as plan_sets

HEADER = "mixture_ID,source_1_path,source_1_gain,source_2_path,source_2_gain,noise_path,noise_gain"
USED = "speaker_ID,sex,subset,length,origin_path"


def official(row: dict[str, str], speech: Path, noise_root: Path, mode: str) -> dict[str, np.ndarray]:
    """scripts/create_librimix_from_metadata.py at 16 kHz, line for line, without its files and tables."""
    rate, longest, sources, gains = 16_000, 0, [], []
    for number in (1, 2):
        source, _ = soundfile.read(speech / row[f"source_{number}_path"], dtype="float32")
        longest = max(longest, len(source))
        sources.append(source)
        gains.append(float(row[f"source_{number}_gain"]))
    noise, _ = soundfile.read(noise_root / row["noise_path"], dtype="float32", stop=longest)
    if len(noise.shape) > 1:
        noise = noise[:, 0]
    if len(noise) < longest:
        longer, window = noise, np.hanning(rate + 1)
        i_w, d_w = window[: len(window) // 2 + 1], window[len(window) // 2 :: -1]
        while len(longer) < longest:
            longer = np.concatenate(
                (
                    longer[: len(longer) - len(d_w)],
                    np.multiply(longer[len(longer) - len(d_w) :], d_w) + np.multiply(noise[: len(i_w)], i_w),
                    noise[len(i_w) :],
                )
            )
        noise = longer[:longest]
    sources.append(noise)
    gains.append(float(row["noise_gain"]))
    sources = [resample_poly(s * g, rate, rate) for s, g in zip(sources, gains, strict=True)]
    if mode == "min":
        sources = [s[: min(map(len, sources))] for s in sources]
    else:
        sources = [np.pad(s, (0, max(map(len, sources)) - len(s)), mode="constant") for s in sources]
    made = {"s1": sources[0], "s2": sources[1]}
    for name, parts in (("mix_clean", sources[:2]), ("mix_both", sources)):
        mixture = np.zeros_like(parts[0])
        for part in parts:
            mixture += part
        made[name] = mixture
    return made


def written(samples: np.ndarray, path: Path) -> np.ndarray:
    soundfile.write(path, samples, 16_000)
    return soundfile.read(path, dtype="int16")[0]


def speech(root: Path, name: str, seconds: float, *, told: bool = True) -> str:
    speaker, chapter, _ = name.split("-")
    path = root / "test-clean" / speaker / chapter / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(abs(hash(name)) % 2**32).standard_normal(round(16_000 * seconds)) * 0.2
    soundfile.write(path, samples.astype(np.float32), 16_000, subtype="PCM_16")
    if told:
        with (path.parent / f"{speaker}-{chapter}.trans.txt").open("a") as stream:
            stream.write(f"{name} TEXT OF {name}\n")
    return str(path.relative_to(root))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three mixtures of three speakers, one with a noise that is too short, loud enough to clip."""
    root = tmp_path / "LibriSpeech"
    lengths = {"1-1-0000": 2.5, "1-1-0001": 3.5, "1-1-0002": 4.0, "2-1-0000": 3.2, "2-1-0001": 3.1, "3-1-0000": 3.0}
    paths = {name: speech(root, name, seconds) for name, seconds in {**lengths, "3-1-0001": 5.0}.items()}
    noise = tmp_path / "wham_noise" / "tt"
    noise.mkdir(parents=True)
    rng = np.random.default_rng(0)
    soundfile.write(noise / "long.wav", rng.standard_normal((96_000, 2)) * 0.1, 16_000)
    soundfile.write(noise / "short.wav", rng.standard_normal((24_000, 2)) * 0.1, 16_000)
    pairs = (("1-1-0000", "2-1-0000", "long"), ("2-1-0001", "3-1-0001", "short"), ("3-1-0000", "1-1-0002", "short"))
    lines = [f"{a}_{b},{paths[a]},0.8123456789,{paths[b]},1.9,tt/{n}.wav,0.7" for a, b, n in pairs]
    (tmp_path / "mixtures.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    used = [f"{n.split('-')[0]},M,test-clean,{soundfile.info(root / p).frames},{p}" for n, p in paths.items()]
    (tmp_path / "utterances.csv").write_text("\n".join([USED, *used]) + "\n")
    return root


def read(tree: Path, **params: object) -> LoadedCorpus:
    top = tree.parent
    known = {"metadata": str(top / "mixtures.csv"), "utterances": str(top / "utterances.csv"), **params}
    others = {"librispeech": tree, "wham": top / "wham_noise"}
    return LibriMix(
        LibriMixParams.model_validate(known), None, top / "cache" / "librimix", "librimix", others.get
    ).load()


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("mixture", ["clean", "both"])
def test_sample_for_sample(tree: Path, mode: str, mixture: str) -> None:
    corpus = read(tree, mode=mode, mixture=mixture, target="both")
    assert not list((tree.parent / "cache").rglob("*.wav")), "nothing is mixed before it is planned"
    (test_set,) = plan_sets("librimix", corpus, None)
    rows = [dict(zip(HEADER.split(","), line.split(","), strict=True)) for line in
            (tree.parent / "mixtures.csv").read_text().splitlines()[1:]]  # fmt: skip
    assert len(test_set.items) == 6
    for planned in test_set.items:
        item = planned.item
        row = next(r for r in rows if r["mixture_ID"] == item.meta["mixture"])
        wanted = official(row, tree, tree.parent / "wham_noise", mode)
        target = "s1" if str(item.id).endswith("-s1") else "s2"
        for path, name in ((item.source, f"mix_{mixture}"), (item.reference, target)):
            ours = soundfile.read(path, dtype="int16")[0]
            assert np.array_equal(ours, written(wanted[name], tree.parent / "official.wav")), (item.id, name)


def test_real_speech_sample_for_sample(real: Path, tmp_path: Path) -> None:
    """As the official script makes them; the shared mixtures were made with gains in float64: one step off at times."""
    top, speech = real / "libri2mix", real / "librispeech/LibriSpeech"
    utterances = tmp_path / "utterances.csv"
    flacs = sorted((speech / "test-other").rglob("*.flac"))
    lines = [f"{p.parts[-3]},M,test-other,{soundfile.info(p).frames},{p.relative_to(speech)}" for p in flacs]
    utterances.write_text("\n".join([USED, *lines]) + "\n")
    metadata = top / "metadata/libri2mix_test-other.csv"
    params = {"mode": "min", "metadata": str(metadata), "utterances": str(utterances)}
    own, others = LibriMixParams.model_validate(params), {"librispeech": real / "librispeech"}
    (test_set,) = plan_sets("librimix", LibriMix(own, None, tmp_path / "cache", "librimix", others.get).load(), None)
    assert len(test_set.items) == 8 and not any(f.error for p in test_set.items for f in p.files.values())
    rows = {r["mixture_ID"]: r for r in csv.DictReader(metadata.open())}
    for planned in test_set.items:
        wanted = official(rows[planned.item.id], speech, real, "min")
        for path, name in ((planned.item.source, "mix_clean"), (planned.item.reference, "s1")):
            ours = soundfile.read(path, dtype="int16")[0]
            assert np.array_equal(ours, written(wanted[name], tmp_path / "official.wav")), planned.item.id
            given = soundfile.read(top / f"Libri2Mix/wav16k/min/test/{name}/{planned.item.id}.wav", dtype="int16")[0]
            off = np.abs(ours.astype(int) - given)
            assert off.max() <= 1 and off.mean() < 1e-3


def test_enrolments_are_other_utterances_of_the_target(tree: Path) -> None:
    corpus = read(tree, target="both")
    for item in corpus.items:
        assert item.prompt and item.prompt.is_file()
        speaker = str(item.meta["target"]).split("-")[0]
        assert item.prompt.stem.split("-")[0] == speaker == item.cluster and item.prompt.stem != item.meta["target"]
        assert soundfile.info(item.prompt).duration >= 3.0
        assert item.text == f"TEXT OF {item.meta['target']}"
    assert [i.prompt for i in corpus.items] == [i.prompt for i in read(tree, target="both").items]
    drawn = {tuple(i.prompt for i in read(tree, target="both", seed=s).items) for s in range(8)}
    assert len(drawn) > 1
    one = read(tree)
    assert [i.id for i in one.items] == [i.meta["mixture"] for i in corpus.items if str(i.id).endswith("-s1")]
    assert [i.prompt for i in one.items] == [i.prompt for i in corpus.items if str(i.id).endswith("-s1")]


def test_cut_targets_have_no_text(tree: Path) -> None:
    corpus = read(tree, mode="min")
    assert "text" not in corpus.subsets[""].provides and all(i.text is None for i in corpus.items)
    assert "text" in read(tree).subsets[""].provides


def test_speakerbeams_map(tree: Path) -> None:
    path = tree.parent / "map"
    one, two, three = ("1-1-0000_2-1-0000", "2-1-0001_3-1-0001", "3-1-0000_1-1-0002")
    lines = [f"{one} 1-1-0000 s2/{three}", f"{one} 2-1-0000 s2/{one}", f"{two} 2-1-0001 s2/{one}",
             f"{two} 3-1-0001 s1/{three}", f"{three} 3-1-0000 s2/{two}", f"{three} 1-1-0002 s1/{one}"]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    corpus = read(tree, target="both", enrolment="speakerbeam", enrolment_path=str(path), mode="min")
    assert len(corpus.items) == 5 and any("1 enrolments are the target itself, left out" in w for w in corpus.warnings)
    (test_set,) = plan_sets("librimix", corpus, None)
    assert not any(f.error for p in test_set.items for f in p.files.values()), "enrolments are made, too"
    kept = read(tree, target="both", enrolment="speakerbeam", enrolment_path=str(path), exclude_self=False)
    assert len(kept.items) == 6 and any("are the target itself" in w for w in kept.warnings)
    wrong = {
        "a b": "expected: mixture",
        lines[0].replace("1-1-0000 ", "9-9-0000 "): "not in the",
        lines[0].replace(three, "nobody"): "no mixture 'nobody'",
        lines[0]: "no enrolment for",
        lines[0].replace("s2/", "s3/"): "expected: mixture",
    }
    for text, words in wrong.items():
        path.write_text(text + "\n")
        with pytest.raises(CorpusError, match=words):
            read(tree, target="both", enrolment="speakerbeam", enrolment_path=str(path))


def test_a_folder_of_enrolments(tree: Path) -> None:
    folder = tree.parent / "aux_s1"
    folder.mkdir()
    corpus = read(tree, enrolment="folder", enrolment_path=str(folder))
    assert [i.prompt for i in corpus.items] == [folder / f"{i.id}.wav" for i in corpus.items]
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        read(tree, enrolment="folder", enrolment_path="nowhere")
    for wrong in ({"enrolment": "folder"}, {"enrolment_path": "x"}):
        with pytest.raises(ValidationError, match="enrolment_path goes with"):
            LibriMixParams.model_validate(wrong)


def test_changed_speech_is_mixed_anew(tree: Path) -> None:
    (before,) = plan_sets("librimix", read(tree), 1)
    speech(tree, "1-1-0000", 2.75, told=False)
    (after,) = plan_sets("librimix", read(tree), 1)
    assert before.items[0].files["source"].sha256 != after.items[0].files["source"].sha256


def test_what_cannot_be_mixed_is_a_failed_row(tree: Path) -> None:
    (tree / "test-clean/1/1/1-1-0000.flac").unlink()
    (tree / "test-clean/3/1/3-1-0001.flac").write_bytes(b"")
    corpus = read(tree)
    assert any("1 of 6 utterances of LibriSpeech are missing" in w for w in corpus.warnings)
    (test_set,) = plan_sets("librimix", corpus, None)
    errors = [str(p.files["source"].error) for p in test_set.items]
    assert "no such file" in errors[0] and "cannot be mixed" in errors[1] and errors[2] == "None"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("source_2_gain", "gain", "no column 'source_2_gain'"),
        (",0.8123456789,", ",loud,", "a gain is no number"),
        (",0.8123456789,", ",nan,", "not finite"),
        ("2-1-0001_3-1-0001,", "1-1-0000_2-1-0000,", "stands twice"),
        ("1-1-0000_2-1-0000,", "../x,", "cannot name a file"),
        ("test-clean/1/1/1-1-0000.flac", "../../etc/passwd", "leaves its folder"),
        (",tt/long.wav,0.7", "", "other fields than columns"),
    ],
)
def test_wrong_metadata(tree: Path, old: str, new: str, words: str) -> None:
    path = tree.parent / "mixtures.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(CorpusError, match=words) as caught:
        read(tree)
    assert caught.value.where == path and caught.value.line


def test_what_it_needs(tree: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="openslr"):
        LibriMix(LibriMixParams(metadata=str(tree.parent / "mixtures.csv")), None, tree.parent / "c" / "l").load()
    with pytest.raises(MissingPrerequisite, match="WHAM"):
        top = tree.parent
        params = LibriMixParams(
            metadata=str(top / "mixtures.csv"), utterances=str(top / "utterances.csv"), mixture="both"
        )
        LibriMix(params, None, top / "c" / "l", "librimix", {"librispeech": tree}.get).load()
    with pytest.raises(MissingPrerequisite, match="curl --create-dirs"):
        LibriMix(LibriMixParams(), None, tree.parent / "c" / "l", "librimix", {"librispeech": tree}.get).load()


def test_the_official_list_without_audio(shared: Path, tmp_path: Path) -> None:
    """3000 mixtures in under two seconds, every one a row, every enrolment another utterance of 3 s and more."""
    shutil.copytree(shared / "data/protocol/librimix", tmp_path / "cache" / "lists")
    (tmp_path / "LibriSpeech" / "test-clean").mkdir(parents=True)
    corpus = LibriMix(
        LibriMixParams(), None, tmp_path / "cache" / "librimix", "librimix", {"librispeech": tmp_path}.get
    )
    started = time.perf_counter()
    loaded = corpus.load()
    assert time.perf_counter() - started < 8, "two on an idle machine"
    assert len(loaded.items) == librimix.OFFICIAL["s1"] and len({i.cluster for i in loaded.items}) == 40
    assert all(i.meta["enrolment"] != i.meta["target"] for i in loaded.items)
    assert any("2620" in w or "are missing" in w for w in loaded.warnings)
