"""The suites for one's own data that docs/corpora.md shows, run as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav, load
from tests.e2e.conftest import Command

DOCS = Path(__file__).resolve().parents[2] / "docs" / "corpora.md"
SUITES = dict(re.findall(r"```yaml\n# suite: (\w+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
ROLES = {
    "tts": ("prompt", "reference"),
    "vc": ("source", "prompt"),
    "tse": ("source", "prompt", "reference"),
    "se": ("source", "reference"),
    "l2s": ("prompt", "reference"),
}


def test_every_task_has_one() -> None:
    assert set(SUITES) == set(ROLES)
    assert all(len(text.strip().splitlines()) <= 12 for text in SUITES.values())


@pytest.mark.parametrize("task", SUITES)
def test_a_suite_of_the_docs(task: str, metis_bench: Command, tmp_path: Path, real: Path) -> None:
    for package in ("pocketsphinx", "resemblyzer"):
        pytest.importorskip(package)
    speech = sorted((real / "vctk/VCTK-Corpus-0.92/wav48_silence_trimmed").rglob("*.flac"))
    data = tmp_path / "my_data"
    lines = []
    for number, name in enumerate("ab"):
        line: dict[str, str] = {"id": name, "text": "please call stella", "cluster": name}
        clean = load(speech[3 * number], 16_000).samples[:48_000]
        noise = np.random.default_rng(number).standard_normal(len(clean)).astype(np.float32) * 0.01
        for role in ROLES[task]:
            path = data / role / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_wav(Audio(clean + noise if role == "source" else clean, 16_000)))
            line[role] = f"{role}/{name}.wav"
        if task == "l2s":
            (data / f"{name}.npy").write_bytes(b"a mouth")
            line["video"] = f"{name}.npy"
        output = tmp_path / "outputs" / f"{name}.wav"
        output.parent.mkdir(exist_ok=True)
        output.write_bytes(encode_wav(Audio(clean, 16_000)))
        lines.append(line)
    (data / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "mine.yaml").write_text(SUITES[task])
    done = metis_bench("run", "mine.yaml", "--json")
    assert done.code == 0, done.err
    cells = [c for c in done.json["results"]["cells"] if c["system"] == "my-model"]
    assert cells and all(c["status"] == "complete" and c["n"] == c["N"] == 2 for c in cells)
