"""The shipped suites on real recordings in the official layouts (the acceptance of the straight line)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metis_bench.audio import probe
from metis_bench.suite.load import load_suite
from tests.e2e.conftest import Command, Done

pytestmark = pytest.mark.long


def run(metis_bench: Command, folder: Path, real: Path, suite: str, systems: str) -> dict[str, Any]:
    (folder / "metis-bench.yaml").write_text(f"corpora: {{root: '{real}'}}\n")
    return complete(paper(metis_bench, suite, systems))


def paper(metis_bench: Command, suite: str, systems: str, *more: str) -> Done:
    """The paper profile of a shipped suite, without the systems that need weights.

    Without the networks of quality, the slowest metrics, except where noise is what it is about.
    """
    loaded = load_suite(suite, "paper")
    kept = [m for m in loaded.metrics if loaded.task == "se" or m.type not in ("dnsmos", "nisqa")]
    metrics = json.dumps([{m.type: m.params.model_dump(mode="json")} for m in kept])
    args = ("--profile", "paper", "--system", systems, "--set", f"metrics={metrics}", *more)
    return metis_bench("run", suite, *args, "--json", timeout=900)


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
    pytest.importorskip("pyrnnoise")
    systems = "noisy,ground-truth,logmmse,rnnoise"
    results = run(metis_bench, tmp_path, real, "suites/se.yaml", systems)
    v = values(results)
    for name in ("dns2020/no_reverb", "dns2020/with_reverb"):
        assert v[name, "ground-truth", "dnsmos.ovrl"] > v[name, "noisy", "dnsmos.ovrl"]
        assert v[name, "ground-truth", "pesq.wb"] > v[name, "noisy", "pesq.wb"]
        for system in ("logmmse", "rnnoise"):
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
    """All corpora of the paper profile, as far as the excerpts go: VCTK's has the first microphone alone."""
    for package in ("pocketsphinx", "pyworld", "resemblyzer"):
        pytest.importorskip(package)
    (tmp_path / "metis-bench.yaml").write_text(f"corpora: {{root: '{real}'}}\n")
    few = [part for key in ("vctk", "vctk-same") for part in
           ("--set", f"corpora.{key}.mic=mic1", "--set", f"corpora.{key}.items=4")]  # fmt: skip
    results = complete(paper(metis_bench, "vc", "ground-truth,source-copy,prompt-copy,world-copy,world-vc", *few))
    v = values(results)
    for name in ("vctk", "seedtts-vc-en"):
        assert v[name, "world-vc", "sim.ge2e.source"] < v[name, "source-copy", "sim.ge2e.source"] == pytest.approx(1.0)
        assert v[name, "ground-truth", "sim.ge2e"] is None, "nobody recorded it"
    assert v["vctk", "world-vc", "sim.ge2e"] > v["vctk", "source-copy", "sim.ge2e"], "towards the new voice"
    assert v["vctk-same", "source-copy", "sim.ge2e"] > v["vctk", "source-copy", "sim.ge2e"] + 0.1
    assert all(c["ok"] is not False for c in results["oracle_checks"] if c["set"] != "vctk-same")


def test_extraction(metis_bench: Command, tmp_path: Path, real: Path) -> None:
    """Mixtures made from real LibriSpeech as LibriMix makes them, and stand-ins for EmiliaMix, without transcripts."""
    for package in ("pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    speech = real / "librispeech" / "LibriSpeech"
    rows = ["speaker_ID,sex,subset,length,origin_path"]
    for path in sorted((speech / "test-other").rglob("*.flac")):
        rows.append(f"{path.parts[-3]},M,test-other,{probe(path).frames},{path.relative_to(speech)}")
    (tmp_path / "utterances.csv").write_text("\n".join(rows) + "\n")
    with (real / "libri2mix/metadata/libri2mix_test-other.csv").open() as listed:
        (tmp_path / "mixtures.csv").write_text("".join(line for _, line in zip(range(4), listed, strict=False)))
    wild = [json.loads(line) for line in (real / "emiliamix_like" / "manifest.jsonl").read_text().splitlines()]
    folder = tmp_path / "wild"
    folder.mkdir()
    for entry in (real / "emiliamix_like").iterdir():
        (folder / entry.name).symlink_to(entry)
    lines = [
        {"id": w["id"], "source": w["mix"], "reference": w["target"], "prompt": w["enroll"], "text": w["text"]}
        for w in wild
    ]
    (folder / "wild.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "metis-bench.yaml").write_text(f"corpora: {{librispeech: '{real / 'librispeech'}', emiliamix: wild}}\n")
    changes = [
        *("--set", "corpora.librimix={corpus: librimix, metadata: mixtures.csv, utterances: utterances.csv}"),
        *("--set", "corpora.emiliamix={corpus: folder, task: tse, manifest: wild.jsonl}"),
    ]
    systems = "ground-truth,mixture,prompt-copy,silence,oracle-mask,nmf-tse"
    results = complete(paper(metis_bench, "tse", systems, *changes))
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
    """Real talking faces in the layouts of LRS2 and LRS3, voices from SeedTTS; nothing decodes the picture."""
    for package in ("av", "pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    clips = sorted((real / "lrs" / "grid" / "main").rglob("*.mp4"))[:3]
    for name, part in (("lrs2", "main"), ("lrs3", "test")):
        folder = tmp_path / name / part / "grid"
        folder.mkdir(parents=True)
        for clip in clips:
            for path in (clip, clip.with_suffix(".txt")):
                (folder / path.name).symlink_to(path)
    (tmp_path / "lrs2" / "test.txt").write_text("".join(f"grid/{clip.stem}\n" for clip in clips))
    roots = f"lrs2: lrs2, lrs3: lrs3, seedtts: '{real / 'seedtts'}'"
    (tmp_path / "metis-bench.yaml").write_text(f"corpora: {{{roots}}}\n")
    results = complete(paper(metis_bench, "l2s", "ground-truth,prompt-copy,silence"))
    v = values(results)
    for name in ("lrs2", "lrs3"):
        assert v[name, "ground-truth", "wer.pocketsphinx"] < v[name, "silence", "wer.pocketsphinx"] == 100.0
    assert any("3 of 1243" in w for w in results["warnings"]) and any("3 of 1321" in w for w in results["warnings"])
    assert all(c["ok"] for c in results["oracle_checks"])
