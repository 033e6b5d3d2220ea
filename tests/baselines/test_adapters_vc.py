"""Adapters of newer TTS and of VC: what upstream gets from each, and what becomes of what it returns."""

from __future__ import annotations

import ast
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from metis_bench.baselines import manifest
from tests.baselines.fakes_vc import BASELINES, TTS, VC, Ran, run

RUNNABLE = [
    "freevc",
    "hierspeechpp",
    "indextts2",
    "knn-vc",
    "openvoice",
    "qwen3-tts",
    "seed-vc",
    "vevo",
    "voxcpm",
    "zipvoice",
]
BESIDE = {"openvoice": ["config"], "seed-vc": ["dit", "config", "campplus", "rmvpe"]}  # found by their files' names


@pytest.mark.parametrize("name", [*RUNNABLE, "uniaudio", "lm-vc"])
def test_manifest(name: str) -> None:
    baseline = manifest.read(BASELINES / name)
    told = baseline.manifest
    assert told.status == {"uniaudio": "manual", "lm-vc": "published"}.get(name, "runnable")
    if told.status != "runnable":
        return
    source = baseline.adapter.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    imports = [node for node in ast.walk(ast.parse(source, feature_version=(3, 8))) if isinstance(node, ast.ImportFrom)]
    assert not any((node.module or "").startswith("metis_bench") for node in imports)
    assert "import metis_bench" not in source
    options = next(iter(told.presets.values()))
    by_name = [*options, *(weight.id for weight in told.weights if weight.id not in BESIDE.get(name, []))]
    assert [word for word in by_name if f'"{word}"' not in source] == [], "the adapter asks for these by their names"


def spoken(ran: Ran, rate: int, samples: int) -> None:
    """Every item is a wav of this rate and length, with what the fake returned."""
    assert ran.made()
    for path in ran.made():
        audio, found = sf.read(path, dtype="float32")
        assert (found, audio.shape) == (rate, (samples,))
        np.testing.assert_array_equal(audio, (0.25 * np.sin(0.1 + np.arange(samples))).astype(np.float32))


def refuses(name: str, tmp: Path, languages: list[str], **options: Any) -> None:
    """Languages it does not speak fail with a word about them, before upstream hears of them."""
    ran = run(name, [{**TTS, "language": language} for language in languages], tmp, **options)
    for language, event in zip(languages, ran.of_items("failed"), strict=True):
        assert event["kind"] == "ValueError"
        assert f"'{language}'" in event["message"]


def all_languages(name: str, tmp: Path, **options: Any) -> Ran:
    """An item of each language that the manifest lists."""
    told = manifest.read(BASELINES / name).manifest.io.languages
    return run(name, [{**TTS, "language": language} for language in told], tmp, **options)


def test_seed_vc(tmp_path: Path) -> None:
    ran = run("seed-vc", [VC, VC], tmp_path, device="cuda:0")
    spoken(ran, 22050, 2205)
    weights = ran.weights
    assert ran.call("dit")["files"] == [weights["dit"], weights["config"]]
    assert ran.call("campplus")["file"] == weights["campplus"]
    assert ran.call("rmvpe")["file"] == weights["rmvpe"]
    assert ran.call("whisper") == {"place": weights["whisper"], "dtype": "float16"}
    assert ran.call("extractor") == {"place": weights["whisper"]}
    places = [call["place"] for call in ran.of("bigvgan")]
    assert places == [weights["vocoder"], weights["singing-vocoder"]]
    expected = {
        "source": "/in/source.wav",
        "target": "/in/prompt.wav",
        "diffusion_steps": 30,
        "inference_cfg_rate": 0.7,
        "f0_condition": False,
    }
    assert ran.of("convert_voice") == [expected, expected]


def test_seed_vc_as_in_its_own_evaluation(tmp_path: Path) -> None:
    ran = run("seed-vc", [VC], tmp_path, preset="paper", options={"cfg": 0.5})
    assert ran.call("convert_voice")["diffusion_steps"] == 25
    assert ran.call("convert_voice")["inference_cfg_rate"] == 0.5


def test_qwen3_tts(tmp_path: Path) -> None:
    ran = run("qwen3-tts", [TTS, {**TTS, "language": "ja"}], tmp_path, device="cuda:0")
    spoken(ran, 24000, 2400)
    assert ran.call("from_pretrained") == {
        "place": ran.weights["model"],
        "device_map": "cuda:0",
        "dtype": "bfloat16",
        "attn_implementation": "sdpa",
    }
    english, japanese = ran.of("generate")
    assert english == {
        "text": "Good morning.",
        "language": "English",
        "ref_audio": "/in/prompt.wav",
        "ref_text": "A prompt.",
        "max_new_tokens": 2048,
    }
    assert japanese["language"] == "Japanese"


def test_qwen3_tts_guesses_languages_where_upstream_did(tmp_path: Path) -> None:
    ran = all_languages("qwen3-tts", tmp_path, preset="seed-tts")
    assert {call["language"] for call in ran.of("generate")} == {"Auto"}
    assert len(ran.made()) == 10


def test_qwen3_tts_refuses_other_languages(tmp_path: Path) -> None:
    refuses("qwen3-tts", tmp_path, ["nl", "English"])


def test_indextts2(tmp_path: Path) -> None:
    ran = run("indextts2", [TTS, {**TTS, "language": "zh", "text": "早上好"}], tmp_path, device="cuda:0")
    weights = ran.weights
    assert ran.call("load") == {
        "cfg_path": str(Path(weights["model"]) / "config.yaml"),
        "model_dir": weights["model"],
        "use_fp16": False,
        "use_cuda_kernel": False,
        "device": "cuda:0",
        "aux": {
            "w2v_bert": weights["w2v-bert"],
            "semantic_codec": weights["semantic-codec"],
            "campplus": weights["campplus"],
            "bigvgan": weights["bigvgan"],
        },
    }
    first, second = ran.of("infer")
    assert first == {
        "prompt": "/in/prompt.wav",
        "text": "Good morning.",
        "segment": 120,
        "fresh": True,
        "num_beams": 3,
        "temperature": 0.8,
        "top_p": 0.8,
        "top_k": 30,
    }
    assert second["text"] == "早上好"
    assert second["fresh"], "the prompt's path is the same, its content may not be"
    assert ran.made() == [ran.work / "out-0.wav", ran.work / "out-1.wav"]


def test_indextts2_makes_nothing(tmp_path: Path) -> None:
    ran = run("indextts2", [{**TTS, "text": "nothing"}], tmp_path)
    (event,) = ran.of_items("failed")
    assert "made nothing" in event["message"]


def test_indextts2_refuses_other_languages(tmp_path: Path) -> None:
    refuses("indextts2", tmp_path, ["ja"])


@pytest.mark.parametrize(("preset", "reference"), [("recommended", "/in/prompt.wav"), ("continuation", None)])
def test_voxcpm(preset: str, reference: str | None, tmp_path: Path) -> None:
    ran = run("voxcpm", [TTS], tmp_path, preset=preset, device="cuda:0")
    spoken(ran, 48000, 4800)
    assert ran.call("from_pretrained") == {"place": ran.weights["model"], "optimize": True, "device": "cuda"}
    assert ran.call("generate") == {
        "text": "Good morning.",
        "prompt": "/in/prompt.wav",
        "prompt_text": "A prompt.",
        "reference": reference,
        "cfg": 2.0,
        "steps": 10,
        "seed": 2**33 + 5,
    }


def test_voxcpm_compiles_nothing_on_a_cpu(tmp_path: Path) -> None:
    ran = all_languages("voxcpm", tmp_path)
    assert len(ran.made()) == 30
    assert ran.call("from_pretrained") == {"place": ran.weights["model"], "optimize": False, "device": "cpu"}


def test_voxcpm_refuses_other_languages(tmp_path: Path) -> None:
    refuses("voxcpm", tmp_path, ["uk", "e"])


ZIPVOICE = {"config": b'{"model": {"fm_decoder_dim": 64}, "feature": {"sampling_rate": 24000}}'}


def test_zipvoice(tmp_path: Path) -> None:
    ran = run("zipvoice", [TTS], tmp_path, files=ZIPVOICE, device="cuda:0")
    weights = ran.weights
    assert ran.call("tokenizer") == {"file": weights["tokens"]}
    assert ran.call("network") == {"dim": 64, "vocab_size": 360, "pad_id": 7}
    assert ran.call("checkpoint") == {"file": weights["model"], "model": "ZipVoice", "strict": True}
    assert ran.call("vocoder") == {"place": weights["vocos"]}
    moved = [{"module": module, "device": "cuda:0"} for module in ("ZipVoice", "Vocoder")]
    assert ran.of("to") == moved
    assert [call["module"] for call in ran.of("eval")] == ["ZipVoice", "Vocoder"]
    assert ran.of("inference_mode")
    assert ran.call("sentence") == {
        "text": "Good morning.",
        "prompt_text": "A prompt.",
        "prompt": "/in/prompt.wav",
        "steps": 16,
        "guidance": 1.0,
        "t_shift": 0.5,
        "rate": 24000,
        "parts": ["ZipVoice", "Vocoder", "EmiliaTokenizer", "VocosFbank", "device"],
    }
    assert ran.made() == [ran.work / "out-0.wav"]


def test_zipvoice_raw(tmp_path: Path) -> None:
    ran = run("zipvoice", [TTS], tmp_path, files=ZIPVOICE, preset="paper")
    assert ran.call("raw")["steps"] == 16
    assert not ran.of("sentence")
    assert ran.made()


def test_zipvoice_refuses_other_languages(tmp_path: Path) -> None:
    refuses("zipvoice", tmp_path, ["de"], files=ZIPVOICE)


@pytest.mark.parametrize(("preset", "denoise"), [("recommended", 0), ("denoised", 0.8)])
def test_hierspeech(preset: str, denoise: float, tmp_path: Path) -> None:
    ran = run("hierspeechpp", [VC, VC], tmp_path, preset=preset, device="cuda:0")
    weights = ran.weights
    assert ran.call("mms") == {"place": weights["mms"]}
    checkout = ["speechsr24k/config.json", "speechsr48k/config.json", "denoiser/config.json"]
    assert ran.call("model_load") == {
        "configs": [weights["config"], *checkout],
        "device": "cuda:0",
        "files": [weights["checkpoint"], "speechsr24k/G_340000.pth", "speechsr48k/G_100000.pth", "denoiser/g_best"],
        "output_sr": 48000,
    }
    call = {
        "source": "/in/source.wav",
        "target": "/in/prompt.wav",
        "noise": 0.333,
        "denoise": denoise,
        "norm": "max",
    }
    assert ran.of("VC") == [call, call]
    assert ran.made() == [ran.work / f"out-{i}.made.wav" for i in range(2)], "moved from where upstream writes"
    assert all(path.is_file() for path in ran.made())


def test_hierspeech_needs_a_gpu(tmp_path: Path) -> None:
    ran = run("hierspeechpp", [VC], tmp_path)
    assert "needs a GPU" in ran.events[-1]["message"]


def test_vevo(tmp_path: Path) -> None:
    ran = run("vevo", [VC], tmp_path, device="cuda:0")
    weights = ran.weights
    hub = Path(ran.call("torch.hub.set_dir")["d"])
    assert Path(weights["hubert"]) == hub / "checkpoints" / "hubert_fairseq_large_ll60k.pth"
    folder, configs = Path(weights["vevo"]), Path("models/vc/vevo/config")
    assert ran.call("pipeline") == {
        "tokenizer": str(folder / "tokenizer/vq8192"),
        "flow": [str(configs / "Vq8192ToMels.json"), str(folder / "acoustic_modeling/Vq8192ToMels")],
        "vocoder": [str(configs / "Vocoder.json"), str(folder / "acoustic_modeling/Vocoder")],
        "device": "cuda:0",
    }
    assert ran.call("inference_fm") == {"source": "/in/source.wav", "prompt": "/in/prompt.wav", "steps": 32}
    assert ran.call("save") == {"shape": [1, 2400], "rate": 24000, "target_db": -25.0}
    assert ran.made() == [ran.work / "out-0.wav"]


def test_openvoice(tmp_path: Path) -> None:
    ran = run("openvoice", [VC], tmp_path, upstream="coqui", device="cuda:0")
    spoken(ran, 22050, 2205)
    assert ran.call("load_checkpoint") == {"file": ran.weights["checkpoint"], "eval": True}
    assert Path(ran.weights["config"]).parent == Path(ran.weights["checkpoint"]).parent
    assert ran.call("to") == {"module": "OpenVoice", "device": "cuda:0"}
    assert ran.call("voice_conversion") == {"source": "/in/source.wav", "target": ["/in/prompt.wav"]}


def archive(**files: str) -> bytes:
    """A zip with one folder, as upstream's are."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as out:
        for name, content in files.items():
            out.writestr("a-model/" + name.replace("_", "."), content)
    return data.getvalue()


@pytest.mark.parametrize(("device", "cuda"), [("cuda:0", True), ("cpu", False)])
def test_freevc(device: str, cuda: bool, tmp_path: Path) -> None:
    files = {"archive": archive(model_pth="weights", config_json='{"model": "freevc"}')}
    ran = run("freevc", [VC], tmp_path, upstream="coqui", device=device, files=files)
    spoken(ran, 24000, 2400)
    assert ran.call("speaker_encoder") == {"file": ran.weights["speaker-encoder"]}
    assert Path(ran.weights["wavlm"]) == Path(ran.call("wavlm")["home"]) / "tts/wavlm/WavLM-Large.pt"
    assert ran.call("synthesizer") == {"kind": "freevc", "checkpoint": "model.pth", "use_cuda": cuda}
    assert ran.call("voice_conversion") == {"source": "/in/source.wav", "target": "/in/prompt.wav"}


@pytest.mark.parametrize(("device", "cuda"), [("cuda:0", True), ("cpu", False)])
def test_knn_vc(device: str, cuda: bool, tmp_path: Path) -> None:
    files = {"vocoder": archive(prematch_pt="vocoder", config_json="its config"), "wavlm": b"WavLM"}
    ran = run("knn-vc", [VC], tmp_path, upstream="coqui", device=device, files=files)
    spoken(ran, 16000, 1600)
    assert Path(ran.weights["wavlm"]) == Path(ran.call("wavlm")["home"]) / "tts/wavlm/WavLM-Large.pt"
    assert ran.call("vocoder") == {"files": ["vocoder", "its config"]}
    assert ran.call("synthesizer") == {"kind": "knnvc", "checkpoint": "WavLM-Large.pt", "use_cuda": cuda}
    expected = {"source": "/in/source.wav", "target": "/in/prompt.wav", "topk": 4}
    assert ran.call("voice_conversion") == expected
