"""`metis-bench baselines import`: what comes in, what is refused, and what a report says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from metis_bench.baselines import machine
from metis_bench.baselines.importing import origin
from metis_bench.errors import ItemError
from metis_bench.hashing import sha256_bytes
from metis_bench.systems.base import Request
from metis_bench.systems.baseline import class_of
from tests.baselines.conftest import Command, Write

Says = Callable[..., None]
TONE = 0.3 * np.sin(np.arange(8000) / 7)


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two files of a model, one in a subset's folder, beside what is no output."""
    folder = tmp_path / "made"
    (folder / "sub").mkdir(parents=True)
    soundfile.write(folder / "a.WAV", TONE, 16000)
    soundfile.write(folder / "sub" / "b.flac", TONE, 24000)
    (folder / "log.txt").write_text("x")
    (folder / ".hidden").mkdir()
    soundfile.write(folder / ".hidden" / "c.wav", TONE, 16000)
    return folder


def test_import(write: Write, machine_says: Says, command: Command, outputs: Path) -> None:
    baseline = write(
        adapter=None, status="manual", paper=[{"system": "Toy", "match": "other-checkpoint", "note": "v2"}]
    )
    done = command(
        "baselines", "import", "toy", "made", "--note", "run.sh", "--commit", "abc123", "--by", "me", "--json"
    )
    assert done.code == 0, done.err
    folder = machine.outputs_folder("toy")
    facts = json.loads((folder / "provenance.json").read_text())
    assert {key: facts[key] for key in ("by", "from", "note", "commit", "count", "rates", "seconds", "problems")} == {
        "by": "me",
        "from": "made",
        "note": "run.sh",
        "commit": "abc123",
        "count": 2,
        "rates": {"16000": 1, "24000": 1},
        "seconds": 0.833,
        "problems": 0,
    }
    assert facts["files"][0]["sha256"] == sha256_bytes((outputs / "a.WAV").read_bytes())
    assert [row["file"] for row in facts["files"]] == ["a.wav", "sub/b.flac"], "suffixes as the system looks for them"
    assert done.json["replaced"] is None
    assert not [p for p in folder.parent.iterdir() if p != folder], "nothing else is left there"

    cls = class_of(baseline)
    system = cls(cls.params_type())
    system.check()
    assert system.generate(Request("b", "tts", "en", 0, subset="sub")).rate == 24000
    with pytest.raises(ItemError):
        system.generate(Request("c", "tts", "en", 0))
    told = str(system.caveat())
    for part in ("2 files from made", "by me", "commit abc123", "run.sh", "not the paper's Toy: v2"):
        assert part in told


def test_importing_again_replaces(write: Write, machine_says: Says, command: Command, outputs: Path) -> None:
    write(adapter=None, status="manual")
    command("baselines", "import", "toy", "made")
    (outputs / "a.WAV").unlink()
    done = command("baselines", "import", "toy", "made")
    assert "they replace the 2 files that were there" in done.out
    folder = machine.outputs_folder("toy")
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["b.flac", "provenance.json"]
    into_itself = command("baselines", "import", "toy", str(folder))
    assert into_itself.code == 2
    assert (folder / "sub" / "b.flac").is_file()


def test_what_is_refused_and_what_allow_takes(
    write: Write, machine_says: Says, command: Command, outputs: Path, rng: np.random.Generator
) -> None:
    write(adapter=None, status="manual")
    command("baselines", "import", "toy", "made")
    soundfile.write(outputs / "stereo.wav", rng.uniform(-0.5, 0.5, (8000, 2)), 16000)
    soundfile.write(outputs / "silent.wav", np.zeros(8000), 16000)
    soundfile.write(outputs / "nan.wav", np.array([0.1, np.nan] * 4000), 16000, subtype="FLOAT")
    (outputs / "cut.wav").write_bytes((outputs / "stereo.wav").read_bytes()[:2000])
    done = command("baselines", "import", "toy", "made")
    assert done.code == 2
    for part in ("stereo.wav: 2 channels", "silent.wav: silent", "nan.wav: the audio holds NaN", "cut.wav: ", "4 of 6"):
        assert part in done.err, part
    folder = machine.outputs_folder("toy")
    assert not (folder / "stereo.wav").exists(), "what was there stays"
    done = command("baselines", "import", "toy", "made", "--allow")
    assert done.code == 0
    assert "4 of them have problems" in done.out
    assert (folder / "cut.wav").is_file()
    problems = [row for row in json.loads((folder / "provenance.json").read_text())["files"] if "problem" in row]
    assert len(problems) == 4


def test_folders_that_are_none(write: Write, machine_says: Says, command: Command, outputs: Path) -> None:
    write(adapter=None, status="manual")
    (outputs / "empty").mkdir()
    assert "holds no .wav" in command("baselines", "import", "toy", "made/empty").err
    assert "not a folder" in command("baselines", "import", "toy", "nowhere").err
    soundfile.write(outputs / "a.flac", TONE, 16000)
    assert "more than one file for a" in command("baselines", "import", "toy", "made").err
    assert not machine.outputs_folder("toy").exists()


def test_only_manual_baselines_are_brought(write: Write, machine_says: Says, command: Command, outputs: Path) -> None:
    write()
    write("printed", adapter=None, status="published")
    for name, words in (
        ("toy", "is run from here"),
        ("printed", "only published numbers"),
        ("tyo", "did you mean 'toy'"),
    ):
        done = command("baselines", "import", name, "made")
        assert done.code == 2
        assert words in done.err
    assert "system: imported, path: DIR" in command("baselines", "import", "toy", "made").err


def test_outputs_of_unknown_origin(tmp_path: Path) -> None:
    assert "nobody has noted where" in origin(tmp_path)
    (tmp_path / "provenance.json").write_text("[]")
    assert "cannot be read" in origin(tmp_path)
