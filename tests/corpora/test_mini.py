from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import load, probe
from metis_bench.corpora.base import Item, corpora
from metis_bench.corpora.mini import MAX_ITEMS, SUBSETS, Mini, MiniParams, make
from metis_bench.errors import MissingPrerequisite
from reference_models.mini import acoustics
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import ROLES, sentence, split_of
from reference_models.mini.voices import SPEAKERS

RATE = 16_000


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    return tmp_path_factory.mktemp("mini")


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("*/mini-*"))}


@pytest.mark.parametrize("task", ["tts", "vc", "tse", "se", "l2s"])
def test_items_provide_what_their_subset_says(cache: Path, task: str) -> None:
    loaded = Mini(MiniParams.model_validate({"task": task}), None, cache).load()
    assert len(loaded.items) == 12 and len({i.id for i in loaded.items}) == 12
    assert set(loaded.subsets) == {i.subset for i in loaded.items} == set(SUBSETS[task])
    assert "synthetic" in loaded.licence
    for item in loaded.items:
        fields = {"text", "prompt", "prompt_text", "source", "reference", "video"}
        assert {f for f in fields if getattr(item, f) is not None} == loaded.subsets[item.subset].provides
        for path in (item.prompt, item.source, item.reference):
            if path is not None:
                info = probe(path)
                assert (info.channels, info.subtype) == (1, "PCM_16")
                assert info.rate == (24_000 if task in ("tts", "vc", "l2s") else 16_000)
                assert np.abs(load(path).samples).max() < 0.99
    assert Counter(i.cluster for i in loaded.items) == {s.name: 1 for s in SPEAKERS}
    assert all(s.official_count is None for s in loaded.subsets.values())


def test_prompts_are_one_sentence_that_is_no_target(cache: Path) -> None:
    targets, prompts = set(), set()
    for task in ("tts", "vc", "tse", "l2s"):
        for item in Mini(MiniParams.model_validate({"task": task}), None, cache).load().items:
            assert item.text and item.prompt and item.prompt_text
            targets.add(item.text)
            prompts.add(item.prompt_text)
            assert item.prompt_text.count(".") == 1 and 2.5 < load(item.prompt).seconds < 5.0
    assert len(targets) == len(prompts) == 48 and not targets & prompts
    assert {split_of(text) for text in targets | prompts} == {"evaluation"}


def test_the_video_is_the_mouth_that_says_the_reference(cache: Path) -> None:
    """As many frames as it lasts, closed where nothing is said, and the front end of lip-to-speech takes it."""
    pytest.importorskip("torch")
    from reference_models.lips import mouth_regions, read_regions

    for item in Mini(MiniParams(task="l2s", items=4), None, cache).load().items:
        assert item.video and item.reference and item.text
        regions = read_regions(item.video)
        sound = load(item.reference)
        assert abs(len(regions) / 25 - sound.seconds) <= 0.02 and regions.shape[1:] == (96, 96)
        assert np.array_equal(mouth_regions(regions), regions)
        moved = np.abs(np.diff(regions[:, 30:75, 15:81].astype(float), axis=0)).mean((1, 2))
        per_frame = sound.rate // 25
        count = min(len(sound.samples) // per_frame, len(moved))
        loud = np.sqrt(np.mean(sound.samples[: count * per_frame].reshape(count, -1) ** 2, axis=1)) > 0.01
        assert moved[:count][loud].mean() > 1.5 * moved[:count][~loud].mean()


def stated_and_true_snr(item: Item) -> tuple[float, float]:
    assert item.source and item.reference
    clean, noisy = (load(p).samples.astype(np.float64) for p in (item.reference, item.source))
    return float(str(item.meta["snr_db"])), float(10 * np.log10(np.sum(clean**2) / np.sum((noisy - clean) ** 2)))


def test_mixtures_hold_another_talker_at_the_stated_snr_from_end_to_end(cache: Path) -> None:
    items = Mini(MiniParams(task="tse", items=18), None, cache).load().items
    for item in items:
        stated, snr = stated_and_true_snr(item)
        assert snr == pytest.approx(stated, abs=0.02) and -5 <= stated <= 5
        assert item.meta["other_speaker"] != item.meta["speaker"] == item.cluster
        assert item.source and item.reference
        other = load(item.source).samples - load(item.reference).samples
        parts = np.sqrt([np.mean(part**2) for part in np.array_split(other, 4)])
        assert parts.min() > 0.1 * parts.max(), "no quarter of the target is left alone"
    assert len({i.meta["snr_db"] for i in items}) > 5
    assert len({(i.meta["speaker"], i.meta["other_speaker"]) for i in items}) == 18, "the pairs change"


def test_the_other_talker_says_what_no_item_asks_for() -> None:
    targets = {sentence(0, "tse", role, i) for role in ROLES for i in range(500)}
    said = {sentence(0, "tse", "target", MAX_ITEMS + i) for i in range(1000)}
    assert len(said) == 1000 and not said & targets
    with pytest.raises(ValidationError):
        MiniParams(task="tse", items=MAX_ITEMS + 1)


def test_noisy_is_reference_plus_noise_at_the_stated_snr(cache: Path) -> None:
    items = Mini(MiniParams(task="se"), None, cache).load().items
    for item in items:
        stated, snr = stated_and_true_snr(item)
        assert snr == pytest.approx(stated, abs=0.01)
        assert ("t60_s" in item.meta) == (item.subset == "with_reverb")
    assert Counter(i.subset for i in items) == {"no_reverb": 6, "with_reverb": 6}
    assert all({i.meta["noise"] for i in items if i.subset == s} == set(acoustics.KINDS) for s in SUBSETS["se"])


def test_conversion_sources_are_other_talkers(cache: Path) -> None:
    items = Mini(MiniParams(task="vc"), None, cache).load().items
    assert all(i.meta["source_speaker"] != i.meta["speaker"] == i.cluster for i in items)


def test_another_process_another_order_the_same_bytes(cache: Path, tmp_path: Path) -> None:
    """All items in order here; there one by one from the last, under another hash seed."""
    code = """
import hashlib, json
from metis_bench.corpora.mini import make
from reference_models.mini.espeak import EspeakEngine
out = {}
with EspeakEngine() as engine:
    for task in ("vc", "tse", "se", "l2s"):
        for i in reversed(range(6)):
            made = make(engine, task, 0, i)
            for role, samples in made.audio.items():
                out[f"mini-{task}-{i:04d}-{role}.wav"] = hashlib.sha256(samples.tobytes()).hexdigest()
            if made.video is not None:
                out[f"mini-{task}-{i:04d}-video.npy"] = hashlib.sha256(made.video.tobytes()).hexdigest()
print(json.dumps(out))
"""
    env = {**os.environ, "PYTHONHASHSEED": "77"}
    there = json.loads(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
    here = {}
    for task in ("vc", "tse", "se", "l2s"):
        loaded = Mini(MiniParams.model_validate({"task": task}), None, cache).load()
        for item in loaded.items[:6]:
            for path in (item.prompt, item.source, item.reference):
                if path is not None:
                    pcm = np.round(load(path).samples * 32768).astype(np.int16)
                    here[path.name] = hashlib.sha256(pcm.tobytes()).hexdigest()
            if item.video is not None:
                here[item.video.name] = hashlib.sha256(np.load(item.video).tobytes()).hexdigest()
    assert here == there


def test_items_do_not_depend_on_how_many_there_are_and_seeds_differ(cache: Path, tmp_path: Path) -> None:
    Mini(MiniParams(task="tts", items=12), None, cache).load()
    Mini(MiniParams(task="tts", items=3), None, tmp_path / "few").load()
    Mini(MiniParams(task="tts", items=3, seed=1), None, tmp_path / "seed").load()
    all_of, few, seeded = hashes(cache), hashes(tmp_path / "few"), hashes(tmp_path / "seed")
    assert len(few) == 6 and few.items() <= all_of.items()
    assert few.keys() == seeded.keys() and not few.items() & seeded.items()


def test_altered_and_missing_files_are_made_again_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    corpus = Mini(MiniParams(task="tts", items=4), None, tmp_path)
    items = corpus.load().items
    before = hashes(tmp_path)
    asked: list[int] = []

    def counting(engine: EspeakEngine, task: str, seed: int, index: int, snr_db: tuple[int, int] | None) -> object:
        asked.append(index)
        return make(engine, task, seed, index, snr_db)

    monkeypatch.setattr("metis_bench.corpora.mini.make", counting)
    assert corpus.load().items == items and asked == []
    assert items[1].prompt and items[2].reference
    items[1].prompt.write_bytes(items[1].prompt.read_bytes()[:-2] + b"\1\0")
    items[2].reference.unlink()
    assert corpus.load().items == items and asked == [1, 2]
    assert hashes(tmp_path) == before
    manifest = items[0].reference.parent / "manifest.json"  # type: ignore[union-attr]
    manifest.write_text("{ not json")
    assert corpus.load().items == items and asked == [1, 2, 0, 1, 2, 3]
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.parametrize("task", ["tts", "vc", "se", "l2s"])
def test_made_and_read_back_items_are_the_same_to_the_order_of_keys(task: str, tmp_path: Path) -> None:
    """A plan lists the meta data as it comes: its bytes must not tell the run that made the corpus from later ones."""
    pytest.importorskip("espeakng_loader")
    corpus = Mini(MiniParams.model_validate({"task": task, "items": 2}), None, tmp_path)
    made, read = (json.dumps([dict(item.meta) for item in corpus.load().items]) for _ in range(2))
    assert made == read


def test_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    before = os.umask(0o022)
    try:
        Mini(MiniParams(task="tts", items=1), None, tmp_path).load()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*")}
    assert set(modes.values()) == {0o644} and "manifest.json" in modes


def test_a_manifest_cannot_point_outside_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    corpus = Mini(MiniParams(task="tts", items=1), None, tmp_path)
    item = corpus.load().items[0]
    assert item.reference
    manifest = item.reference.parent / "manifest.json"
    outside = tmp_path / "outside.wav"
    outside.write_bytes(item.reference.read_bytes())
    content = json.loads(manifest.read_text())
    content["items"][0]["files"]["../outside.wav"] = content["items"][0]["files"].pop(item.reference.name)
    manifest.write_text(json.dumps(content))
    assert corpus.load().items[0] == item
    assert "outside" not in manifest.read_text()


def test_without_espeak_the_fix_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib import metadata

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(MissingPrerequisite, match=r"pip install .*\[embedded\]"):
        Mini(MiniParams(), None, tmp_path).load()


def test_it_is_made_without_torch() -> None:
    code = "import sys, metis_bench.corpora.mini, metis_bench.systems.espeak; print({'torch', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_it_is_registered_and_checks_its_parameters() -> None:
    assert corpora.get("mini") is Mini and Mini.default_folder is None
    for wrong in ({"items": 0}, {"task": "omni"}, {"voice": "x"}):
        with pytest.raises(ValidationError):
            MiniParams.model_validate(wrong)


def test_talkers_differ_and_are_recognised(cache: Path) -> None:
    """The claim the corpus was chosen by: GE2E tells its talkers apart."""
    pytest.importorskip("resemblyzer")
    from metis_bench.metrics.speakers import ge2e

    items = Mini(MiniParams(task="tts"), None, cache).load().items
    pairs = [(i.prompt, i.reference) for i in items[: len(SPEAKERS)]]
    prompts, references = (
        np.stack([ge2e.embed(ge2e.raise_volume(load(p, ge2e.RATE).samples)) for p in paths if p])
        for paths in zip(*pairs, strict=True)
    )
    similar = references @ prompts.T
    same, other = np.diag(similar), similar[~np.eye(len(SPEAKERS), dtype=bool)]
    assert same.min() > other.max() + 0.1


def test_mixtures_at_a_given_ratio() -> None:
    """Exact over the whole file, after rounding to 16 bits; talkers and the kind of noise stay."""
    with EspeakEngine() as engine:
        for task in ("se", "tse"):
            made, usual = make(engine, task, 0, 1, (2, 2)), make(engine, task, 0, 1)
            clean, mixed = (made.audio[role].astype(np.float64) for role in ("reference", "source"))
            ratio = 10 * np.log10(np.sum(clean**2) / np.sum((mixed - clean) ** 2))
            assert made.meta["snr_db"] == 2 and ratio == pytest.approx(2, abs=0.01)
            for known in ("speaker", "other_speaker", "noise"):
                assert made.meta.get(known) == usual.meta.get(known)


@pytest.mark.parametrize("params", [{"task": "tts", "snr_db": [2, 2]}, {"task": "se", "snr_db": [3, 2]}])
def test_a_ratio_that_makes_no_sense(params: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="of se and tse only"):
        MiniParams.model_validate(params)
