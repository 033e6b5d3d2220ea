"""Malformed suites, configs, lists and audio: a one-screen error or a failed row; never a traceback (the fixture
asserts it), never a changed denominator."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from tests.e2e.conftest import Command

SCREEN = 24
TONE = encode_wav(Audio((0.1 * np.sin(np.arange(16000) / 10)).astype(np.float32), 16_000))

SUITE = "name: s\ntask: se\ncorpora: {mine: {corpus: folder, task: se}}\nsystems: [low-pass]\nmetrics: [rtf]\n"


def header(**changes: int) -> bytes:
    """A one-second PCM16 wav header with some fields falsified, then its samples."""
    f = {"riff": 32036, "fmt": 1, "channels": 1, "rate": 16000, "bits": 16, "data": 32000, **changes}
    block = f["channels"] * f["bits"] // 8
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", f["riff"], b"WAVE", b"fmt ", 16, f["fmt"], f["channels"], f["rate"],
                       f["rate"] * block, block, f["bits"])  # fmt: skip
    return head + struct.pack("<4sI", b"data", f["data"]) + TONE[-32000:]


def nan_wav() -> bytes:
    import io

    from scipy.io import wavfile

    buffer = io.BytesIO()
    wavfile.write(buffer, 16_000, np.array([0.1, np.nan, np.inf, 0.2] * 4000, dtype=np.float32))
    return buffer.getvalue()


SUITES: dict[str, str | bytes] = {
    "empty": "",
    "binary": b"\x89PNG\r\n\x1a\n\x00\x00",
    "not utf-8": b"name: \xff\xfe",
    "a list": "- run everything",
    "unclosed": "name: [s",
    "unknown key": SUITE + "colour: blue\n",
    "unknown system": SUITE.replace("low-pass", "lowpas"),
    "unknown metric": SUITE.replace("rtf", "rtff"),
    "unknown corpus": SUITE.replace("folder", "holder"),
    "wrong task": SUITE.replace("task: se\n", "task: sing\n"),
    "python tag": SUITE + "title: !!python/object/apply:os.system ['touch pwned']\n",
    "duplicate key": SUITE + "name: t\n",
    "self include": SUITE + "include: [s.yaml]\n",
    "name with a slash": SUITE.replace("name: s", "name: ../../s"),
    "seeds as text": SUITE + "seeds: many\n",
    "oracle order on no column": SUITE + "oracle_order: [{column: pesq.wb, better: low-pass, worse: low-pass}]\n",
}

MANIFESTS: dict[str, str] = {
    "empty": "",
    "not json": "{id: 1}\n",
    "not an object": "[1, 2]\n",
    "unknown key": '{"id": "a", "sourse": "a.wav"}\n',
    "no source": '{"id": "a", "text": "hello"}\n',
    "wrong type": '{"id": "a", "source": 7}\n',
    "twice": '{"id": "a", "source": "a.wav"}\n{"id": "a", "source": "a.wav"}\n',
    "leaves the root": '{"id": "a", "source": "../../../etc/passwd"}\n',
    "absolute": '{"id": "a", "source": "/etc/passwd"}\n',
}

META_LISTS: dict[str, str] = {
    "one field": "utt only\n",
    "six fields": "a|b|prompt-wavs/p.wav|c|d|e\n",
    "empty text": "a|b|prompt-wavs/p.wav|\n",
    "empty id": "|b|prompt-wavs/p.wav|c\n",
    "twice": "a|b|prompt-wavs/p.wav|c\na|b|prompt-wavs/p.wav|c\n",
    "escapes": "a|b|../../p.wav|c\n",
    "blank": "\n\n",
}

AUDIO: dict[str, bytes] = {
    "zero bytes": b"",
    "text": b"this is not audio\n" * 100,
    "half a header": TONE[:20],
    "no samples": header(data=0)[:44],
    "cut short": TONE[:10_000],
    "zero channels": header(channels=0),
    "rate 1": header(rate=1),
    "unknown codec": header(fmt=0x7777),
    "nan": nan_wav(),
    "html": b"<!doctype html><title>404</title>",
    "lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 320044\n",
}


def assert_one_screen(text: str) -> None:
    assert text.strip()
    assert len(text.splitlines()) <= SCREEN, text


@pytest.mark.parametrize("name", sorted(SUITES))
def test_suites(tmp_path: Path, metis_bench: Command, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(TONE)
    (tmp_path / "metis-bench.yaml").write_text("corpora: {folder: data}\n")
    content = SUITES[name]
    (tmp_path / "s.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = metis_bench("run", "s.yaml")
    assert done.code == 2
    assert_one_screen(done.err)
    assert "s.yaml" in done.err or "oracle_order" in done.err
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    ["corpora: [a]\n", "colour: blue\n", "workers: -1\n", "store: 7\n", "plugins: [no.py]\n", "timeout_s: soon\n"],
)
def test_configs(tmp_path: Path, metis_bench: Command, content: str) -> None:
    (tmp_path / "metis-bench.yaml").write_text(content)
    done = metis_bench("plan", "suites/se.yaml")
    assert done.code in (2, 5)
    assert_one_screen(done.err)


def corpus_error(tmp_path: Path, metis_bench: Command, suite: str, config: str) -> None:
    (tmp_path / "s.yaml").write_text(suite)
    (tmp_path / "metis-bench.yaml").write_text(config)
    done = metis_bench("run", "s.yaml")
    assert done.code == 2, done.err
    assert_one_screen(done.err)


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_manifests(tmp_path: Path, metis_bench: Command, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.wav").write_bytes(TONE)
    (tmp_path / "data" / "manifest.jsonl").write_text(MANIFESTS[name])
    corpus_error(tmp_path, metis_bench, SUITE, "corpora: {folder: data}\n")


@pytest.mark.parametrize("name", sorted(META_LISTS))
def test_meta_lists(tmp_path: Path, metis_bench: Command, name: str) -> None:
    prompts = tmp_path / "data" / "en" / "prompt-wavs"
    prompts.mkdir(parents=True)
    (prompts / "p.wav").write_bytes(TONE)
    (tmp_path / "data" / "en" / "meta.lst").write_text(META_LISTS[name])
    suite = "name: s\ntask: tts\ncorpora: {mine: {corpus: seedtts}}\nsystems: [prompt-copy]\nmetrics: [rtf]\n"
    corpus_error(tmp_path, metis_bench, suite, "corpora: {seedtts: data}\n")


def failed_rows(tmp_path: Path, metis_bench: Command, files: dict[str, bytes | Path]) -> dict[str, str]:
    """Run `low-pass` over a manifest of all files plus one good one; returns the reasons of the failed items."""
    data = tmp_path / "data"
    data.mkdir()
    lines = []
    for name, content in {"good": TONE, **files}.items():
        target = data / (content.name if isinstance(content, Path) else f"{name.replace(' ', '_')}.wav")
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content)
        lines.append(json.dumps({"id": name, "source": target.name}) + "\n")
    (data / "manifest.jsonl").write_text("".join(lines))
    (tmp_path / "s.yaml").write_text(SUITE)
    (tmp_path / "metis-bench.yaml").write_text("corpora: {folder: data}\n")
    done = metis_bench("run", "s.yaml", "--json")
    assert done.code == 6, done.err
    results = done.json["results"]
    (cell,) = results["cells"]
    reasons = {f["item"]: f["reason"] for f in results["failures"] if f["stage"] == "generate"}
    assert cell["N"] == len(files) + 1, "the denominator is the list"
    assert cell["n"] == cell["N"] - len(reasons)
    assert "good" not in reasons
    return reasons


def test_broken_audio_is_a_failed_row_each(tmp_path: Path, metis_bench: Command) -> None:
    reasons = failed_rows(tmp_path, metis_bench, dict(AUDIO))
    assert set(reasons) == set(AUDIO)
    assert all(len(r) < 300 for r in reasons.values())


def test_the_real_odd_files(tmp_path: Path, metis_bench: Command, real: Path) -> None:
    files: dict[str, bytes | Path] = {p.name: p for p in sorted((real / "edge").iterdir())}
    reasons = failed_rows(tmp_path, metis_bench, files)
    assert set(reasons) == {"empty.wav", "truncated.flac", "testing.m4a"}


def dns(folder: Path, change: Callable[[Path], None]) -> None:
    for subset in ("no_reverb", "with_reverb"):
        for kind, name in (("noisy", "clnsp1_x_snr0_tl-20_fileid_{}.wav"), ("clean", "clean_fileid_{}.wav")):
            (folder / "synthetic" / subset / kind).mkdir(parents=True)
            for i in (1, 2):
                (folder / "synthetic" / subset / kind / name.format(i)).write_bytes(TONE)
    (folder / "real_recordings").mkdir()
    (folder / "real_recordings" / "r.wav").write_bytes(TONE)
    change(folder)


def test_one_corrupted_wav_is_one_failed_row(tmp_path: Path, metis_bench: Command) -> None:
    def corrupt(folder: Path) -> None:
        (folder / "synthetic/no_reverb/noisy/clnsp1_x_snr0_tl-20_fileid_2.wav").write_bytes(TONE[:1000])

    dns(tmp_path / "dns", corrupt)
    (tmp_path / "metis-bench.yaml").write_text("corpora: {dns2020: dns}\n")
    args = (
        "run",
        "suites/se.yaml",
        "--profile",
        "paper",
        "--system",
        "noisy,ground-truth",
        "--set",
        "metrics=[si_sdr]",
    )
    done = metis_bench(*args, "--set", "oracle_order=[]", "--json")
    assert done.code == 6
    cells = {(c["set"], c["system"]): c for c in done.json["results"]["cells"]}
    assert (cells["dns2020/no_reverb", "noisy"]["n"], cells["dns2020/no_reverb", "noisy"]["N"]) == (1, 2)
    assert cells["dns2020/no_reverb", "ground-truth"]["status"] == "complete"
    assert cells["dns2020/with_reverb", "noisy"]["status"] == "complete"
    (failure,) = [f for f in done.json["results"]["failures"] if f["stage"] == "generate"]
    assert failure["item"] == "fileid_2"
    assert "truncated" in failure["reason"]


def test_a_missing_clean_file_is_a_failed_row_not_a_smaller_set(tmp_path: Path, metis_bench: Command) -> None:
    dns(tmp_path / "dns", lambda f: (f / "synthetic/no_reverb/clean/clean_fileid_1.wav").unlink())
    (tmp_path / "metis-bench.yaml").write_text("corpora: {dns2020: dns}\n")
    args = ("run", "suites/se.yaml", "--profile", "paper", "--system", "noisy", "--set", "metrics=[si_sdr]")
    done = metis_bench(*args, "--set", "oracle_order=[]", "--json")
    assert done.code == 6
    (cell,) = [c for c in done.json["results"]["cells"] if c["set"] == "dns2020/no_reverb"]
    assert (cell["n"], cell["N"]) == (1, 2)
