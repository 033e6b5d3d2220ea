"""Adapters of target speaker extraction, speech enhancement and lip-to-speech, against fakes of their upstreams."""

from __future__ import annotations

import ast
import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metis_bench.baselines.manifest import read
from tests.baselines.fakes_se import BASELINES, UPSTREAM, Ran, run, write_wav

CLEARVOICE = {
    "clearvoice-mossformergan": ("MossFormerGAN_SE_16K", 16_000),
    "clearvoice-mossformer2": ("MossFormer2_SE_48K", 48_000),
    "clearvoice-frcrn": ("FRCRN_SE_16K", 16_000),
}
RUNNABLE = ["voicefilter", "wesep", "tselm", "tf-gridnet", "voicefixer", *CLEARVOICE, "gtcrn", "deepfilternet"]
WITHOUT_ADAPTER = {"lip2speech-unit": "manual", "selm": "published", "masksr": "published", "anyenhance": "published"}


def archive(path: Path, *names: str) -> Path:
    """A .tar.gz with files of these names."""
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"data"))
    return path


@pytest.mark.parametrize("name", [*RUNNABLE, *WITHOUT_ADAPTER])
def test_the_manifest_and_the_adapter_keep_the_rules(name: str) -> None:
    baseline = read(BASELINES / name)
    manifest = baseline.manifest
    assert manifest.status == WITHOUT_ADAPTER.get(name, "runnable")
    assert all(set(options) == set(next(iter(manifest.presets.values()))) for options in manifest.presets.values())
    if name in WITHOUT_ADAPTER:
        assert not baseline.adapter.exists()
        return
    assert manifest.io.length == "same" and manifest.env.requires
    source = baseline.adapter.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60 and "metis_bench" not in source
    tree = ast.parse(source, feature_version=(3, 8))
    opening = (ast.get_docstring(tree) or "").splitlines()[0]
    assert (manifest.upstream.commit or manifest.upstream.package or "?")[:8] in opening
    assert set(re.findall(r'ctx\.options\["(\w+)"\]', source)) == set(next(iter(manifest.presets.values())))
    assert set(re.findall(r'ctx\.weights\["(\w+)"\]', source)) <= {weight.id for weight in manifest.weights}


@pytest.mark.parametrize("seconds, chunks", [(7.0, 2), (5.0, 1)])
def test_voicefilter(seconds: float, chunks: int, tmp_path: Path) -> None:
    item = {
        "source": write_wav(tmp_path / "mix.wav", 1, 16_000),
        "prompt": write_wav(tmp_path / "v.wav", seconds, 16_000),
    }
    ran = run("voicefilter", tmp_path, {"model": tmp_path}, item, device="cuda:0")
    assert ran.of("from_pretrained") == [{"path": str(tmp_path), "args": [], "kwargs": {}}]
    assert {(call["path"], call["sr"]) for call in ran.of("librosa.load")} == {(p, 16_000) for p in item.values()}
    (embedded,), (enhanced,) = ran.of("xvector_model"), ran.of("do_enh")
    assert embedded["shape"] == [chunks, 1, 80_000]
    assert (enhanced["speech"], enhanced["speaker"]) == ([16_000], [512])
    assert enhanced["peak"] == pytest.approx(1)
    assert (len(ran.samples), ran.rate, np.abs(ran.samples).max()) == (16_000, 16_000, pytest.approx(1))


def extract_by_wesep(tmp_path: Path, preset: str) -> Ran:
    weights = archive(tmp_path / "model.tar.gz", "bsrnn/config.yaml", "bsrnn/avg_model.pt", "bsrnn/._x", "../../evil")
    item = {"source": write_wav(tmp_path / "mix.wav", 1, 16_000), "prompt": write_wav(tmp_path / "v.wav", 2, 16_000)}
    return run("wesep", tmp_path, {"model": weights}, item, preset=preset, device="cuda:0")


def test_wesep(tmp_path: Path) -> None:
    ran = extract_by_wesep(tmp_path, "recommended")
    assert ran.of("Extractor") == [{"files": ["avg_model.pt", "config.yaml", "evil"]}]  # nothing left its folder
    assert ran.of("set_device") == [{"device": "cuda:0"}]
    assert ran.of("set_vad") == [{"apply_vad": False}] and ran.of("set_output_norm") == [{"output_norm": True}]
    paths = {"audio_path": str(tmp_path / "mix.wav"), "audio_path_2": str(tmp_path / "v.wav")}
    assert ran.of("extract_speech") == [paths]
    assert (len(ran.samples), ran.rate) == (16_000, 16_000)


def test_wesep_without_speech_in_the_enrolment_is_an_error_with_its_reason(tmp_path: Path) -> None:
    ran = extract_by_wesep(tmp_path, "vad")
    assert ran.outcome["kind"] == "ValueError" and "no speech in the enrolment" in ran.outcome["message"]


@pytest.mark.parametrize("preset, training", [("recommended", False), ("paper", True)])
def test_tselm(preset: str, training: bool, tmp_path: Path) -> None:
    (tmp_path / "tselm_l.pth").write_text('{"model_state_dict": {"key": 1}}', encoding="utf-8")
    (tmp_path / "wavlm").mkdir()
    (tmp_path / "wavlm" / "config.json").touch()
    weights = {
        "model": tmp_path / "tselm_l.pth",
        "wavlm": tmp_path / "wavlm",
        "kmeans": archive(tmp_path / "kmeans.tar.gz", "kmeans_ckpt/LS_wavlm_k1000_L1.pt", "._LS_wavlm_k1000_L1.pt"),
        "hifigan": archive(tmp_path / "hifigan.tar.gz", "h/generator.ckpt", "h/hyperparams.yaml"),
    }
    item = {"source": write_wav(tmp_path / "mix.wav", 1, 16_000), "prompt": write_wav(tmp_path / "v.wav", 2, 32_000)}
    ran = run("tselm", tmp_path, weights, item, preset=preset, device="cuda:0", repo=UPSTREAM / "tselm")
    (configured,) = ran.of("load_hyperpyyaml")
    assert configured["files"] == {
        "wavlm_path": ["config.json"],
        "kmeans_path": ["LS_wavlm_k1000_L1.pt"],
        "hifi_gan_path": ["generator.ckpt", "hyperparams.yaml"],
    }
    assert ran.of("torch.load") == [{"map_location": "cpu"}]
    assert ran.of("load_state_dict") == [{"state_dict": {"key": 1}, "strict": False}]
    assert ran.of("inference") == [{"mix": [1, 16_000], "regi": [1, 32_000], "training": training}]
    assert (len(ran.samples), ran.rate) == (16_000, 16_000)


@pytest.mark.parametrize("preset, fs", [("recommended", 16_000), ("fs-8000", 8000)])
def test_tf_gridnet(preset: str, fs: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "exp").mkdir(parents=True)
    for name in ("exp/config.yaml", "exp/best.pth"):
        (folder / name).touch()
    meta = "files: {model_file: exp/best.pth}\nyaml_files: {train_config: exp/config.yaml}\n"
    (folder / "meta.yaml").write_text(meta, encoding="utf-8")
    item = {"source": write_wav(tmp_path / "noisy.wav", 1, 24_000)}
    ran = run("tf-gridnet", tmp_path, {"model": folder}, item, preset=preset, device="cuda:0")
    (built,) = ran.of("SeparateSpeech")
    assert built["train_config"] == str(folder / "exp/config.yaml") and built["model_file"] == str(
        folder / "exp/best.pth"
    )
    assert (built["device"], built["dtype"]) == ("cuda:0", "float32")
    assert ran.of("call") == [{"shape": [1, 16_000], "fs": fs, "kwargs": {}}]
    assert (len(ran.samples), ran.rate) == (16_000, 16_000)  # whatever the network was told of the rate
    assert np.abs(ran.samples).max() == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("preset, mode, device", [("recommended", 0, "cpu"), ("mode-1", 1, "cuda:0")])
def test_voicefixer(preset: str, mode: int, device: str, tmp_path: Path) -> None:
    weights = {"analysis": tmp_path / "vf.ckpt", "vocoder": tmp_path / "vocoder.pt"}
    for name, path in weights.items():
        path.write_text(name, encoding="utf-8")
    item = {"source": write_wav(tmp_path / "noisy.wav", 1, 16_000)}
    ran = run("voicefixer", tmp_path, weights, item, preset=preset, device=device)
    assert ran.of("VoiceFixer") == [{"weights": ["analysis", "vocoder"]}] and not ran.of("download")
    assert ran.of("librosa.load") == [{"path": item["source"], "sr": 44_100}]
    cuda = device != "cpu"
    call = {"samples": 44_100, "cuda": cuda, "mode": mode, "home": str(Path.home())}  # a home of its own only to load
    assert ran.of("restore_inmem") == [call]
    assert ran.of("set_device") == ([{"device": device}] if cuda else [])
    assert (len(ran.samples), ran.rate) == (44_100, 44_100)


def test_voicefixer_never_downloads_what_is_missing(tmp_path: Path) -> None:
    weights = {"analysis": tmp_path / "vf.ckpt", "vocoder": tmp_path / "vocoder.pt"}
    ran = run("voicefixer", tmp_path, weights, {"source": write_wav(tmp_path / "noisy.wav", 1, 16_000)})
    assert (ran.loaded["event"], ran.loaded["kind"]) == ("broken", "FileNotFoundError")
    assert "vf.ckpt" in ran.loaded["message"] and not ran.of("download")


def enhance_by_clearvoice(name: str, tmp_path: Path, device: str, complete: bool = True) -> Ran:
    folder = tmp_path / "weights"
    folder.mkdir()
    if complete:
        (folder / "last_best_checkpoint").write_text("best.pt", encoding="utf-8")
    item = {"source": write_wav(tmp_path / "noisy.wav", 0.5, 16_000)}
    return run(name, tmp_path, {"model": folder}, item, device=device, fakes=["clearvoice", "common"])


@pytest.mark.parametrize("name, device, gpu", zip(CLEARVOICE, ("cpu", "cuda:0", "cuda:2"), (None, 0, 2), strict=True))
def test_clearvoice(name: str, device: str, gpu: int | None, tmp_path: Path) -> None:
    ran = enhance_by_clearvoice(name, tmp_path, device)
    model, rate = CLEARVOICE[name]
    assert ran.of("ClearVoice") == [{"task": "speech_enhancement", "model_names": [model]}]
    assert ran.of("device") == [{"gpu": gpu}]
    assert ran.of("load_model") == [{"name": model, "checkpoint": "best.pt"}]
    source = str(tmp_path / "noisy.wav")
    assert ran.of("call") == [{"input_path": source, "online_write": False, "output_path": None}]
    assert (len(ran.samples), ran.rate) == (rate // 2, rate)
    assert rate == read(BASELINES / name).manifest.io.rate


def test_clearvoice_does_not_run_with_the_random_weights_that_upstream_would_take(tmp_path: Path) -> None:
    ran = enhance_by_clearvoice("clearvoice-frcrn", tmp_path, "cpu", complete=False)
    assert (ran.loaded["event"], ran.loaded["kind"]) == ("broken", "FileNotFoundError")
    assert "last_best_checkpoint" in ran.loaded["message"]


def test_the_clearvoice_adapters_are_one_file() -> None:
    assert len({(BASELINES / name / "adapter.py").read_bytes() for name in CLEARVOICE}) == 1


def test_gtcrn(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "checkpoints").mkdir()
    state = {"model": {"gain": torch.full((1,), 0.5)}, "epoch": 3}
    torch.save(state, tmp_path / "checkpoints" / "model_trained_on_vctk.tar")
    item = {"source": write_wav(tmp_path / "noisy.wav", 1, 32_000)}
    record_only = tmp_path / "site"  # torch is the real one here
    record_only.mkdir()
    (record_only / "record.py").write_bytes((UPSTREAM / "common" / "record.py").read_bytes())
    fakes = ["gtcrn", str(record_only)]
    ran = run("gtcrn", tmp_path, {}, item, preset="vctk", repo=tmp_path, fakes=fakes)
    (forward,) = ran.of("forward")
    peak = pytest.approx(
        0.25 * 512 * 2 / np.pi, rel=0.02
    )  # half a tone's amplitude by the sum of a root of Hann's window
    assert forward == {"shape": [1, 257, 63, 2], "peak": peak, "training": False, "grad": False}
    assert (len(ran.samples), ran.rate) == (62 * 256, 16_000)  # whole hops of the 16,000 samples
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(len(ran.samples)) / 16_000)
    np.testing.assert_allclose(ran.samples[200:-200], tone[200:-200], atol=2e-3)


@pytest.mark.parametrize("preset, post_filter", [("recommended", False), ("post-filter", True)])
def test_deepfilternet(preset: str, post_filter: bool, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as zipped:
        for name in ("config.ini", "checkpoints/model_120.ckpt.best"):
            zipped.writestr(f"DeepFilterNet3/{name}", "")
    item = {"source": write_wav(tmp_path / "noisy.wav", 1, 16_000)}
    ran = run("deepfilternet", tmp_path, {"model": tmp_path / "model.zip"}, item, preset=preset)
    (made,) = ran.of("init_df")
    assert made["files"] == ["checkpoints", "config.ini"] and (made["log_file"], made["device"]) == (None, "cpu")
    assert made["post_filter"] is post_filter
    assert ran.of("load_audio") == [{"file": item["source"], "sr": 48_000}]
    assert ran.of("enhance") == [{"shape": [1, 48_000], "pad": True, "atten_lim_db": None}]
    assert (len(ran.samples), ran.rate) == (48_000, 48_000)
