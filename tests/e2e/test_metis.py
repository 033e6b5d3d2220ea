"""Real recordings through the reference models, by the command, with random weights: everything but the quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.e2e.conftest import Command

pytestmark = pytest.mark.long


def manifest(folder: Path, **fields: Any) -> str:
    """One item of real data as a folder corpus; paths are links, which manifests may follow below their root."""
    folder.mkdir()
    for name in ("source", "prompt", "video", "reference"):
        if name in fields:
            link = folder / Path(fields[name]).name
            if not link.exists():
                link.symlink_to(fields[name])
            fields[name] = link.name
    (folder / "items.jsonl").write_text(json.dumps({"id": "one", "language": "en", **fields}) + "\n")
    return str(folder)


def run(
    metis_bench: Command, folder: Path, suite: str, task: str, system: str, data: str, again: bool = False
) -> float:
    """Seconds of the one output at 24 kHz. again: run twice, and see that the second run generates nothing."""
    corpora = f"corpora={{mine: {{corpus: folder, task: {task}, path: '{data}', manifest: items.jsonl}}}}"
    args = ["run", suite, "--profile", "paper", "--system", system, "--json", "--set", corpora]
    for setting in ("oracle_order=[]", "seeds=[0]", "metrics=[dnsmos]", f"systems.{system}.checkpoint=random-tiny"):
        args += ["--set", setting]
    done = metis_bench(*args)
    assert done.code == 0, done.err
    cell = done.json["results"]["cells"][0]
    assert (cell["n"], cell["N"]) == (1, 1)
    assert any(system in w and "untrained" in w for w in done.json["results"]["warnings"])
    (made,) = (folder / "home" / "store" / "audio").rglob("*.wav")
    before = made.stat().st_mtime_ns
    assert not again or (metis_bench(*args).code == 0 and made.stat().st_mtime_ns == before)
    info = soundfile.info(str(made))
    assert (info.samplerate, info.channels) == (24_000, 1)
    return float(info.duration)


def test_enhancement(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    data = manifest(tmp_path / "data", source=real / "prompts" / "metis_se_noise.wav")
    made = run(metis_bench, tmp_path, "suites/se.yaml", "se", "metis-se", data, again=True)
    assert made == pytest.approx(10.0, abs=0.05)


def test_voice_conversion(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    prompts = real / "prompts"
    data = manifest(tmp_path / "data", source=prompts / "metis_vc_source.wav", prompt=prompts / "metis_vc_prompt.wav")
    seconds = soundfile.info(str(prompts / "metis_vc_source.wav")).duration
    made = run(metis_bench, tmp_path, "suites/vc.yaml", "vc", "metis-vc-lora16", data)
    assert made == pytest.approx(seconds, abs=0.05)


def test_extraction_by_omni_with_the_text(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("espeakng_loader", "inflect"):
        pytest.importorskip(package)
    prompts = real / "prompts"
    files = {"source": prompts / "metis_tse_mix.wav", "prompt": prompts / "metis_tse_prompt.wav"}
    data = manifest(tmp_path / "data", text="what the target says", **files)
    assert run(metis_bench, tmp_path, "suites/tse.yaml", "tse", "metis-omni-text", data) > 1


def test_speech_synthesis(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("espeakng_loader", "inflect"):
        pytest.importorskip(package)
    prompt_text = "We do not break. We never give in. We never back down."
    prompt = real / "prompts" / "metis_tts_prompt.wav"
    data = manifest(tmp_path / "data", text="It's 10 to 12.", prompt=prompt, prompt_text=prompt_text)
    assert 0.5 < run(metis_bench, tmp_path, "suites/tts.yaml", "tts", "metis-tts", data) < 15


def test_lip_to_speech(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("av", "cv2"):
        pytest.importorskip(package)
    video = next((real / "lrs" / "talking_face").glob("*.mp4"))
    data = manifest(tmp_path / "data", video=video)
    made = run(metis_bench, tmp_path, "suites/l2s.yaml", "l2s", "metis-l2s-no-prompt", data)
    assert made == pytest.approx(8.0, abs=0.1)


def test_lip_to_speech_from_a_drawn_mouth(metis_bench: Command, tmp_path: Path) -> None:
    """The corpus' own videos: no film is decoded and no face is looked for."""
    pytest.importorskip("espeakng_loader")
    settings = (
        "corpora.mini-l2s.items=1",
        "seeds=[0]",
        "systems.metis-l2s.checkpoint=random-tiny",
        "metrics=[rtf]",
        "oracle_order=[]",
    )
    flags = [flag for setting in settings for flag in ("--set", setting)]
    done = metis_bench("run", "suites/l2s.yaml", "--system", "metis-l2s", *flags, "--json")
    assert done.code == 0, done.err
    (cell,) = [c for c in done.json["results"]["cells"] if c["column"] == "rtf"]
    assert (cell["n"], cell["N"], cell["status"]) == (1, 1, "complete")


def test_absent_weights_block_the_system_and_say_what_to_get(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    data = manifest(tmp_path / "data", source=real / "prompts" / "metis_se_noise.wav")
    corpora = f"corpora={{mine: {{corpus: folder, task: se, path: '{data}', manifest: items.jsonl}}}}"
    args = ["run", "suites/se.yaml", "--profile", "paper", "--system", "metis-se", "--set", corpora]
    done = metis_bench(*args, "--set", "oracle_order=[]", "--set", "metrics=[dnsmos]")
    assert done.code == 5
    assert "metis_se/metis_se.safetensors" in done.err and "hf download amphion/metis" in done.err
