"""The plan is pure: same inputs, same rows and keys; content decides identity."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Item, LoadedCorpus, Params, Subset
from metis_bench.errors import CorpusError
from metis_bench.hashing import sha256_json
from metis_bench.suite.plan import Plan, SystemFacts, make_plan, test_sets
from metis_bench.suite.schema import Stats, Suite, SystemSpec
from reference_models.seeds import derive_seed

test_sets.__test__ = False  # type: ignore[attr-defined]  # a function of the package, not a test


RATE = 16_000


def tone(i: int) -> np.ndarray:
    return np.full(800, (i + 1) / 64, dtype=np.float32)


def suite(*systems: str, seeds: tuple[int, ...] = (0, 1), limit: int | None = None) -> Suite:
    specs = tuple(SystemSpec(n, n, Params()) for n in systems)
    return Suite("s", "s", "", "se", None, (), specs, (), seeds, (), Stats(100, 0.95, 0), limit)


def corpus(folder: Path, count: int = 3) -> LoadedCorpus:
    items = []
    for i in range(count):
        path = folder / f"{i}.wav"
        path.write_bytes(encode_wav(Audio(tone(i), RATE)))
        subset = "b" if i == 2 else "a"
        items.append(Item(f"i{i}", "se", subset, source=path, reference=path if subset == "a" else None, cluster="c"))
    both, one = frozenset({"source", "reference"}), frozenset({"source"})
    return LoadedCorpus(tuple(items), {"a": Subset(both, 150), "b": Subset(one)}, "none", ("careful",))  # type: ignore[arg-type]


def plan(folder: Path, corpus_: LoadedCorpus | None = None, **options: object) -> Plan:
    s = suite("x", "oracle", **options)  # type: ignore[arg-type]
    sets = test_sets("k", corpus_ or corpus(folder), s.limit)
    facts = {
        "x": SystemFacts("fx", {"se": frozenset({"source"})}, deterministic=False),
        "oracle": SystemFacts("fo", {"se": frozenset({"reference"})}, deterministic=True),
    }
    return make_plan(s, sets, facts)


def test_rows_and_applicability(tmp_path: Path) -> None:
    p = plan(tmp_path)
    assert [s.id for s in p.sets] == ["k/a", "k/b"]
    assert len([r for r in p.rows if r.system == "x"]) == 6, "three items, two seeds"
    assert len([r for r in p.rows if r.system == "oracle"]) == 2, "deterministic: one seed; nothing in set b"
    assert p.not_applicable == {("oracle", "k/b"): "the set has no reference"}
    assert p.sets[0].warnings == ("careful",)
    assert p.sets[1].warnings == ()


def test_same_inputs_same_plan_whatever_the_path(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = plan(tmp_path / "one"), plan(tmp_path / "two")
    assert first.rows == second.rows
    assert first.hash == second.hash


def test_keys_are_the_hash_of_their_causes(tmp_path: Path) -> None:
    """They are put together from parts that rows share: a store of today must be found tomorrow."""
    p = plan(tmp_path)
    facts = {"x": ("fx", "source", False), "oracle": ("fo", "reference", True)}
    for row in p.rows:
        planned, (fingerprint, field, deterministic) = p.item(row), facts[row.system]
        cause = {
            "system": fingerprint,
            "task": "se",
            "language": "en",
            "item": [planned.item.subset, row.item_id],
            "content": {field: planned.files[field].sha256},
            "seed": None if deterministic else derive_seed(row.seed, row.item_id),
        }
        assert row.key == sha256_json(cause)
        assert row.derived_seed == derive_seed(row.seed, row.item_id)
    assert p.hash == sha256_json([[s.id, s.list_hash] for s in p.sets] + [r.to_json() for r in p.rows])


def test_content_changes_keys_and_hash(tmp_path: Path) -> None:
    before = plan(tmp_path)
    loaded = corpus(tmp_path)
    (tmp_path / "0.wav").write_bytes(encode_wav(Audio(tone(7), RATE)))
    after = plan(tmp_path, loaded)
    changed = {r.item_id for r, o in zip(after.rows, before.rows, strict=True) if r.key != o.key}
    assert changed == {"i0"}
    assert after.sets[0].list_hash != before.sets[0].list_hash
    assert after.sets[1].list_hash == before.sets[1].list_hash
    assert after.hash != before.hash


def test_a_missing_file_is_a_row_with_its_reason(tmp_path: Path) -> None:
    loaded = corpus(tmp_path)
    (tmp_path / "1.wav").unlink()
    p = plan(tmp_path, loaded)
    assert len(p.rows) == 8
    broken = [r for r in p.rows if r.item_id == "i1"]
    assert all(r.key is None and r.problem for r in broken)
    assert "cannot read the audio file" in str(broken[0].problem)


def test_limit_keeps_the_first_of_each_set_and_says_so(tmp_path: Path) -> None:
    p = plan(tmp_path, limit=1)
    assert [len(s.items) for s in p.sets] == [1, 1]
    assert "only the first 1 of 2 items" in p.sets[0].warnings[-1]
    assert len(p.sets[1].warnings) == 0


def test_a_video_is_known_by_its_content_and_never_decoded(tmp_path: Path) -> None:
    clip = tmp_path / "face.mp4"

    def made(content: bytes | None) -> Plan:
        clip.unlink(missing_ok=True)
        if content is not None:
            clip.write_bytes(content)
        item = Item("i", "l2s", video=clip, reference=clip, cluster="c")
        subset = Subset(frozenset({"video", "reference"}))
        sets = test_sets("k", LoadedCorpus((item,), {"": subset}, ""), None)
        lips = SystemFacts("f", {"l2s": frozenset({"video"})}, deterministic=True)
        return make_plan(suite("lips"), sets, {"lips": lips})

    first, other = made(b"one"), made(b"two")
    assert first.rows[0].key is not None and first.rows[0].key != other.rows[0].key, "other bytes, other key"
    assert first.sets[0].list_hash != other.sets[0].list_hash
    assert made(b"one").rows == first.rows
    planned = first.items["k", "i"]
    line = planned.to_json()
    assert line["video"] == {"path": str(clip), "sha256": hashlib.sha256(b"one").hexdigest()}
    assert planned.files["reference"].error is not None, "the same file as audio is judged as audio"
    for content, reason in ((b"", "video: the file is empty (0 bytes)"), (None, "video: cannot read the file")):
        broken = made(content)
        assert broken.rows[0].key is None and str(broken.rows[0].problem).startswith(reason)


def test_needs_and_tasks_decide_where_a_system_is_applicable(tmp_path: Path) -> None:
    both = {"se": frozenset({"source"}), "tse": frozenset({"source", "text"})}
    facts = {"omni": SystemFacts("f", both, deterministic=True)}  # type: ignore[arg-type]
    loaded = corpus(tmp_path)
    tse = [replace(i, task="tse", subset="", text="words" if i.id != "i0" else None) for i in loaded.items]
    text, none = frozenset({"source", "text"}), frozenset({"source"})
    guided = LoadedCorpus(tuple(tse), {"": Subset(text)}, "")  # type: ignore[arg-type]
    blind = LoadedCorpus(tuple(replace(i, text=None) for i in tse), {"": Subset(none)}, "")  # type: ignore[arg-type]
    voices = LoadedCorpus(tuple(replace(i, task="vc", subset="") for i in loaded.items), {"": Subset(none)}, "")  # type: ignore[arg-type]
    named = {"se": loaded, "guided": guided, "blind": blind, "vc": voices}
    sets = [s for key, c in named.items() for s in test_sets(key, c, None)]
    p = make_plan(suite("omni"), sets, facts)
    assert p.not_applicable == {
        ("omni", "blind"): "the set has no text",
        ("omni", "vc"): "the system does not do the task 'vc'",
    }
    assert [(r.set_id, r.problem) for r in p.rows if r.problem] == [("guided", "the item has no text")]
    keys = {r.item_id: r.key for r in p.rows if r.set_id == "guided"}
    other = LoadedCorpus(tuple(replace(i, text="other words") for i in tse), guided.subsets, "")
    again = make_plan(suite("omni"), test_sets("guided", other, None), facts)
    assert all(r.key != keys[r.item_id] for r in again.rows), "the text that guides is part of the key"


def test_empty_and_ambiguous_corpora(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no items"):
        test_sets("k", LoadedCorpus((), {}, ""), None)
    mixed = (Item("a", "se"), Item("b", "tts"))
    with pytest.raises(CorpusError, match=r"several tasks \(se, tts\)"):
        test_sets("k", LoadedCorpus(mixed, {"": Subset(frozenset())}, ""), None)
    twice = (Item("same", "se"), Item("same", "se"))
    with pytest.raises(CorpusError, match="same item id twice"):
        test_sets("k", LoadedCorpus(twice, {"": Subset(frozenset())}, ""), None)
