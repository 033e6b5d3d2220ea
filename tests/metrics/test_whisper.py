"""Whisper's recognisers with tiny random weights in the real file formats: the real code, no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.config import WEIGHTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.asr import faster_whisper, openai_whisper, whisper
from metis_bench.metrics.asr.base import recognisers
from metis_bench.metrics.base import Clip, MetricContext
from metis_bench.metrics.wer import Wer, WerParams
from tests.metrics.tiny_whisper import hf_whisper, openai_file

Make = Callable[[np.ndarray, int], Clip]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user's folder of weights holds."""
    folder = tmp_path_factory.mktemp("weights")
    hf_whisper(folder / "whisper-tiny")
    openai_file(folder / "tiny.pt")
    return folder


@pytest.fixture
def weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(WEIGHTS, str(folder))
    for loaded in (whisper._loaded, openai_whisper._model, faster_whisper._model):
        loaded.cache_clear()
    return folder


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [0.1 * rng.standard_normal(n).astype(np.float32) for n in (4000, 16_000, 70_000, 31 * 16_000)]


def test_it_is_the_official_procedure(weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    """run_wer.py:86-96, literally (forced_decoder_ids are `language` and `task` in today's transformers)."""
    import scipy.signal
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    processor = WhisperProcessor.from_pretrained(weights / "whisper-tiny")
    model = WhisperForConditionalGeneration.from_pretrained(weights / "whisper-tiny").float().eval()
    recogniser = recognisers.get("whisper-tiny")((), "en")
    for rate in (16_000, 24_000):
        for wave in waves[:3]:
            wav = wave.astype(np.float64)
            if rate != 16_000:
                wav = scipy.signal.resample(wav, int(len(wav) * 16_000 / rate))
            features = processor(wav, sampling_rate=16_000, return_tensors="pt").input_features
            ids = model.generate(features, language="english", task="transcribe")
            expected = processor.batch_decode(ids, skip_special_tokens=True)[0]
            assert expected, "random weights must say something, or this test sees nothing"
            assert recogniser.extract(make_clip(wave, rate)) == {"text": expected}


def test_neighbours_change_nothing(weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    recogniser = recognisers.get("whisper-tiny")((), "en")
    clips = [make_clip(wave, 16_000) for wave in (*waves, np.zeros(800, np.float32))]
    alone = [recogniser.extract(clip) for clip in clips]
    assert recogniser.extract_all(clips) == alone
    assert recogniser.extract_all(clips[::-1]) == alone[::-1]
    assert alone[3]["unheard_s"] == pytest.approx(1.0)  # type: ignore[index, call-overload]
    assert alone[4] == {"text": ""}, "nothing is made up of silence"
    assert recogniser.extract_all([]) == []


def test_the_language_is_told(weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    english, german = (recognisers.get("whisper-tiny")((), language) for language in ("en", "de"))
    assert english.signature() != german.signature()
    with pytest.raises(MissingPrerequisite, match="not 'xx'"):
        recognisers.get("whisper-tiny")((), "xx").check()
    assert german.extract(make_clip(waves[1], 16_000)) != {"text": ""}


def test_languages_are_those_of_transformers() -> None:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    assert set(whisper.LANGUAGES.split()) == set(LANGUAGES)


def test_other_weights_are_another_metric(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recognisers.get("whisper-tiny")((), "en").signature()
    hf_whisper(tmp_path / "whisper-tiny", seed=1)
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    assert recognisers.get("whisper-tiny")((), "en").signature() != before


def test_missing_weights_are_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    metric = Wer(WerParams(asr="whisper-large-v3"), MetricContext("tts", "en", ()))
    with pytest.raises(MissingPrerequisite) as told:
        metric.check()
    assert "whisper-large-v3 (3.1 GB, Apache-2.0), which is not on this machine" in told.value.message
    assert f"hf download openai/whisper-large-v3 --local-dir '{tmp_path}/whisper-large-v3'" in str(told.value.fix)
    (tmp_path / "whisper-large-v3").mkdir()
    with pytest.raises(MissingPrerequisite, match=r"lacks config\.json"):
        metric.check()


def test_damaged_weights_are_no_recogniser(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    hf_whisper(tmp_path / "whisper-tiny")
    file = tmp_path / "whisper-tiny" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop("model.encoder.layer_norm.weight")
    save_file(tensors, file, metadata={"format": "pt"})
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    clip = Clip("x", lambda _: Audio(np.ones(16_000, np.float32), 16_000))
    with pytest.raises(MissingPrerequisite, match=r"lacks.*model\.encoder\.layer_norm\.weight"):
        recognisers.get("whisper-tiny")((), "en").extract(clip)
    file.write_bytes(b"nothing")
    whisper._loaded.cache_clear()
    with pytest.raises(MissingPrerequisite, match="cannot be read"):
        recognisers.get("whisper-tiny")((), "en").extract(clip)


@pytest.mark.parametrize("name", ["openai-whisper-tiny", "versa-whisper-tiny"])
def test_openai_s_package(name: str, weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    pytest.importorskip("whisper")
    recogniser = recognisers.get(name)((), "en")
    recogniser.check()
    first = recogniser.extract(make_clip(waves[1], 16_000))
    assert recogniser.extract(make_clip(waves[0], 16_000)) is not None
    assert recogniser.extract(make_clip(waves[1], 16_000)) == first, "its sampling is ours: no order, no chance"
    assert recogniser.extract(make_clip(np.zeros(800, np.float32), 16_000)) == {"text": ""}
    assert recogniser.signature()["decoding"] == {
        "beams": 5 if name.startswith("versa") else None,
        "language": None if name.startswith("versa") else "en",
        "seed": 0,
    }


def test_faster_whisper(weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    pytest.importorskip("faster_whisper")
    place = weights / "faster-whisper-tiny"
    if not place.is_dir():
        converter = ctranslate2.converters.TransformersConverter(
            str(weights / "whisper-tiny"), copy_files=["tokenizer.json", "preprocessor_config.json"]
        )
        converter.convert(str(place))
    recogniser = recognisers.get("faster-whisper-tiny")((), "en")
    recogniser.check()
    clip = make_clip(waves[1], 16_000)
    assert recogniser.extract(clip) == recogniser.extract(clip)
    assert recogniser.extract(make_clip(np.zeros(800, np.float32), 16_000)) == {"text": ""}
    assert recogniser.signature()["decoding"]["beams"] == 5  # type: ignore[index, call-overload]


def test_every_part_of_a_divided_model_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of shards is no model: two fine-tunes may have the same one."""
    folder = tmp_path / "whisper-tiny"
    hf_whisper(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    recogniser = recognisers.get("whisper-tiny")((), "en")
    before = recogniser.signature()
    shard = folder / "model-00001-of-00001.safetensors"
    shard.write_bytes(shard.read_bytes() + b" ")
    assert recogniser.signature() != before
    shard.unlink()
    with pytest.raises(MissingPrerequisite, match=r"lacks model-00001-of-00001\.safetensors"):
        recogniser.check()


def test_a_tokenizer_is_part_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hf_whisper(tmp_path / "whisper-tiny")
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    recogniser = recognisers.get("whisper-tiny")((), "en")
    before = recogniser.signature()
    file = tmp_path / "whisper-tiny" / "tokenizer_config.json"
    file.write_text(file.read_text() + "\n")
    assert recogniser.signature() != before


def test_two_samples_say_nothing_and_cost_nobody(weights: Path, waves: list[np.ndarray], make_clip: Make) -> None:
    recogniser = recognisers.get("whisper-tiny")((), "en")
    clips = [make_clip(waves[0], 16_000), make_clip(np.ones(2, np.float32), 44_100), make_clip(waves[1], 16_000)]
    first, short, last = recogniser.extract_all(clips)
    assert short == {"text": ""}
    assert [first, last] == [recogniser.extract(clips[0]), recogniser.extract(clips[2])]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_download_of_openai_s(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("whisper")
    (tmp_path / "tiny.pt").write_bytes(content)
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    clip = Clip("x", lambda _: Audio(np.ones(16_000, np.float32), 16_000))
    with pytest.raises(MissingPrerequisite, match="cannot be loaded"):
        recognisers.get("openai-whisper-tiny")((), "en").extract(clip)


def test_several_languages_are_none(weights: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="items in several languages"):
        recognisers.get("whisper-tiny")((), "mul").check()
