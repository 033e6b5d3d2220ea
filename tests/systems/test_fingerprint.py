import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench import sources
from metis_bench.audio import Audio
from metis_bench.systems.base import fingerprint
from metis_bench.systems.oracles import LowPass

Make = Callable[..., Any]


def test_changes_with_every_parameter(build: Make) -> None:
    variants: list[dict[str, float]] = [{}, {"frame_ms": 32}, {"alpha": 0.9}, {"xi_min_db": -25}, {"vad_threshold": 1}]
    prints = {fingerprint(build("logmmse", **params)) for params in variants}
    assert len(prints) == len(variants)


def test_a_written_out_default_is_the_same_system(build: Make) -> None:
    assert fingerprint(build("low-pass")) == fingerprint(build("low-pass", cutoff_hz=1000))


def test_differs_between_systems(build: Make, tmp_path: Path) -> None:
    names = ["ground-truth", "prompt-copy", "noisy", "mixture", "silence", "low-pass", "oracle-mask", "logmmse"]
    prints = [fingerprint(build(name)) for name in names] + [fingerprint(build("imported", path=str(tmp_path)))]
    assert len(set(prints)) == len(prints)
    assert prints[:-1] == [fingerprint(build(name)) for name in names]


def test_imported_follows_the_content_not_the_path(tmp_path: Path, build: Make, voice: Make, write_wav: Make) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    write_wav(here / "utt.wav", voice(0.1, 16_000))
    shutil.copytree(here, there)
    before = fingerprint(build("imported", path=str(here)))
    assert fingerprint(build("imported", path=str(there))) == before

    write_wav(here / "utt.wav", Audio(np.zeros(1600, np.float32), 16_000))
    assert fingerprint(build("imported", path=str(here))) != before

    (there / "utt.wav").rename(there / "other.wav")
    assert fingerprint(build("imported", path=str(there))) != before


def test_changes_with_a_package_version(build: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    system = build("rnnoise")
    before = fingerprint(system)
    monkeypatch.setattr("metis_bench.systems.base.require_package", lambda *_: "99.0")
    assert fingerprint(system) != before


def test_changes_with_the_source_of_a_helper_module(
    build: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """low-pass imports _signal: an edit there must re-generate."""
    original = sources._module_file
    before = fingerprint(build("low-pass"))

    def edited(name: str) -> Path | None:
        file = original(name)
        if file is None or not name.endswith("._signal"):
            return file
        copy = tmp_path / file.name
        copy.write_text(file.read_text() + "# edited\n")
        return copy

    monkeypatch.setattr("metis_bench.sources._module_file", edited)
    assert fingerprint(build("low-pass")) != before


def test_a_subclass_is_another_system() -> None:
    class Other(LowPass):
        pass

    params = LowPass.params_type()
    assert fingerprint(Other(params)) != fingerprint(LowPass(params))
