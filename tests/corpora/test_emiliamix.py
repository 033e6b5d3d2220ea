"""EmiliaMix: drawn from made archives in Emilia's layouts, mixed by the paper's rule."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav, load
from metis_bench.corpora.base import LoadedCorpus
from metis_bench.corpora.emiliamix import EmiliaMix, EmiliaMixParams
from metis_bench.errors import CorpusError, MissingPrerequisite
from metis_bench.suite.plan import test_sets as plan_sets

RATE = 24_000


def voice(number: int) -> np.ndarray:
    seconds = (4.0, 10.0, 6.0)[number % 3]
    return (np.random.default_rng(number).standard_normal(round(seconds * RATE)) * 0.5).astype(np.float32)


def record(number: int) -> dict[str, object]:
    name = f"EN_B00000_S{number // 2:05d}_W{number:06d}"
    return {"id": name, "wav": f"mp3/{name}.wav", "text": "All of it.", "duration": 4.0,
            "speaker": f"EN_B00000_S{number // 2:05d}", "language": "en", "dnsmos": 3.3}  # fmt: skip


@pytest.fixture
def emilia(tmp_path: Path) -> Path:
    """Two archives of six utterances, two a speaker (wav for mp3: Emilia's suffix does not matter)."""
    folder = tmp_path / "Emilia" / "EN"
    folder.mkdir(parents=True)
    for part in range(2):
        with tarfile.open(folder / f"EN-B00000{part}.tar", "w") as tar:
            for number in range(6 * part, 6 * part + 6):
                entry = record(number)
                for suffix, data in (
                    (".wav", encode_wav(Audio(voice(number), RATE))),
                    (".json", json.dumps(entry).encode()),
                ):
                    info = tarfile.TarInfo(f"{entry['id']}{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return tmp_path


def read(root: Path | None, tmp_path: Path, **params: object) -> LoadedCorpus:
    return EmiliaMix(EmiliaMixParams.model_validate(params), root, tmp_path / "cache" / "emiliamix").load()


def number_of(key: object) -> int:
    return int(str(key)[-6:])


def test_the_rule(emilia: Path, tmp_path: Path) -> None:
    corpus = read(emilia, tmp_path)
    assert len(corpus.items) == 6 and any("6 mixtures could be drawn, not 1000" in w for w in corpus.warnings)
    assert not list((tmp_path / "cache").rglob("*.wav"))
    (test_set,) = plan_sets("emiliamix", corpus, None)
    for planned in test_set.items:
        item = planned.item
        assert not any(f.error for f in planned.files.values())
        target, other = voice(number_of(item.meta["target"])), voice(number_of(item.meta["interferer"]))
        assert number_of(item.meta["target"]) // 2 != number_of(item.meta["interferer"]) // 2, "another speaker"
        cut = round(min(3.0, 0.4 * len(target) / RATE) * RATE)
        assert item.prompt and item.reference and item.source
        assert np.array_equal(load(item.prompt).samples, target[:cut])
        assert np.array_equal(load(item.reference).samples, target[cut:])
        wanted = target[cut:].copy()
        wanted[: len(other)] += other[: len(wanted)]
        assert np.array_equal(load(item.source).samples, wanted), "added without a gain, and not clipped"
        assert item.text is None and item.cluster == f"EN_B00000_S{number_of(item.meta['target']) // 2:05d}"
    assert corpus.subsets[""].provides == {"source", "prompt", "reference"}


def test_it_is_the_seeds_and_the_archives(emilia: Path, tmp_path: Path) -> None:
    def pairs(**params: object) -> list[tuple[object, object]]:
        return [(i.meta["target"], i.meta["interferer"]) for i in read(emilia, tmp_path, **params).items]

    assert pairs(items=4) == pairs(items=4) == pairs()[:4]
    assert pairs(items=4) != pairs(items=4, seed=1)
    assert len(pairs(archives=2)) == 12


def test_a_manifest_makes_the_same_set_elsewhere(emilia: Path, tmp_path: Path) -> None:
    corpus = read(emilia, tmp_path, items=3)
    (manifest,) = (tmp_path / "cache").rglob("manifest.jsonl")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [set(line) for line in lines] == [{"id", "target", "interferer"}] * 3, "ids alone"
    again = read(emilia, tmp_path / "other", manifest=str(manifest))
    assert [(i.id, i.meta) for i in again.items] == [(i.id, i.meta) for i in corpus.items]
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"id": corpus.items[0].id, "text": "the rest"}) + "\n")
    told = read(emilia, tmp_path, items=3, texts=str(texts))
    assert [i.text for i in told.items] == ["the rest", None, None] and "text" in told.subsets[""].provides


@pytest.mark.parametrize(
    ("line", "words"),
    [("{", "not JSON"), ('{"id": "a", "target": "x"}', "no 'interferer'"), ("[]", "no 'id'"),
     ('{"id": "a", "target": "x", "interferer": "y"}', "'x' is not in the archives")],
)  # fmt: skip
def test_wrong_manifests(emilia: Path, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "m.jsonl").write_text(line + "\n")
    with pytest.raises(CorpusError, match=words) as caught:
        read(emilia, tmp_path, manifest=str(tmp_path / "m.jsonl"))
    assert caught.value.line == 1


def test_raw_layout(emilia: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b" / "raw" / "EN"
    (folder / "mp3").mkdir(parents=True)
    (folder / "EN_B00000.jsonl").write_text("".join(json.dumps(record(n)) + "\n" for n in range(6)))
    for number in range(6):
        (folder / str(record(number)["wav"])).write_bytes(encode_wav(Audio(voice(number), RATE)))
    corpus = read(tmp_path / "b", tmp_path)
    assert [(i.id, i.meta) for i in corpus.items] == [(i.id, i.meta) for i in read(emilia, tmp_path).items]
    (folder / str(record(number_of(corpus.items[0].meta["target"]))["wav"])).unlink()
    for path in (tmp_path / "cache").rglob("*.wav"):
        path.unlink()
    (test_set,) = plan_sets("emiliamix", corpus, None)
    assert len(test_set.items) == 6 and test_set.items[0].files["source"].error
    (folder / "EN_B00000.jsonl").write_text(json.dumps({**record(0), "wav": "../x.mp3"}) + "\n")
    with pytest.raises(CorpusError, match="leaves its folder"):
        read(tmp_path / "b", tmp_path)


def test_what_it_needs(tmp_path: Path) -> None:
    for root in (None, tmp_path):
        with pytest.raises(MissingPrerequisite, match="hf download"):
            read(root, tmp_path)


def test_one_speaker_is_not_enough(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "EN"
    folder.mkdir(parents=True)
    (folder / "EN_B00000.jsonl").write_text(json.dumps(record(0)) + "\n")
    with pytest.raises(CorpusError, match="not two speakers"):
        read(tmp_path, tmp_path)
