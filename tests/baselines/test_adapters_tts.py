"""The adapters of the TTS baselines: what reaches upstream's API, and what comes back, through the real worker."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import soundfile

from metis_bench.baselines.manifest import find_all, read
from tests.baselines.fakes_tts import REPO, Conversation, converse

RUNNABLE = ["vall-e", "voicecraft", "cosyvoice", "cosyvoice2", "cosyvoice3", "xtts-v2", "maskgct", "f5-tts"]
PUBLISHED = ["naturalspeech3", "voicebox"]
DEVICE = {"cosyvoice": "cpu", "cosyvoice2": "cpu", "cosyvoice3": "cpu"}  # they choose it themselves


def check_made(conversation: Conversation, folder: Path, baseline: str, seconds: float = 1.5) -> None:
    """The file has the manifest's rate, one channel and the fake's length."""
    samples, rate = soundfile.read(conversation.event("made")["path"], dtype="float32")
    assert rate == read(REPO / "baselines" / baseline).manifest.io.rate
    assert samples.shape == (round(seconds * rate),) and abs(samples).max() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("baseline", [*RUNNABLE, *PUBLISHED])
def test_manifest_and_adapter_keep_the_rules(baseline: str) -> None:
    found = read(REPO / "baselines" / baseline)
    assert found.manifest.tasks == ["tts"] and (baseline in PUBLISHED) == (found.manifest.status == "published")
    assert found.folder.name in find_all([REPO / "baselines"])
    options = [set(preset) for preset in found.manifest.presets.values()]
    assert all(names == options[0] for names in options), "every preset has every option"
    if baseline in PUBLISHED:
        assert not found.adapter.exists()
        return
    source = found.adapter.read_text()
    assert len(source.splitlines()) <= 60
    tree = ast.parse(source, feature_version=(3, 8))
    commit = found.manifest.upstream.commit
    assert commit and len(commit) == 40
    assert f"@{commit[:8]}: " in (ast.get_docstring(tree) or "").splitlines()[0]
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.split(".")[0] in ("metis_bench", "reference_models")]


def test_published_names_are_the_papers(shared: Path) -> None:
    rows = (shared / "data" / "published" / "metis_paper_results.csv").read_text().splitlines()
    systems = {line.split(",")[3] for line in rows}
    for baseline in [*RUNNABLE, *PUBLISHED]:
        assert {row.system for row in read(REPO / "baselines" / baseline).manifest.paper} <= systems


@pytest.mark.parametrize("baseline", RUNNABLE)
def test_other_languages_fail_with_their_name(baseline: str, tmp_path: Path) -> None:
    said = converse(baseline, tmp_path, device=DEVICE.get(baseline, "cuda:0"), language="sw")
    failed = said.event("failed")
    assert failed["kind"] == "ValueError" and "not 'sw'" in failed["message"]
    for language in read(REPO / "baselines" / baseline).manifest.io.languages:
        name = "English" if language == "en" and "English" in failed["message"] else language
        assert name in failed["message"]


def another(value: Any) -> Any:
    """A value of the same type that no default has."""
    if isinstance(value, bool):
        return not value
    return [*value[:-1], 7] if isinstance(value, list) else value + 0.125 if isinstance(value, float) else value + 3


def values_of(name: str, facts: Any) -> list[Any]:
    """Whatever stands under a name, at any depth."""
    if isinstance(facts, list):
        return [value for inner in facts for value in values_of(name, inner)]
    if not isinstance(facts, dict):
        return []
    return [
        value for key, inner in facts.items() for value in [*([inner] if key == name else []), *values_of(name, inner)]
    ]


@pytest.mark.parametrize("baseline", RUNNABLE)
def test_every_option_reaches_upstream(baseline: str, tmp_path: Path) -> None:
    for name, preset in read(REPO / "baselines" / baseline).manifest.presets.items():
        changed = {key: another(value) for key, value in preset.items() if key not in ("model", "trim_prompt")}
        said = converse(baseline, tmp_path, name, device=DEVICE.get(baseline, "cuda:0"), options=changed)
        reached = [facts for _, facts in said.calls]
        assert all(value in values_of(key, reached) for key, value in changed.items()), (changed, said.calls)


def test_vall_e(tmp_path: Path) -> None:
    said = converse("vall-e", tmp_path, device="cuda:0")
    check_made(said, tmp_path, "vall-e")
    built = said.call("ValleInference.__init__")
    weights = tmp_path / "weights"
    assert built["ar_path"] == str(weights / "valle_ar_mls_196000.bin")
    assert built["nar_path"] == str(weights / "valle_nar_mls_164000.bin")
    assert built["speechtokenizer_path"] == str(weights / "speechtokenizer_hubert_avg")
    assert built["device"] == "cuda:0" and built["use_speechtokenizer"] is True
    prompt = said.call("librosa_load")
    assert prompt["path"] == str(tmp_path / "prompt.wav") and prompt["sr"] == 16_000
    called = said.call("ValleInference.__call__")
    assert called["batch"]["speech"]["shape"] == [1, 16_000] and called["batch"]["speech"]["dtype"] == "float32"
    ids = called["batch"]["phone_ids"]
    assert ids["dtype"] == "int64"
    sentences = [[5, *(ord(letter) for letter in text), 6] for text in ("Hello there.", "Good morning.")]
    assert ids["data"] == [*sentences[0], *sentences[1]], "the prompt's phones first"
    sampling = {"top_p": 0.9, "top_k": 5, "temperature": 0.95, "repeat_penalty": 1.0, "max_length": 2000}
    assert called["chunk_configs"] == [{**sampling, "num_beams": 1}]
    assert called["return_prompt"] is False and called["prompt_len"] is None


@pytest.mark.parametrize("preset", ["recommended", "paper"])
def test_voicecraft(preset: str, tmp_path: Path) -> None:
    said = converse("voicecraft", tmp_path, preset, device="cuda:0")
    check_made(said, tmp_path, "voicecraft")
    weights = tmp_path / "weights"
    assert said.call("VoiceCraft.from_pretrained") == {"pretrained_model_name_or_path": str(weights / "voicecraft")}
    assert said.call("VoiceCraft.to") == {"device": "cuda:0"}
    assert said.call("Tokenizer.__init__") == {
        "device": "cuda:0",
        "signature": str(weights / "encodec_4cb2048_giga.th"),
    }
    called = said.call("inference_one_sample")
    assert called["audio_fn"] == str(tmp_path / "prompt.wav") and called["device"] == "cuda:0"
    assert called["target_text"] == "Hello there. Good morning."
    assert called["prompt_end_frame"] == -1 and called["phn2num"] == {"h": 1}
    chosen = {"recommended": (40, 1.0), "paper": (0, 0.9)}[preset]
    decoding = called["decode_config"]
    assert (decoding["top_k"], decoding["top_p"], decoding["stop_repetition"]) == (*chosen, 3)
    assert decoding["silence_tokens"] == [1388, 1898, 131] and decoding["sample_batch_size"] == 3


@pytest.mark.parametrize(
    ("baseline", "folder", "prefix"),
    [
        ("cosyvoice", "CosyVoice-300M", ""),
        ("cosyvoice2", "CosyVoice2-0.5B", ""),
        ("cosyvoice3", "Fun-CosyVoice3-0.5B", "You are a helpful assistant.<|endofprompt|>"),
    ],
)
def test_cosyvoice(baseline: str, folder: str, prefix: str, tmp_path: Path) -> None:
    said = converse(baseline, tmp_path)
    check_made(said, tmp_path, baseline)  # both chunks
    classes = {"cosyvoice": "CosyVoice", "cosyvoice2": "CosyVoice2", "cosyvoice3": "CosyVoice3"}
    built = said.call(classes[baseline] + ".__init__")
    assert built["model_dir"] == str(tmp_path / "weights" / folder)
    assert not built["load_trt"] and not built["fp16"] and not built.get("load_jit")
    assert said.call("grammars") == {"folder": str(tmp_path / "weights" / "wetext")}
    called = next(facts for name, facts in said.calls if name.endswith(".inference_zero_shot"))
    assert called["tts_text"] == "Good morning." and called["prompt_text"] == prefix + "Hello there."
    assert called["stream"] is False and called["text_frontend"] is True and called["zero_shot_spk_id"] == ""
    if baseline == "cosyvoice":
        assert said.call("load_wav") == {"wav": str(tmp_path / "prompt.wav"), "target_sr": 16_000}
        assert called["prompt_speech_16k"]["shape"] == [1, 16_000]
    else:
        assert called["prompt_wav"] == str(tmp_path / "prompt.wav")


@pytest.mark.parametrize(("baseline", "preset"), [("cosyvoice2", "demo-page"), ("cosyvoice3", "raw-text")])
def test_cosyvoice_without_text_frontend(baseline: str, preset: str, tmp_path: Path) -> None:
    said = converse(baseline, tmp_path, preset)
    assert [facts["text_frontend"] for name, facts in said.calls if "zero_shot" in name] == [False]


@pytest.mark.parametrize("baseline", ["cosyvoice", "cosyvoice2", "cosyvoice3"])
def test_cosyvoice_on_another_device_than_asked_for(baseline: str, tmp_path: Path) -> None:
    said = converse(baseline, tmp_path, device="cuda:0")
    assert "chose cpu, not cuda:0" in said.event("broken")["message"]


def test_cosyvoice_refuses_to_lose_its_text_frontend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIS_BENCH_FAKE_FRONTEND", "")
    said = converse("cosyvoice3", tmp_path)
    assert "without text normalisation" in said.event("broken")["message"]
    assert converse("cosyvoice3", tmp_path, "raw-text").event("made")


@pytest.mark.parametrize(("language", "code"), [("en", "en"), ("zh", "zh-cn")])
def test_xtts(language: str, code: str, tmp_path: Path) -> None:
    said = converse("xtts-v2", tmp_path, device="cuda:0", language=language)
    check_made(said, tmp_path, "xtts-v2")
    folder = str(tmp_path / "weights" / "XTTS-v2")
    assert said.call("XttsConfig.load_json") == {"file_name": folder + "/config.json"}
    loaded = said.call("Xtts.load_checkpoint")
    assert loaded["checkpoint_dir"] == folder and loaded["config"] == "XttsConfig" and loaded["eval"] is True
    assert said.call("Xtts.to") == {"device": "cuda:0"}
    called = said.call("Xtts.synthesize")
    assert called["text"] == "Good morning." and called["language"] == code
    assert called["speaker_wav"] == str(tmp_path / "prompt.wav") and called["enable_text_splitting"] is True


def test_maskgct(tmp_path: Path) -> None:
    said = converse("maskgct", tmp_path, device="cuda:0", language="fr")
    check_made(said, tmp_path, "maskgct")
    weights = tmp_path / "weights"
    for name in ("Wav2Vec2BertModel", "SeamlessM4TFeatureExtractor"):
        local = said.call(name + ".from_pretrained")
        assert local == {"pretrained_model_name_or_path": str(weights / "w2v-bert-2.0")}, "not by its name on the hub"
    assert said.call("load_config")["config_fn"] == "./models/tts/maskgct/config/maskgct.json"
    loaded = {facts["model"]: facts["filename"] for name, facts in said.calls if name == "load_model"}
    assert loaded == {
        "semantic_codec": str(weights / "semantic_codec/model.safetensors"),
        "acoustic_codec.encoder": str(weights / "acoustic_codec/model.safetensors"),
        "acoustic_codec.decoder": str(weights / "acoustic_codec/model_1.safetensors"),
        "t2s_model": str(weights / "t2s_model/model.safetensors"),
        "s2a_1layer": str(weights / "s2a_model/s2a_model_1layer/model.safetensors"),
        "s2a_full": str(weights / "s2a_model/s2a_model_full/model.safetensors"),
    }
    assert all(facts["device"] == "cuda:0" for name, facts in said.calls if name.startswith("build_"))
    called = said.call("MaskGCT_Inference_Pipeline.maskgct_inference")
    assert called["prompt_speech_path"] == str(tmp_path / "prompt.wav")
    assert (called["prompt_text"], called["target_text"]) == ("Hello there.", "Good morning.")
    assert called["language"] == called["target_language"] == "fr" and called["target_len"] is None
    assert called["n_timesteps"] == 25 and called["n_timesteps_s2a"] == [25, 10, *[1] * 10]


def solver(called: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(called[name] for name in ("nfe_step", "cfg_strength", "sway_sampling_coef", "speed"))


def test_f5_trims_the_prompt(tmp_path: Path) -> None:
    said = converse("f5-tts", tmp_path, device="cuda:0", missing="F5TTS_Base")
    check_made(said, tmp_path, "f5-tts")
    weights = tmp_path / "weights"
    built = said.call("F5TTS.__init__")
    assert built["model"] == "F5TTS_v1_Base" and built["device"] == "cuda:0" and built["vocab_file"] == ""
    assert built["ckpt_file"] == str(weights / "F5TTS_v1_Base/model_1250000.safetensors")
    assert built["vocoder_local_path"] == str(weights / "vocos-mel-24khz")
    called = said.call("F5TTS.infer")
    assert called["ref_file"] == str(tmp_path / "prompt.wav")
    assert (called["ref_text"], called["gen_text"]) == ("Hello there.", "Good morning.")
    assert called["seed"] == (2**40 + 7) % 2**32 and called["progress"] is None and called["remove_silence"] is False
    assert solver(called) == (32, 2.0, -1.0, 1.0)


def test_f5_as_its_evaluation(tmp_path: Path) -> None:
    said = converse("f5-tts", tmp_path, "paper", device="cuda:0")
    check_made(said, tmp_path, "f5-tts")
    built = said.call("F5TTS.__init__")
    assert built["model"] == "F5TTS_Base"
    assert built["ckpt_file"] == str(tmp_path / "weights" / "F5TTS_Base/model_1200000.safetensors")
    called = said.call("infer_batch_process")
    assert called["ref_audio"][0]["shape"] == [1, 16_000] and called["ref_audio"][1] == 16_000
    assert called["ref_text"] == "Hello there." and called["gen_text_batches"] == ["Good morning."]
    assert called["model_obj"] == "the model" and called["vocoder"] == "the vocoder"
    assert called["device"] == "cuda:0" and called["mel_spec_type"] == "the mel" and called["progress"] is None
    assert solver(called) == (32, 2.0, -1.0, 1.0)


def test_f5_says_what_is_missing(tmp_path: Path) -> None:
    said = converse("f5-tts", tmp_path, "paper", missing="F5TTS_Base")
    assert "'F5TTS_Base'" in said.event("broken")["message"]
    said = converse("f5-tts", tmp_path, prompt_text=" ")
    assert "Whisper" in said.event("failed")["message"]
