"""Shards: what is written is what is read, by us, by tar and by WebDataset; damage is named."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reference_models.errors import InputError
from reference_models.training.shards import Example, Shards, ShardWriter, index_path, keys_of
from tests.reference_models.training.toys import toy, toy_shards


def same(a: Example, b: Example) -> bool:
    return (a.key, a.frames, dict(a.facts)) == (b.key, b.frames, dict(b.facts)) and all(
        np.array_equal(a.arrays[k], b.arrays[k]) for k in a.arrays | b.arrays
    )


def test_round_trip_in_any_order(tmp_path: Path) -> None:
    data = Shards([toy_shards(tmp_path)])
    assert len(data) == 20 and len(data.paths) == 3
    assert list(data.frames) == [toy(i).frames for i in range(20)] and set(data.phones) == {6}
    for i in (19, 0, 8, 7):
        assert same(data.read(i), toy(i)) and data.key(i) == toy(i).key
    assert [e.key for e in data] == [toy(i).key for i in range(20)]


def test_integers_are_stored_small(tmp_path: Path) -> None:
    example = toy_shards(tmp_path, 1) and Shards([tmp_path]).read(0)
    assert example.arrays["semantic"].dtype == np.int8 and example.arrays["codes"].dtype == np.uint8


def test_several_folders_and_pickling(tmp_path: Path) -> None:
    data = Shards([toy_shards(tmp_path / "a", 3), toy_shards(tmp_path / "b", 2, first=5)])
    data.read(0)
    again = pickle.loads(pickle.dumps(data))
    assert [again.key(i) for i in range(5)] == ["toy-000", "toy-001", "toy-002", "toy-005", "toy-006"]
    assert same(again.read(4), toy(6))


def test_the_digest_tells_other_examples_of_the_same_keys_and_lengths(tmp_path: Path) -> None:
    def written(name: str, tokens: NDArray[np.int64]) -> str:
        with ShardWriter(tmp_path / name) as writer:
            writer.write(Example("a", len(tokens), {"semantic": tokens}, {"task": "se"}))
        return Shards([tmp_path / name]).digest

    assert written("one", np.arange(5)) == written("two", np.arange(5))
    assert written("one more", np.arange(5)) != written("other", np.arange(5)[::-1])


def test_webdataset_reads_them(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    toy_shards(tmp_path, 8)
    rows = list(webdataset.WebDataset(str(tmp_path / "000000.tar"), shardshuffle=False).decode())
    assert [row["__key__"] for row in rows] == [toy(i).key for i in range(8)]
    assert np.array_equal(rows[3]["codes.npy"], toy(3).arrays["codes"]) and rows[3]["json"]["speaker"] == "0"


def test_writing_goes_on_after_a_crash(tmp_path: Path) -> None:
    """A shard that was not finished leaves nothing that counts."""
    toy_shards(tmp_path, 8)
    writer = ShardWriter(tmp_path, 8)
    writer.write(toy(8))
    del writer  # as if the process had died
    assert keys_of(tmp_path) == {toy(i).key for i in range(8)}
    toy_shards(tmp_path, 2, first=8)
    assert len(Shards([tmp_path])) == 10


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "ü", "a b"])
def test_keys_are_plain(tmp_path: Path, key: str) -> None:
    with ShardWriter(tmp_path) as writer, pytest.raises(ValueError, match="letters"):
        writer.write(Example(key, 1, {}))


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shards"):
        Shards([tmp_path])
    toy_shards(tmp_path, 2)
    shard = tmp_path / "000000.tar"
    whole, index = shard.read_bytes(), index_path(shard).read_bytes()
    shard.write_bytes(whole[:1000])
    with pytest.raises(InputError, match="shorter than its index"):
        Shards([tmp_path])
    shard.write_bytes(b"x" * len(whole))
    with pytest.raises(InputError, match="toy-001 cannot be read"):
        Shards([tmp_path]).read(1)
    for damaged in (index[:50], b"", pickle.dumps({"entries": 1})):
        index_path(shard).write_bytes(damaged)
        with pytest.raises(InputError, match="no readable index"):
            Shards([tmp_path])
    index_path(shard).unlink()
    with pytest.raises(InputError, match="no readable index"):
        Shards([tmp_path])


def test_a_pickle_in_a_shard_is_not_executed(tmp_path: Path) -> None:
    toy_shards(tmp_path, 1)
    shard = tmp_path / "000000.tar"
    evil = io.BytesIO()
    np.save(evil, np.array([object()], dtype=object), allow_pickle=True)
    with tarfile.open(shard, "w") as tar:
        info = tarfile.TarInfo("toy-000.semantic.npy")
        info.size = len(evil.getvalue())
        tar.addfile(info, io.BytesIO(evil.getvalue()))
        tar.addfile(tarfile.TarInfo("toy-000.filler"), io.BytesIO())
    shard.write_bytes(shard.read_bytes().ljust(40_000, b"\0"))
    with pytest.raises(InputError, match="cannot be read"):
        Shards([tmp_path]).read(0)
