"""What every reader of a corpus must keep, on a small tree in its official layout."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import LoadedCorpus, corpora
from metis_bench.suite.plan import test_sets as plan_sets
from tests.corpora.test_emiliamix import record, voice
from tests.corpora.test_librimix import HEADER, USED, speech
from tests.corpora.test_librispeech import utterance
from tests.corpora.test_lrs import PROMPTS, clip
from tests.corpora.test_vctk import recording

Place = tuple[Mapping[str, Any], Path | None, Mapping[str, Path]]  # parameters, root, other corpora


def wav(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32("/".join(path.parts[-4:]).encode()))
    path.write_bytes(encode_wav(Audio(rng.standard_normal(8000).astype(np.float32) * 0.1, 16_000)))
    return path


def dns2020(top: Path) -> Place:
    for number in range(3):
        for half in ("no_reverb", "with_reverb"):
            wav(top / f"test_set/synthetic/{half}/noisy/clnsp1_x_snr5_tl-20_fileid_{number}.wav")
            wav(top / f"test_set/synthetic/{half}/clean/clean_fileid_{number}.wav")
        wav(top / f"test_set/real_recordings/r{number}.wav")
    return {}, top, {}


def seedtts(top: Path) -> Place:
    (top / "en").mkdir(parents=True)
    (top / "en" / "meta.lst").write_text(PROMPTS)
    for name in "abc":
        wav(top / f"en/prompt-wavs/{name}.wav")
    return {}, top, {}


def librispeech(top: Path) -> Place:
    for name, seconds in (("1-10-0000", 5), ("1-10-0001", 3.5), ("1-11-0000", 7), ("2-20-0000", 4.5), ("2-20-0001", 4)):
        utterance(top / "LibriSpeech", name, seconds)
    return {"protocol": "valle-4-10s", "prompt": "cut"}, top, {}


def vctk(top: Path) -> Place:
    for speaker in ("p225", "p226"):
        for number in range(1, 4):
            recording(top, f"{speaker}_{number:03d}", f"Sentence {number}.")
    for path in (top / "wav48_silence_trimmed").rglob("*.flac"):
        wav(path)
    return {"items": 4}, top, {}


def librimix(top: Path) -> Place:
    names = ("1-1-0000", "1-1-0001", "2-1-0000", "2-1-0001")
    paths = {name: speech(top / "LibriSpeech", name, 3.0 + i / 4) for i, name in enumerate(names)}
    line = f"1-1-0000_2-1-0000,{paths['1-1-0000']},0.5,{paths['2-1-0000']},0.7,tt/x.wav,1"
    (top / "mix.csv").write_text(f"{HEADER}\n{line}\n")
    used = [f"{n[0]},M,test-clean,{round(16_000 * (3.0 + i / 4))},{paths[n]}" for i, n in enumerate(names)]
    (top / "used.csv").write_text("\n".join([USED, *used]) + "\n")
    params = {"metadata": str(top / "mix.csv"), "utterances": str(top / "used.csv"), "target": "both"}
    return params, None, {"librispeech": top / "LibriSpeech"}


def emiliamix(top: Path) -> Place:
    folder = top / "raw" / "EN"
    (folder / "mp3").mkdir(parents=True)
    (folder / "EN_B00000.jsonl").write_text("".join(json.dumps(record(n)) + "\n" for n in range(6)))
    for number in range(6):
        (folder / str(record(number)["wav"])).write_bytes(encode_wav(Audio(voice(number), 24_000)))
    return {"items": 3}, top, {}


def lrs2(top: Path) -> Place:
    _, prompts, _ = seedtts(top / "seedtts")
    for name in ("a/1", "a/2", "b/1"):
        clip(top / "main", name)
        wav(top / "main" / f"{name}.wav")  # beside the video, as in trees that are cropped to mouths
    (top / "test.txt").write_text("a/1\na/2\nb/1\n")
    return {}, top, {"seedtts": prompts or top}


def lrs3(top: Path) -> Place:
    _, prompts, _ = seedtts(top / "seedtts")
    for name in ("a/1", "b/1"):
        clip(top / "test", name)
        wav(top / "test" / f"{name}.wav")
    return {}, top, {"seedtts": prompts or top}


def folder(top: Path) -> Place:
    for name in ("x", "y"):
        wav(top / f"{name}.wav")
    return {"task": "se"}, top, {}


def mini(_: Path) -> Place:
    pytest.importorskip("espeakng_loader")
    return {"task": "vc", "items": 2}, None, {}


TREES: Mapping[str, Callable[[Path], Place]] = {
    f.__name__: f for f in (dns2020, seedtts, librispeech, vctk, librimix, emiliamix, lrs2, lrs3, folder, mini)
}


def test_every_reader_is_here() -> None:
    assert set(TREES) == {name for name in corpora.names() if not name.startswith("toy")}


@pytest.mark.parametrize("name", TREES)
def test_reader(name: str, tmp_path: Path) -> None:
    params, root, others = TREES[name](tmp_path / "data")
    cls = corpora.get(name)

    def load(cache: str) -> LoadedCorpus:
        return cls(cls.params_type.model_validate(params), root, tmp_path / cache / name, name, others.get).load()

    first, again, elsewhere = load("cache"), load("cache"), load("other")
    assert first.items == again.items, "stable, and in a stable order"
    keys = [(item.subset, item.id) for item in first.items]
    assert keys == [(item.subset, item.id) for item in elsewhere.items] and len(set(keys)) == len(keys) > 0
    assert first.licence and all(item.cluster for item in first.items)
    assert {item.subset for item in first.items} <= set(first.subsets)
    for item in first.items:
        assert not set(item.id) & {"/", "\\", "\0"}, "an id names files"
        for field in first.subsets[item.subset].provides:
            assert getattr(item, field) is not None, f"{item.id} has no {field}"
    sets, others_sets = plan_sets(name, again, None), plan_sets(name, elsewhere, None)
    assert not [(p.item.id, f.error) for s in sets for p in s.items for f in p.files.values() if f.error]
    assert [s.list_hash for s in sets] == [s.list_hash for s in others_sets], "the same wherever its files are made"
    assert len({s.list_hash for s in sets}) == len(sets)
