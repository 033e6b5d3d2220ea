"""`metis-bench bench`: what it tells was measured, and what cannot be measured is told."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.bench import bench, exit_code
from metis_bench.bench.clips import buzz
from metis_bench.bench.generation import Generating, GenerationHandler
from metis_bench.bench.scoring import Scoring
from metis_bench.config import Config
from metis_bench.errors import UsageError
from reference_models import memory
from tests.e2e.conftest import Command

PLUGIN = """
import time
from metis_bench.corpora.base import ALL_TASKS
from metis_bench.metrics.base import Column, Metric, Score, metrics


class Base(Metric):
    tasks = ALL_TASKS
    needs = frozenset()

    @property
    def columns(self):
        return (Column(self.name, self.name, "higher", 0.0),)

    def signature(self):
        return {"name": self.name}

    def score(self, sample):
        assert sample.output.audio().seconds > 0
        time.sleep(0.2)
        return {self.name: Score("ok", 1.0)}


@metrics.register("sleepy")
class Sleepy(Base):
    name = "sleepy"


@metrics.register("lunar")
class Lunar(Base):
    name = "lunar"
    packages = ("moon-dust",)
    extra = "asr"


@metrics.register("moody")
class Moody(Base):
    name = "moody"

    def score(self, sample):
        raise ValueError("not today")
"""
TINY = ("--size", "tiny", "--task", "se", "--seconds", "0.1", "--repeats", "1", "--threads", "1", "--device", "cpu")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "metis-bench.yaml").write_text("plugins: [plugin.py]\n")
    return tmp_path


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(encode_wav(Audio(buzz(1.5, number, 16_000), 16_000)))
    return folder


def test_the_command_tells_and_writes_what_it_measured(machine: Path, recordings: Path, metis_bench: Command) -> None:
    given = (*TINY, "--batch", "1,2", "--dtype", "float32", "--metric", "si_sdr,sleepy,lunar", "--clips", "recordings")
    done = metis_bench("bench", *given, "--clip-seconds", "1", "--json", "machine.json")
    assert done.code == 0, done.err
    for told in ("generation: tiny se", "official", "scoring: one worker", "sleepy", "limit: TFLOP/s"):
        assert told in done.out
    assert "random weights" in done.err, "what it needs is told before"
    again = metis_bench("bench", "--only", "scoring", "--metric", "sleepy", "--clips", "recordings", "--json")
    assert again.json["generation"] is None and again.json["scoring"]["rows"][0]["metric"] == "sleepy"

    found = json.loads((machine / "machine.json").read_text())
    assert datetime.fromisoformat(found["created"]).year >= 2025
    assert found["hardware"]["cores"] >= 1 and found["hardware"]["cpu"] and found["packages"]["torch"]

    rows = found["generation"]["rows"]
    assert [(r["mode"], r["batch"]) for r in rows] == [("official", 1), ("default", 1), ("official", 2), ("default", 2)]
    for official, default in (rows[:2], rows[2:]):
        assert default["tokens"] is True
        assert default["speed_up"] == pytest.approx(official["seconds"] / default["seconds"])
        limit = found["generation"]["limits_tflop_per_second"]["float32"]
        assert default["of_limit"] == pytest.approx(default["tflop"] / default["seconds"] / limit)

    scoring = found["scoring"]
    rates = {r["metric"]: r for r in scoring["rows"]}
    assert set(rates) == {"si_sdr", "sleepy"} and scoring["clips"]["count"] == 3
    assert rates["sleepy"]["clips"] == 2 and rates["sleepy"]["audio_s"] == 2.0, "the first clip is not timed"
    assert 0.4 <= rates["sleepy"]["seconds"] < 4, "it sleeps for 0.2 s a clip"
    assert rates["sleepy"]["rtf"] == pytest.approx(rates["sleepy"]["seconds"] / 2)
    assert rates["sleepy"]["rtf"] > 2 * rates["si_sdr"]["rtf"]
    (lunar,) = scoring["lacking"]
    assert lunar["metric"] == "lunar" and "moon-dust" in lunar["reason"] and "[asr]" in lunar["fix"]
    assert "moon-dust" in done.out and "[asr]" in done.out


def test_a_metric_that_fails_is_a_row_with_its_reason(machine: Path, recordings: Path, metis_bench: Command) -> None:
    done = metis_bench("bench", "--only", "scoring", "--metric", "moody,sleepy", "--clips", "recordings")
    assert done.code == 6
    assert "not today" in done.out and "sleepy" in done.out


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--metric", "sleppy"), 2, "did you mean 'sleepy'"),
        (("--dtype", "float8"), 2, "did you mean 'float32'"),
        (("--batch", "two"), 2, "whole numbers"),
        (("--seconds", "nan"), 2, "no finite number"),
        (("--json", "recordings"), 2, "is a folder"),
        (("--clips", "nowhere"), 2, "no such folder: nowhere"),
        (("--only", "scoring", "--clips", "."), 2, "two at least"),
        (("--only", "scoring", "--metric", "lunar", "--clips", "recordings"), 5, "none of these metrics"),
    ],
)
def test_errors_come_at_once_and_say_what_to_do(
    machine: Path, recordings: Path, metis_bench: Command, args: tuple[str, ...], code: int, told: str
) -> None:
    if "." in args:
        for clip in list(recordings.iterdir())[1:]:
            clip.unlink()
    done = metis_bench("bench", *args)
    assert done.code == code
    assert told in " ".join((done.err + done.out).split())
    assert "generation:" not in done.out


def test_no_gpu_is_told_and_the_rest_is_measured(
    machine: Path, recordings: Path, metis_bench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (machine / "metis-bench.yaml").write_text("plugins: [plugin.py]\ndevices: []\n")
    done = metis_bench("bench", "--device", "cuda", "--metric", "sleepy", "--clips", "recordings", "--json")
    assert done.code == 5
    assert "no GPU" in done.json["generation"]["unavailable"]["reason"] and done.json["generation"]["rows"] == []
    assert done.json["scoring"]["rows"][0]["rtf"] > 0


def here(tmp_path: Path) -> Config:
    return Config(store=tmp_path / "store", runs=tmp_path / "runs", workers=1)


def test_without_torch_scoring_is_still_measured(
    tmp_path: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    scored = Scoring(("si_sdr",), recordings, count=2, seconds=1.0)
    found = bench(here(tmp_path), Generating(size="tiny"), scored)
    why = found["generation"]["unavailable"]
    assert "'torch'" in why["reason"] and why["fix"].startswith("pip install")
    assert found["scoring"]["rows"][0]["rtf"] > 0
    assert exit_code(found) == 5
    assert not (tmp_path / "store").exists(), "the user's store is left alone"


def test_what_does_not_fit_is_told_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_mb", lambda: 4000.0)
    worker = GenerationHandler(asdict(Generating(size="full", device="cpu")))
    (told,) = worker.run((1,), 0)
    assert "9." in told["missing"] and "4.2 GB of memory are free" in told["missing"] and "--size mini" in told["fix"]
    (facts,) = GenerationHandler(asdict(Generating(size="mini", device="cpu"))).run((), 0)
    assert facts["weights_gb"] < 0.1 and facts["device"] == "cpu"


def test_a_worker_that_dies_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    from metis_bench.bench import generation
    from metis_bench.engine.executor import Crash

    found: dict[str, Any] = {"rows": []}
    generation._take(found, 8, Crash("the worker died (killed by signal 9)"), print)
    (row,) = found["rows"]
    assert row["batch"] == 8 and "signal 9" in row["failed"]


def test_a_machine_without_espeak_scores_a_buzz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from metis_bench.bench import clips
    from metis_bench.errors import MissingPrerequisite

    def absent(*_: object) -> None:
        raise MissingPrerequisite("no eSpeak")

    monkeypatch.setattr(clips, "Mini", absent)
    made, what = clips.synthetic(2, 0.5, here(tmp_path))
    assert [one.audio.seconds for one in made] == [0.5, 0.5] and "buzz" in what


def test_synthetic_speech_has_the_length_asked_for_and_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    from metis_bench.bench import clips

    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path))
    made, what = clips.synthetic(2, 4.0, here(tmp_path))
    assert [one.audio.seconds for one in made] == [4.0, 4.0] and "mini corpus" in what
    assert all(one.text for one in made) and made[0].text != made[1].text


def test_precisions_are_checked_without_torch() -> None:
    with pytest.raises(UsageError, match="float32"):
        Generating(dtypes=("float31",)).check()
