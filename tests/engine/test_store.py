"""The store never shows half a record and never keeps NaN, in a folder and wherever fsspec reaches."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from metis_bench import places
from metis_bench.engine.store import Made, Store
from metis_bench.errors import AudioError, MissingPrerequisite, UsageError
from metis_bench.files import atomic_writer, write_atomic
from metis_bench.places import place

AUDIO = b"x" * 100


class Mailbox(MemoryFileSystem):  # type: ignore[misc]
    """A place that shows files before they are whole, as most but object stores do."""

    protocol = "mailbox"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    written: list[str] = []

    def pipe_file(self, path: str, value: bytes, **kwargs: Any) -> None:
        self.written.append(path)
        super().pipe_file(path, value, **kwargs)


fsspec.register_implementation("mailbox", Mailbox, clobber=True)


@pytest.fixture(params=["folder", "memory", "mailbox"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path / "home"))
    if request.param == "folder":
        return Store(tmp_path / "store")
    return Store(f"{request.param}://{uuid.uuid4().hex}")


def paths(store: Store, space: str) -> list[str]:
    """Names of all that is kept in a space."""
    if isinstance(store.root, Path):
        return [str(p.relative_to(store.root)) for p in (store.root / space).rglob("*") if p.is_file()]
    root = store.files._root  # type: ignore[attr-defined]
    return [name[len(root) + 1 :] for name in store.files.fs.find(f"{root}/{space}")]  # type: ignore[attr-defined]


def record(sha256: str) -> dict[str, Any]:
    audio = {"bytes": 100, "rate": 8000, "seconds": 0.1, "over_full_scale": 0, "sha256": sha256}
    return {"audio": audio, "wall_s": 1.0, "latency_s": 1.0, "peak_mb": 2.0, "hardware": {"cpu": "one"}}


def test_round_trip(store: Store) -> None:
    store.put("score", "abcd", {"value": 1.25, "text": "ü"})
    assert store.get("score", "abcd") == {"value": 1.25, "text": "ü"}
    assert store.get("feature", "abcd") is None
    assert paths(store, "score") == ["score/ab/abcd.json"]


def test_nan_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.put("score", "ab", {"value": math.nan})
    assert store.get("score", "ab") is None


@pytest.mark.parametrize("damage", [b"", b'{"value": 1', b"\xff\xfe", b"[1]"])
def test_a_damaged_record_is_none(store: Store, damage: bytes) -> None:
    store.put("generation", "abcd", {"value": 1})
    store.files.write("generation/ab/abcd.json", damage)
    assert store.get("generation", "abcd") is None
    assert list(store.get_all("generation", ["abcd"])) == [None]
    assert store.generation("abcd") is None


@pytest.mark.parametrize("lacking", ["audio", "wall_s", "latency_s", "hardware"])
def test_a_generation_that_lacks_something_is_none(store: Store, lacking: str) -> None:
    kept = record(store.put_audio(AUDIO))
    store.put("generation", "abcd", kept)
    assert store.generation("abcd") is not None
    del kept[lacking]
    store.put("generation", "abcd", kept)
    assert store.generation("abcd") is None


def test_a_generation_without_its_whole_audio_is_none(store: Store) -> None:
    sha256 = store.put_audio(AUDIO)
    store.put("generation", "abcd", record(sha256))
    found = store.generation("abcd")
    assert found == Made(sha256, 100, 8000, 0.1, 0, 1.0, 1.0, 2.0, {"cpu": "one"})
    assert found.to_json() == record(sha256)
    name = f"audio/{sha256[:2]}/{sha256}.wav"
    store.files.write(name, b"x" * 99)
    assert store.generation("abcd") is None
    assert store.put_audio(AUDIO) == sha256
    assert store.generation("abcd") is not None
    store.files.remove(name)
    assert store.generation("abcd") is None


def test_many_are_looked_at_in_their_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metis_bench.engine.store.AHEAD", 7)
    sha256 = store.put_audio(AUDIO)
    for i in range(0, 20, 2):
        store.put("score", f"{i:04d}", {"i": i})
        store.put("generation", f"{i:04d}", record(sha256))
    keys = [f"{i:04d}" for i in range(20)]
    assert [r and r["i"] for r in store.get_all("score", keys)] == [None if i % 2 else i for i in range(20)]
    made = list(store.generations(keys))
    assert [m is None for m in made] == [bool(i % 2) for i in range(20)]
    assert len({id(m.hardware) for m in made if m is not None}) == 1, "the same conditions are one object"


def test_what_was_read_ahead_is_not_asked_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("feature", "aa", {"value": 1})
    with store.ahead("feature", ["aa", "bb", "cc"]):
        monkeypatch.setattr(store.files, "read", lambda name: pytest.fail(f"asked for {name}"))
        assert store.get("feature", "aa") == {"value": 1}
        assert store.get("feature", "bb") is None
        monkeypatch.undo()
        store.put("feature", "bb", {"value": 2})
        assert store.get("feature", "bb") == {"value": 2}, "what is written meanwhile is seen"
        store.put("feature", "cc", {"value": 3})
    assert store.get("feature", "cc") == {"value": 3}


def test_altered_audio_is_removed(store: Store) -> None:
    sha256 = store.put_audio(AUDIO)
    assert store.read_audio(sha256) == AUDIO
    store.files.write(f"audio/{sha256[:2]}/{sha256}.wav", b"y" * 100)
    store.files.forget(f"audio/{sha256[:2]}/{sha256}.wav")
    with pytest.raises(AudioError, match="altered on disk; it is removed"):
        store.read_audio(sha256)
    assert paths(store, "audio") == []
    with pytest.raises(AudioError, match="cannot read the stored output"):
        store.read_audio(sha256)


def test_a_damaged_copy_of_remote_audio_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path))
    store = Store("memory://copies")
    sha256 = store.put_audio(AUDIO)
    copy = store.audio_path(sha256)
    assert copy.is_relative_to(tmp_path) and copy.read_bytes() == AUDIO
    copy.write_bytes(b"damaged")
    assert store.read_audio(sha256) == AUDIO
    assert not store.audio_path("0" * 64).exists(), "what is not there is a path to nothing"


def test_where_files_are_seen_half_written_they_get_their_name_last(tmp_path: Path) -> None:
    Mailbox.written.clear()
    Store("mailbox://box").put("score", "abcd", {})
    assert [name.endswith(".tmp") for name in Mailbox.written] == [True]
    assert Store("mailbox://box").get("score", "abcd") == {}


def test_a_place_that_does_not_answer_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it taken for an empty one, everything would be done again."""
    store = Store("memory://gone")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(store.files.fs, "cat_file", refuse)  # type: ignore[attr-defined]
    with pytest.raises(MissingPrerequisite, match=r"cannot be read.*no route to host"):
        store.get("score", "abcd")
    monkeypatch.setattr(store.files.fs, "pipe_file", refuse)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="no route to host"):
        store.put("score", "abcd", {})


def test_slow_folders_are_asked_in_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    keys = [f"{i:04d}" for i in range(200)]
    for key in keys[::3]:
        store.put("score", key, {"key": key})
    plain = list(store.get_all("score", keys))
    monkeypatch.setattr(places, "SLOW_S", 0.0)
    assert list(store.get_all("score", keys)) == plain
    assert [r is not None for r in plain] == [i % 3 == 0 for i in range(200)]


def test_places(tmp_path: Path) -> None:
    assert place("s3://bucket/metis/") == "s3://bucket/metis"
    assert place("store", tmp_path) == tmp_path / "store"
    assert place(f"file://{tmp_path}/store") == tmp_path / "store"
    with pytest.raises(UsageError, match="nowhere"):
        Store("nowhere://x")


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(RuntimeError), atomic_writer(path) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
