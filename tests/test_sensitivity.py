"""Other readings of a run: the orders they give, what turns round, and whether that is more than noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.metrics.wer import KEPT, edits, errors, words
from metis_bench.report.sensitivity import board_views, sensitivity_json, sensitivity_markdown
from metis_bench.sensitivity import Order, Panel, sensitivity
from metis_bench.text.profiles import profiles

WER = "wer.toy"
SIGNATURE = {"recogniser": {"name": "toy"}, "profile": {"name": "seed_tts_eval"}, "language": "en", "against": "text"}
TEXT = "Don't stop, the well-known birds sing early"


def column(id_: str, label: str, **more: Any) -> dict[str, Any]:
    usual = {"direction": "lower", "metric": id_.partition(".")[0], "unit": "%", "headline": False, "worst": 100.0}
    return {"id": id_, "label": label, "aggregate": "mean", "ratio": None, **usual, **more}


WER_COLUMNS = [
    column(WER, "WER", headline=True),
    column(f"{WER}.corpus", "corpus WER", aggregate="ratio", ratio=["errors", "words"]),
    column(f"{WER}.le50", "WER <= 50 %", aggregate="ratio", ratio=["kept_rate", "kept"], worst=None),
]
Said = Mapping[str, Sequence[str | None]]


def wer_scores(text: str, said: str) -> dict[str, tuple[float, dict[str, Any]]]:
    profile = profiles.get("seed_tts_eval")()
    detail = edits(profile.reference(text, "en"), profile.hypothesis(said, "en"))
    share = float(detail["errors"]) / float(detail["words"])  # type: ignore[arg-type]
    kept = 100 * share <= KEPT
    detail |= {"kept": int(kept), "kept_rate": share if kept else 0.0}
    return {WER: (100 * share, detail), **{c["id"]: (100 * share, {}) for c in WER_COLUMNS[1:]}}


def cell(
    c: Mapping[str, Any], found: Sequence[tuple[float, dict[str, Any]] | None], detail: Sequence[Any]
) -> dict[str, Any]:
    ok = [f for f in found if f is not None]
    n, total = len(ok), len(found)
    penalised = None
    if c["ratio"]:
        sums = [sum(d[part] for d in detail if d) for part in c["ratio"]]
        value = 100 * sums[0] / sums[1] if sums[1] else None
    else:
        value = float(np.mean([v for v, _ in ok])) if ok else None
        bound = min if c["direction"] == "lower" else max
        penalised = float(np.mean([c["worst"] if f is None else bound(f[0], c["worst"]) for f in found]))
    status = "complete" if n == total else "incomplete"
    return {"column": c["id"], "value": value, "penalised": penalised, "n": n, "N": total, "status": status}


def write(
    folder: Path, columns: list[dict[str, Any]], scores: Mapping[str, Sequence[Any]], texts: Sequence[str] = ()
) -> Path:
    """A run of one set. scores: by system, one {column: (value, detail)} or None (failed) an item."""
    folder.mkdir()
    items = [f"item{i}" for i in range(len(next(iter(scores.values()))))]
    told = texts or [TEXT] * len(items)
    about = {"type": "item", "set": "s"}
    plan: list[dict[str, Any]] = [
        {**about, "item": i, "text": t, "cluster": i} for i, t in zip(items, told, strict=True)
    ]
    lines, generations, cells = [], [], []
    for system, rows in scores.items():
        for item, row in zip(items, rows, strict=True):
            key = {"system": system, "set": "s", "item": item, "seed": 0}
            plan.append({"type": "row", **key})
            audio = {"sha256": f"{system}/{item}", "rate": 16000, "seconds": 1.0}
            generations.append({**key, "status": "ok", "audio": audio})
            for c in columns:
                value, detail = (None, {}) if row is None else row[c["id"]]
                status = {"status": "failed", "reason": "x"} if row is None else {"status": "ok"}
                lines.append({**key, "column": c["id"], "value": value, "detail": detail, "signature": "sig", **status})
        details = [None if row is None else {k: v for x in row.values() for k, v in x[1].items()} for row in rows]
        for c in columns:
            made = cell(c, [None if row is None else row[c["id"]] for row in rows], details)
            cells.append({"set": "s", "system": system, "signature": "sig", "protocol": "p", **made})
    systems = [{"name": s, "kind": "bound" if s == "truth" else "neural", "ranked": s != "truth"} for s in scores]
    results = {
        "schema": 1,
        "suite": {"name": "x", "task": "tts"},
        "systems": systems,
        "columns": columns,
        "cells": cells,
    }
    results |= {"stats": {"resamples": 2000, "level": 0.95, "seed": 0}, "sets": [{"id": "s", "items": len(items)}]}
    results |= {"signatures": {"sig": SIGNATURE}}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "run.json").write_text(json.dumps({"provenance": {}}))
    for name, content in (("plan", plan), ("generations", generations), ("scores", lines)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in content))
    return folder


def spoken(folder: Path, said: Said, texts: Sequence[str] = ()) -> tuple[Path, Callable[[Any, str], str | None]]:
    """A run of systems that said this, and its transcripts."""
    told = texts or [TEXT] * len(next(iter(said.values())))
    rows = {
        s: [None if heard is None else wer_scores(text, heard) for text, heard in zip(told, all_, strict=True)]
        for s, all_ in said.items()
    }
    kept = {f"{s}/item{i}": t for s, all_ in said.items() for i, t in enumerate(all_)}
    return write(folder, WER_COLUMNS, rows, told), lambda _, audio: kept.get(audio)


def read(run: Path, heard: Callable[[Any, str], str | None] = lambda _, __: None) -> tuple[Panel, dict[str, Order]]:
    (panel,) = sensitivity(run, heard)
    return panel, {r.label: r for r in panel.readings}


def names(order: Order) -> list[str]:
    return [p.system for p in order.places]


@pytest.mark.parametrize(
    "hypothesis",
    ["the birch canoe", "birch the canoe uh slid on on the smooth plank", "", "  two   spaces ", "tab\tinside"],
)
def test_errors_are_those_of_the_metric(hypothesis: str) -> None:
    reference = "the birch canoe slid on  the smooth planks"
    found = edits(reference, hypothesis)
    assert errors(words(reference), words(hypothesis)) == found["errors"]
    assert len(words(reference)) == found["words"]


def test_a_normaliser_turns_the_order_round(tmp_path: Path) -> None:
    apostrophes = TEXT.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")  # seed_tts_eval: one error in seven
    run, heard = spoken(tmp_path / "run", {"curly": [apostrophes] * 12, "plain": [TEXT] * 4 + [f"{TEXT} now"] * 8})
    panel, found = read(run, heard)
    assert names(panel.headline) == ["plain", "curly"]
    hubert = found["WER, normalised as hubert"]
    assert names(hubert) == ["curly", "plain"] and hubert.tau == -1
    (swap,) = hubert.swaps
    assert (swap.first, swap.second) == ("plain", "curly")
    assert swap.p_reading is not None and swap.p_headline is not None
    assert hubert.places[0].value == 0 and panel.changed >= 1
    assert "WER, normalised as zh_char" not in found and "WER, normalised as seed_tts_eval" not in found


def test_values_are_those_that_the_metric_would_give(tmp_path: Path) -> None:
    said = {"a": [TEXT, "stop it", TEXT.upper(), None], "b": ["", TEXT, "x " * 20, TEXT]}
    run, heard = spoken(tmp_path / "run", said)
    _, found = read(run, heard)
    for name in ("f5", "hubert", "seed_vc", "whisper_basic"):
        profile = profiles.get(name)()
        for place in found[f"WER, normalised as {name}"].places:
            done = [
                edits(profile.reference(TEXT, "en"), profile.hypothesis(t, "en"))
                for t in said[place.system]
                if t is not None
            ]
            wanted = np.mean([100 * d["errors"] / d["words"] for d in done])  # type: ignore[operator]
            assert place.value == pytest.approx(wanted), name
    assert {p.system: p.counts for p in found["WER, normalised as f5"].places} == {"a": "3/4", "b": ""}


def test_without_every_transcript_a_reading_says_so(tmp_path: Path) -> None:
    run, heard = spoken(tmp_path / "run", {"a": [TEXT] * 3, "b": [""] * 3})
    _, found = read(run, lambda s, audio: None if audio == "b/item2" else heard(s, audio))
    assert found["WER, normalised as f5"].refused == "not every transcript is in the store"
    assert found["corpus WER"].refused is None
    assert "not possible: not every transcript" in sensitivity_markdown(sensitivity(run))


def test_means_and_what_fails(tmp_path: Path) -> None:
    """One hallucination: the mean over utterances and the mean of those at no more than 50 % disagree."""
    wild, bad = "la " * 21, TEXT.replace("birds", "bats")
    run, _ = spoken(
        tmp_path / "run", {"wild": [wild] + [TEXT] * 11, "dull": [bad] * 12, "failing": [None] * 3 + [TEXT] * 9}
    )
    panel, found = read(run)
    assert names(panel.headline) == ["failing", "dull", "wild"]
    assert panel.headline.places[0].counts == "9/12" and panel.headline.places[1].counts == ""
    assert names(found["WER <= 50 %"])[-1] == "dull"
    assert [(s.first, s.second) for s in found["WER <= 50 %"].swaps] == [("dull", "wild")]
    assert found["WER <= 50 %"].swaps[0].verdict(0.95) == "only the other order is significant"
    penalised = found["failures counted as worst"]
    assert names(penalised) == ["wild", "dull", "failing"]  # 300 % counts as 100 %
    assert {(s.first, s.second) for s in penalised.swaps} == {
        ("failing", "dull"),
        ("failing", "wild"),
        ("dull", "wild"),
    }


def test_three_numbers_are_called_dnsmos(tmp_path: Path) -> None:
    labels = {"avg3": "DNSMOS", "ovrl": "OVRL", "p808": "P.808", "sig": "SIG"}
    columns = [
        column(f"dnsmos.{k}", v, direction="higher", unit="", worst=1.0, headline=k == "avg3")
        for k, v in labels.items()
    ]
    rng = np.random.default_rng(0)

    def row(avg3: float, ovrl: float, p808: float) -> list[dict[str, Any]]:
        noise = 0.01 * rng.standard_normal(20)
        values = {"avg3": avg3, "ovrl": ovrl, "p808": p808, "sig": 3.0}
        return [{f"dnsmos.{k}": (v + e, {}) for k, v in values.items()} for e in noise]

    scores = {"truth": row(9, 9, 9), "a": row(3.5, 3.0, 3.9), "b": row(3.4, 3.1, 3.9 - 1e-9)}
    run = write(tmp_path / "run", columns, scores)
    panel, found = read(run)
    assert set(found) == {"OVRL", "P.808"} and names(panel.headline) == ["a", "b"], "bounds have no place"
    assert found["OVRL"].tau == -1 and found["OVRL"].swaps[0].verdict(0.95) == "both orders are significant"
    view = board_views(sensitivity(run))["s"]
    assert f"another order in {panel.changed} of 2 other readings (both orders significant in 1)" in view.summary


def test_no_reading_no_panel(tmp_path: Path) -> None:
    columns = [column("estoi", "ESTOI", direction="higher", worst=0.0, headline=True)]
    run = write(tmp_path / "run", columns, {"a": [{"estoi": (0.5, {})}] * 3, "b": [{"estoi": (0.6, {})}] * 3})
    assert sensitivity(run) == []
    assert "no other reading" in sensitivity_markdown([])


def test_texts_are_escaped_and_json_has_no_nan(tmp_path: Path) -> None:
    run, heard = spoken(tmp_path / "run", {"<b>|x": [TEXT, ""], "y": ["", TEXT]})
    found = sensitivity(run, heard)
    text = sensitivity_markdown(found)
    assert "<b>" not in text and "&lt;b&gt;\\|x" in text
    parsed = json.loads(json.dumps(sensitivity_json(found), allow_nan=False))
    assert parsed[0]["headline"]["places"][0]["place"] == 1 and "nan" not in text.lower()


def test_systems_that_differ_by_chance_turn_round_without_significance(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = [f"{TEXT} at number {i}, Mrs. O'Neil's" for i in range(60)]
    said = {
        f"system{s}": [t if rng.random() < 0.8 else f"{t} {rng.choice(['uh', 'now', 'and'])}" for t in texts]
        for s in range(10)
    }
    run, heard = spoken(tmp_path / "run", said, texts)
    panel, found = read(run, heard)
    swaps = found["WER, normalised as whisper_en"].swaps  # which leaves "uh" out
    assert len(swaps) > 3 and {s.verdict(panel.level) for s in swaps} == {"neither order is significant"}
    assert found["WER, normalised as f5"].tau == pytest.approx(1)
