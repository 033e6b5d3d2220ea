"""Ratings with a known answer, raters that must not count, and files that must not be believed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.errors import UsageError
from metis_bench.listen.build import Built
from metis_bench.listen.key import load_key, load_ratings
from metis_bench.listen.results import results
from metis_bench.listen.told import to_json, to_markdown
from tests.listen.conftest import honest, rate

Build = Callable[..., tuple[Built, dict[str, Any]]]
VALUES = {"alphavoice": 4, "bravovoice": 3, "charlie <b>|": 2}


def score(made: Built, files: list[dict[str, Any]], **how: Any) -> dict[str, Any]:
    key = load_key(made.folder / "key.json")
    paths = []
    for number, content in enumerate(files):
        paths.append(made.folder / f"ratings{number}.json")
        paths[-1].write_text(json.dumps(content))
    found = results(key, load_ratings(paths, key), **how)
    to_json(found)
    return found


def test_known_ratings_give_known_means(built: Build) -> None:
    made, key = built()
    found = score(made, [rate(key, r, honest(VALUES)) for r in range(4)])
    rows = {row["system"]: row for row in found["systems"]}
    assert {n: r["mean"] for n, r in rows.items()} == VALUES
    assert all(r["ci"] == [r["mean"], r["mean"]] for r in rows.values()), "no spread, no width"
    assert rows["alphavoice"] | {"raters": 4, "items": 6, "ratings": 24, "note": None} == rows["alphavoice"]
    assert [s["system"] for s in found["systems"]] == list(VALUES)
    assert found["against"] == "alphavoice"
    assert [(d["system"], d["difference"], d["differs"]) for d in found["differences"]] == [
        ("bravovoice", -1.0, True),
        ("charlie <b>|", -2.0, True),
    ]
    assert [a["mean"] for a in found["anchors"]] == [2.0, 1.0]
    text = to_markdown(found)
    assert "4 raters count, of 4 files" in text
    assert "<b>" not in text
    assert "charlie &lt;b&gt;\\|" in text


def test_comparisons_are_signed_towards_the_system(built: Build) -> None:
    made, key = built("cmos")
    values = {"alphavoice": 2, "bravovoice": 0, "charlie <b>|": -3}
    found = score(made, [rate(key, r, honest(values)) for r in range(4)])
    assert {row["system"]: row["mean"] for row in found["systems"]} == values
    assert found["reference"] == "ground-truth"
    assert found["differences"] == []
    assert "positive means better" in to_markdown(found)


def test_one_rater_has_no_interval(built: Build) -> None:
    made, key = built("smos")
    found = score(made, [rate(key, 0, honest(VALUES))])
    assert all(row["ci"] is None and "fewer than two raters" in row["note"] for row in found["systems"])
    assert all(d["ci"] is None and d["differs"] is None for d in found["differences"])
    assert "no interval: fewer than two raters" in to_markdown(found)


def wrong_checks(rater: int, meaning: dict[str, Any]) -> int:
    if meaning["kind"] == "check":
        return 1 if meaning["expect"] != 1 else 2
    return honest(VALUES)(rater, meaning)


def upside_down(rater: int, meaning: dict[str, Any]) -> int:
    swapped = {"high": "low", "low": "high"}
    return honest(VALUES)(rater, {**meaning, "kind": swapped.get(meaning["kind"], meaning["kind"])})


def test_who_does_not_count_is_told_with_the_reason(built: Build) -> None:
    made, key = built()
    good = [rate(key, r, honest(VALUES)) for r in range(3)]
    incomplete, unheard = rate(key, 12, honest(VALUES)), rate(key, 13, honest(VALUES))
    incomplete["ratings"].pop()
    unheard["ratings"][2]["plays"] = [0]
    twice = [rate(key, 14, honest(VALUES)), rate(key, 14, wrong_checks)]
    bad = [rate(key, 10, wrong_checks), rate(key, 11, upside_down), incomplete, unheard, *twice, good[0]]
    found = score(made, [*good, *bad])
    reasons = {}
    for e in found["excluded"]:
        reasons.setdefault(e["rater"], []).append(e["reason"])
    assert "3 of 3 checks" in reasons["r10"][0]
    assert "anchors" in reasons["r11"][0]
    assert "incomplete: 24 of 25" in reasons["r12"][0]
    assert "1 rated without" in reasons["r13"][0]
    assert len(reasons["r14"]) == 2
    assert reasons["r0"] == ["a second copy of the same file"]
    assert found["raters"] == {"files": 10, "kept": 3, "usable": 5}
    assert found["systems"][0]["raters"] == 3
    assert found["systems"][0]["without_exclusion"]["raters"] == 5
    assert score(made, [*good, *bad[:2]], allow=3)["raters"]["kept"] == 4


def test_comparison_anchors_must_favour_the_reference(built: Build) -> None:
    made, key = built("cmos")

    def indifferent(rater: int, meaning: dict[str, Any]) -> int:
        return 0 if meaning["kind"] == "high" else honest(VALUES_CMOS)(rater, meaning)

    found = score(made, [rate(key, 0, indifferent), rate(key, 1, honest(VALUES_CMOS))])
    assert [e["rater"] for e in found["excluded"]] == ["r0"]
    assert found["raters"]["kept"] == 1


VALUES_CMOS = {"alphavoice": 1, "bravovoice": 0, "charlie <b>|": -1}


def test_simulated_raters_recover_the_truth(built: Build) -> None:
    """Biased raters, hard and easy items, noise: the intervals hold the truth, the paired one is the narrower."""
    made, key = built(raters=12, per_rater=9)
    rng = np.random.default_rng(5)
    bias, hard = rng.normal(0, 0.5, 60), {f"utterance{i}": b for i, b in enumerate(rng.normal(0, 0.4, 6))}
    truth = {"alphavoice": 3.4, "bravovoice": 2.9, "charlie <b>|": 2.9}

    def answer(rater: int, m: dict[str, Any]) -> int:
        if m["kind"] != "system":
            return m["expect"] or (5 if m["kind"] == "high" else 1)
        heard = truth[m["system"]] + bias[rater] + hard[m["item"]] + rng.normal(0, 0.5)
        return int(np.clip(np.round(heard), 1, 5))

    found = score(made, [rate(key, r, answer) for r in range(60)])
    for row in found["systems"]:
        assert row["ci"][0] < truth[row["system"]] < row["ci"][1]
    (one, two) = found["differences"]
    assert found["against"] == "alphavoice"
    assert one["differs"] and two["differs"]
    assert one["ci"][0] < -0.5 < one["ci"][1]
    width = found["systems"][0]["ci"][1] - found["systems"][0]["ci"][0]
    assert one["ci"][1] - one["ci"][0] < width
    other = score(made, [rate(key, r, answer) for r in range(60)], against="bravovoice")
    assert {d["system"]: d["differs"] for d in other["differences"]} == {"alphavoice": True, "charlie <b>|": False}


def hostile(good: dict[str, Any]) -> dict[str, dict[str, Any]]:
    first = good["ratings"][0]
    with_first = lambda **new: {**good, "ratings": [{**first, **new}, *good["ratings"][1:]]}  # noqa: E731
    return {
        "of another test": {**good, "test": "x" * 12},
        "hash differs": {**good, "hash": "f" * 64},
        "outside 1..5": with_first(value=6),
        "not in form": with_first(trial="../../etc/passwd"),
        "twice": {**good, "ratings": [first, *good["ratings"]]},
        "form 99": {**good, "form": 99},
        "form 0": {**good, "form": 0},
        "value": with_first(value="5"),
        "ratings.0.value": with_first(value=True),
        "rater": {**good, "rater": "x\n| y"},
        "String should have at most 64": {**good, "rater": "x" * 65},
        "format": {**good, "format": "other"},
        "seconds": with_first(seconds=-1),
    }


def test_hostile_files_are_refused_by_name(built: Build) -> None:
    made, key = built()
    for told, content in hostile(rate(key, 0, honest(VALUES))).items():
        with pytest.raises(UsageError) as raised:
            score(made, [rate(key, 1, honest(VALUES)), content])
        assert "1 of 2 ratings files are refused" in str(raised.value)
        assert "ratings1.json" in str(raised.value)
        assert told in str(raised.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "NaN", '{"a": NaN}', '"\\ud800"', '{"a": "\\ud800"}', "[" * 100_000])
def test_what_is_no_json_object_is_refused(built: Build, text: str) -> None:
    made, _ = built()
    bad = made.folder / "bad.json"
    bad.write_text(text)
    with pytest.raises(UsageError):
        load_key(bad)
    with pytest.raises(UsageError, match=r"bad\.json"):
        load_ratings([bad], load_key(made.folder / "key.json"))


def test_a_changed_key_is_refused(built: Build) -> None:
    made, key = built()
    path = made.folder / "key.json"
    key["page"]["forms"][0].pop()
    path.write_text(json.dumps(key))
    with pytest.raises(UsageError, match="hash"):
        load_key(path)
    key = built(out="other")[1]
    key["meanings"].popitem()
    path.write_text(json.dumps(key))
    with pytest.raises(UsageError, match="meanings"):
        load_key(path)


def test_against_must_be_in_the_test(built: Build) -> None:
    made, key = built()
    with pytest.raises(UsageError, match="alphavoice"):
        score(made, [rate(key, 0, honest(VALUES))], against="alphavoise")


def test_paths_that_are_no_files(built: Build, tmp_path: Path) -> None:
    made, _ = built()
    key = load_key(made.folder / "key.json")
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(UsageError, match="refused"):
            load_ratings([path], key)
