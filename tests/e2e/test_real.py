"""The two shipped suites on real recordings in the official layouts (the acceptance of the straight line)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Command

pytestmark = pytest.mark.long


def run(metis_bench: Command, folder: Path, real: Path, suite: str, systems: str) -> dict[str, Any]:
    (folder / "metis-bench.yaml").write_text(f"corpora: {{root: '{real}'}}\n")
    done = metis_bench("run", suite, "--profile", "paper", "--system", systems, "--json", timeout=900)
    assert done.code == 0, done.err
    results: dict[str, Any] = done.json["results"]
    for cell in results["cells"]:
        assert cell["status"] in ("complete", "not_applicable"), cell
        assert cell["n"] == cell["N"]
    assert results["failures"] == []
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
