"""The shipped suites on real recordings in the official layouts (the acceptance of the straight line)."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command, Done

pytestmark = pytest.mark.long


def run(metis_bench: Command, folder: Path, real: Path, suite: str, systems: str) -> dict[str, Any]:
    (folder / "metis-bench.yaml").write_text(f"corpora: {{root: '{real}'}}\n")
    return complete(paper(metis_bench, suite, systems))


def paper(metis_bench: Command, suite: str, systems: str) -> Done:
    """The paper profile of a shipped suite, without the systems that need weights."""
    return metis_bench("run", suite, "--profile", "paper", "--system", systems, "--json", timeout=900)


def complete(done: Done, silent: str = "silence") -> dict[str, Any]:
    """The results of a run in which nothing failed; only the `silent` system may lack scores."""
    assert done.code == 0, done.err
    results: dict[str, Any] = done.json["results"]
    for cell in results["cells"]:
        if cell["system"] != silent:
            assert cell["status"] in ("complete", "not_applicable"), cell
            assert cell["n"] == cell["N"]
    assert {f["system"] for f in results["failures"]} <= {silent}
    return results


def values(results: dict[str, Any]) -> dict[tuple[str, str, str], float]:
    return {(c["set"], c["system"], c["column"]): c["value"] for c in results["cells"]}


def test_enhancement(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("noisereduce", "pyrnnoise"):
        pytest.importorskip(package)
    systems = "noisy,ground-truth,logmmse,rnnoise,spectral-gate"
    results = run(metis_bench, tmp_path, real, "suites/se.yaml", systems)
    v = values(results)
    for name in ("dns2020/no_reverb", "dns2020/with_reverb"):
        assert v[name, "ground-truth", "dnsmos.ovrl"] > v[name, "noisy", "dnsmos.ovrl"]
        assert v[name, "ground-truth", "pesq.wb"] > v[name, "noisy", "pesq.wb"]
        for system in ("logmmse", "rnnoise", "spectral-gate"):
            assert v[name, system, "dnsmos.bak"] > v[name, "noisy", "dnsmos.bak"], "each removes noise"
    assert v["dns2020/real", "ground-truth", "dnsmos.ovrl"] is None
    assert v["dns2020/real", "rnnoise", "pesq.wb"] is None
    assert any("6 of 150" in w for w in results["warnings"])
    kinds = {s["name"]: s["ranked"] for s in results["systems"]}
    ranks = {c["system"] for c in results["cells"] if c["rank"] is not None}
    assert ranks == {n for n, ranked in kinds.items() if ranked}


def test_speech_synthesis(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("pocketsphinx", "espeakng_loader"):
        pytest.importorskip(package)
    results = run(metis_bench, tmp_path, real, "suites/tts.yaml", "ground-truth,prompt-copy,espeak")
    v = values(results)
    assert v["seedtts-en", "prompt-copy", "sim.ge2e"] > v["seedtts-en", "espeak", "sim.ge2e"]
    assert v["seedtts-en", "ground-truth", "wer.pocketsphinx"] < v["seedtts-en", "prompt-copy", "wer.pocketsphinx"]
    (test_set,) = results["sets"]
    assert (test_set["items"], test_set["official_count"]) == (10, 1088)


def test_voice_conversion(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    """Both corpora of the paper profile: the conversion list, and a VCTK manifest with pairs across speakers."""
    for package in ("pocketsphinx", "pyworld", "resemblyzer"):
        pytest.importorskip(package)
    tree = real / "vctk" / "VCTK-Corpus-0.92"
    data = tmp_path / "vctk"
    data.mkdir()
    (data / "wavs").symlink_to(tree / "wav48_silence_trimmed")
    pairs = [("p225", "003", "p226", "011"), ("p226", "005", "p227", "003"), ("p227", "008", "p225", "016")]
    lines = [
        {
            "id": f"{speaker}_{number}-{voice}",
            "source": f"wavs/{speaker}/{speaker}_{number}_mic1.flac",
            "prompt": f"wavs/{voice}/{voice}_{other}_mic1.flac",
            "text": (tree / "txt" / speaker / f"{speaker}_{number}.txt").read_text().strip(),
            "reference": f"wavs/{voice}/{voice}_{number}_mic1.flac",
            "cluster": voice,
        }
        for speaker, number, voice, other in pairs
    ]
    (data / "vctk_cross_200.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "metis-bench.yaml").write_text(f"corpora: {{root: '{real}', vctk: vctk}}\n")
    results = complete(paper(metis_bench, "vc", "ground-truth,source-copy,prompt-copy,world-copy,world-vc"))
    v = values(results)
    for name in ("vctk", "seedtts-vc-en"):
        assert v[name, "world-vc", "sim.ge2e.source"] < v[name, "source-copy", "sim.ge2e.source"] == pytest.approx(1.0)
    assert v["vctk", "world-vc", "sim.ge2e"] > v["vctk", "source-copy", "sim.ge2e"], "towards the new voice"
    assert v["seedtts-vc-en", "ground-truth", "sim.ge2e"] is None, "nobody recorded it"
    assert all(c["ok"] is not False for c in results["oracle_checks"])


def test_extraction(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    """Real mixtures as a manifest over the LibriMix layout, and stand-ins for EmiliaMix, which have no transcripts."""
    for package in ("pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    mixes = real / "libri2mix"
    enrolled = json.loads((mixes / "enrollment_librispeech.json").read_text())
    texts = {row["mixture_ID"]: row for row in csv.DictReader((mixes / "transcripts.csv").open())}
    lines = [
        {
            "id": name,
            "source": f"libri2mix/Libri2Mix/wav16k/min/test/mix_clean/{name}.wav",
            "reference": f"libri2mix/Libri2Mix/wav16k/min/test/s1/{name}.wav",
            "prompt": enrolled[f"{name}|{row['source_1_utt']}"][0],
            "text": row["source_1_text"],
            "cluster": row["source_1_utt"].split("-")[0],
        }
        for name, row in texts.items()
    ]
    wild = [json.loads(line) for line in (real / "emiliamix_like" / "manifest.jsonl").read_text().splitlines()]
    others = [
        {"id": w["id"], "source": w["mix"], "reference": w["target"], "prompt": w["enroll"], "text": w["text"]}
        for w in wild
    ]
    for key, items, target in (("librimix", lines[:4], real), ("emiliamix", others, real / "emiliamix_like")):
        folder = tmp_path / key
        folder.mkdir()
        for entry in target.iterdir():
            (folder / entry.name).symlink_to(entry)
        name = {"librimix": "libri2mix_test_max_clean_s1", "emiliamix": "emiliamix_test"}[key]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in items))
    (tmp_path / "metis-bench.yaml").write_text("corpora: {root: '.'}\n")
    results = complete(paper(metis_bench, "tse", "ground-truth,mixture,prompt-copy,silence,oracle-mask,nmf-tse"))
    v = values(results)
    for name in ("librimix", "emiliamix"):
        assert v[name, "ground-truth", "si_sdr"] == 100.0
        assert v[name, "oracle-mask", "si_sdr"] > v[name, "mixture", "si_sdr"] + 5
        assert v[name, "oracle-mask", "sim.ge2e.ref"] > v[name, "mixture", "sim.ge2e.ref"]
    assert v["librimix", "ground-truth", "sim.ge2e"] > v["librimix", "mixture", "sim.ge2e"]
    assert v["librimix", "ground-truth", "wer.pocketsphinx"] < v["librimix", "mixture", "wer.pocketsphinx"]
    assert v["emiliamix", "mixture", "wer.pocketsphinx"] is None, "no transcripts"
    assert all(c["ok"] is not False for c in results["oracle_checks"])


def test_lip_to_speech(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    """Real talking faces: the reference is the video's own sound; bounds are scored, nothing decodes the picture."""
    for package in ("av", "pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    clips = sorted((real / "lrs" / "grid" / "main").rglob("*.mp4"))[:3]
    prompt = real / "seedtts" / "en" / "prompt-wavs" / "p226_016.wav"
    for name in ("lrs2", "lrs3"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "prompt.wav").symlink_to(prompt)
        lines = []
        for clip in clips:
            (folder / clip.name).symlink_to(clip)
            text = clip.with_suffix(".txt").read_text().splitlines()[0].removeprefix("Text:").strip()
            lines.append(
                {"id": clip.stem, "video": clip.name, "reference": clip.name, "prompt": "prompt.wav", "text": text}
            )
        (folder / f"{name}_test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "metis-bench.yaml").write_text("corpora: {root: '.'}\n")
    results = complete(paper(metis_bench, "l2s", "ground-truth,prompt-copy,silence"))
    v = values(results)
    for name in ("lrs2", "lrs3"):
        assert v[name, "ground-truth", "wer.pocketsphinx"] < v[name, "silence", "wer.pocketsphinx"] == 100.0
    assert all(c["ok"] for c in results["oracle_checks"])
