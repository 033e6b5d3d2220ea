"""The store never shows half a record and never keeps NaN."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from metis_bench.engine.store import Store
from metis_bench.files import write_atomic


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_round_trip(store: Store) -> None:
    store.put("score", "abcd", {"value": 1.25, "text": "ü"})
    assert store.get("score", "abcd") == {"value": 1.25, "text": "ü"}
    assert store.get("feature", "abcd") is None


def test_nan_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put("score", "ab", {"value": math.nan})
    assert store.get("score", "ab") is None


@pytest.mark.parametrize("damage", [b"", b'{"value": 1', b"\xff\xfe", b"[1]"])
def test_a_damaged_record_is_none(store: Store, damage: bytes) -> None:
    store.put("generation", "abcd", {"value": 1})
    (path,) = (store.root / "generation").rglob("*.json")
    path.write_bytes(damage)
    assert store.get("generation", "abcd") is None


def test_a_generation_without_its_whole_audio_is_none(store: Store) -> None:
    sha256 = store.put_audio(b"x" * 100)
    record = {"audio": {"sha256": sha256, "bytes": 100}, "wall_s": 1.0, "peak_mb": 1.0, "hardware": {}}
    store.put("generation", "abcd", record)
    assert store.generation("abcd") is not None
    store.audio_path(sha256).write_bytes(b"x" * 99)
    assert store.generation("abcd") is None
    store.put_audio(b"x" * 100)
    assert store.generation("abcd") is not None
    store.audio_path(sha256).unlink()
    assert store.generation("abcd") is None


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
