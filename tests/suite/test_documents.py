"""YAML as data with lines: what is refused, and where it points."""

from __future__ import annotations

import pytest

from metis_bench.errors import SuiteError
from metis_bench.suite.documents import Document, overlay, parse, set_value


def test_lines_of_nested_keys_and_entries() -> None:
    doc = parse("a: 1\nb:\n  c:\n    - x\n    - y: 2\n", "f.yaml")
    assert doc.data == {"a": 1, "b": {"c": ["x", {"y": 2}]}}
    lines = {path: place.line for path, place in doc.places.items()}
    assert lines[("a",)] == 1
    assert lines[("b", "c", 1)] == 5
    assert str(doc.error(("b", "c", 1, "y"), "no")) == "f.yaml:5: no"
    assert str(doc.error(("b", "c", 9), "no")) == "f.yaml:3: no", "an unknown path points at its nearest ancestor"


REFUSED = {
    "tag": ("a: !!python/object/apply:os.system ['true']", "tags are not allowed|sequence"),
    "custom tag": ("a: !include x", "tags are not allowed"),
    "duplicate": ("a: 1\na: 2", "duplicate key 'a'"),
    "not a mapping": ("- a", "mapping"),
    "empty": ("# nothing", "empty"),
    "broken": ("a: [1", "not valid YAML"),
    "tab": ("a:\n\tb: 1", "not valid YAML"),
    "nan": ("a: .nan", "NaN"),
    "inf": ("a: -.inf", "infinity|NaN"),
    "number key": ("1: a", "keys must be plain words"),
    "merge key": ("a: &x {b: 1}\nc:\n  <<: *x", "keys must be|duplicate|plain|tags"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
    "recursive": ("a: &x [*x]", "nested too deeply"),
    "deep": ("a: " + "[" * 3000, "nested too deeply|not valid"),
    "surrogate": ('a: "\\ud800"', "surrogate"),
    "bomb": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n",
        "aliases expand",
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(SuiteError, match=message) as caught:
        parse(text, "f.yaml")
    assert str(caught.value).startswith("f.yaml")


def test_dates_stay_text() -> None:
    assert parse("a: 2026-01-31", "f").data == {"a": "2026-01-31"}


def test_overlay_replaces_lists_and_maps_but_merges_protocol() -> None:
    base = parse("corpora: {a: {}, b: {}}\nprotocol:\n  wer: {asr: x, profile: p}\n", "base.yaml")
    top = parse("corpora: {c: {}}\nprotocol:\n  wer: {asr: y}\n", "top.yaml")
    merged = overlay(base, top)
    assert merged.data == {"corpora": {"c": {}}, "protocol": {"wer": {"asr": "y", "profile": "p"}}}
    assert merged.place(("protocol", "wer", "profile")).file == "base.yaml"  # type: ignore[union-attr]
    assert merged.place(("protocol", "wer", "asr")).file == "top.yaml"  # type: ignore[union-attr]
    assert ("corpora", "a") not in merged.places


def test_set_value() -> None:
    doc = parse("seeds: [0, 1]\ncorpora: {x: {n: 1}}\n", "f.yaml")
    assert set_value(doc, "seeds=[7]").data["seeds"] == [7]
    assert set_value(doc, "corpora.x.n=5").data["corpora"] == {"x": {"n": 5}}
    assert set_value(doc, "corpora.y.n=5").data["corpora"] == {"x": {"n": 1}, "y": {"n": 5}}
    assert doc.data["seeds"] == [0, 1], "the original is untouched"


@pytest.mark.parametrize("bad", ["seeds", "=1", "a..b=1", "seeds.0=1", "seeds=[1", "x=1\nvalue: 2"])
def test_bad_set_names_itself(bad: str) -> None:
    with pytest.raises(SuiteError) as caught:
        set_value(Document({"seeds": [0]}), bad)
    assert "--set" in str(caught.value)
