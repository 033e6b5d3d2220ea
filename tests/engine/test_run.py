"""The straight line on toys: identity, resumption, failures as rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metis_bench.config import Config, load_plugins
from metis_bench.engine.clips import Clips
from metis_bench.engine.inspect import read_lines
from metis_bench.engine.run import RunResult, run
from metis_bench.engine.store import Store
from metis_bench.errors import AudioError, MissingPrerequisite, SuiteError, UsageError

Go = Callable[..., RunResult]


def cells(result: RunResult, column: str = "toy-level") -> dict[str, dict[str, Any]]:
    return {c["system"]: c for c in result.results["cells"] if c["column"] == column}


def stamps(store: Path, space: str) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (store / space).rglob("*.json")}


def test_complete_run_writes_every_file(go: Go) -> None:
    result = go()
    assert result.exit_code == 0
    names = {p.name for p in result.folder.iterdir()}
    assert names >= {"run.json", "plan.jsonl", "generations.jsonl", "scores.jsonl", "results.json"}
    cell = cells(result)["toy-gain"]
    assert (cell["n"], cell["N"], cell["status"], cell["rank"], cell["clusters"]) == (6, 6, "complete", 1, 3)
    expected = sum(0.1 * (i + 1) / 10 / 2**0.5 for i in range(6)) / 6
    assert cell["value"] == pytest.approx(expected, rel=1e-3)
    assert cell["ci"][0] < cell["value"] < cell["ci"][1]


def test_running_again_does_nothing_and_gives_the_same_bytes(go: Go, config: Config) -> None:
    first = go()
    before = {s: stamps(config.store, s) for s in ("generation", "feature", "score")}
    bytes_before = {n: (first.folder / n).read_bytes() for n in ("results.json", "scores.jsonl", "generations.jsonl")}
    second = go()
    assert second.folder == first.folder
    assert {s: stamps(config.store, s) for s in before} == before
    assert {n: (second.folder / n).read_bytes() for n in bytes_before} == bytes_before


def test_two_systems_one_store_no_answer_crosses(go: Go, house: Path) -> None:
    (house / "half.ckpt").write_text("0.5")
    result = go(
        systems=[
            {"a": {"system": "toy-gain", "checkpoint": str(house / "one.ckpt")}},
            {"b": {"system": "toy-gain", "checkpoint": str(house / "half.ckpt")}},
        ]
    )
    by_name = cells(result)
    assert by_name["b"]["value"] == pytest.approx(by_name["a"]["value"] / 2, rel=1e-6)
    keys = {g["system"]: g["key"] for g in read_lines(result.folder / "generations.jsonl") if g["item"] == "item0"}
    assert keys["a"] != keys["b"]


def test_same_path_new_weights_generates_anew(go: Go, house: Path) -> None:
    first = go()
    (house / "one.ckpt").write_text("2.0")
    second = go()
    assert cells(second)["toy-gain"]["value"] == pytest.approx(2 * cells(first)["toy-gain"]["value"], rel=1e-6)
    assert second.folder != first.folder


def test_other_path_same_weights_is_cached(go: Go, house: Path, config: Config) -> None:
    go()
    before = stamps(config.store, "generation")
    (house / "copy.ckpt").write_text("1.0")
    go(systems=[{"renamed": {"system": "toy-gain", "checkpoint": str(house / "copy.ckpt")}}])
    assert stamps(config.store, "generation") == before


def test_changed_metric_rescoring_reuses_features(go: Go, house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = house / "features.log"
    monkeypatch.setenv("TOY_FEATURE_LOG", str(log))
    first = go()
    assert len(log.read_text().splitlines()) == 6
    second = go(metrics=[{"toy-level": {"scale": 3.0}}])
    assert len(log.read_text().splitlines()) == 6
    assert cells(second)["toy-gain"]["value"] == pytest.approx(3 * cells(first)["toy-gain"]["value"])
    assert cells(second)["toy-gain"]["signature"] != cells(first)["toy-gain"]["signature"]


def test_seeds_are_independent_of_order_limit_and_other_items(go: Go) -> None:
    def outputs(result: RunResult) -> dict[tuple[str, int], str]:
        return {(g["item"], g["seed"]): g["audio"]["sha256"] for g in read_lines(result.folder / "generations.jsonl")}

    many = outputs(go(systems=["toy-noise"], seeds=[0, 1]))
    few = outputs(go(systems=["toy-noise"], seeds=[1], corpora={"toy": {"corpus": "toy", "count": 2}}))
    assert len(set(many.values())) == 12
    assert few == {k: v for k, v in many.items() if k in few}


def test_deterministic_systems_are_planned_once_and_seeds_are_averaged(go: Go) -> None:
    moods = {"toy-moody": {"mood": {}}}
    result = go(systems=["toy-noise", moods], seeds=[0, 1, 2])
    assert cells(result)["toy-noise"]["N"] == 18
    assert cells(result)["toy-noise"]["extra"]["seed_sd"] > 0
    assert cells(result)["toy-moody"]["N"] == 6


MOODS = {
    "raise": "RuntimeError: out of tune",
    "item-error": "cannot do this one",
    "crash": "killed by signal 11",
    "hang": "timed out after",
    "nan": "NaN or infinite",
    "empty": "no samples",
    "stereo": "expected mono",
}


@pytest.mark.parametrize("mood", sorted(MOODS))
def test_a_bad_item_is_one_failed_row(go: Go, config: Config, mood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mood == "hang":
        object.__setattr__(config, "timeout_s", 1.0)
        monkeypatch.setattr("metis_bench.engine.generate.START_GRACE_S", 3.0)
    result = go(systems=[{"toy-moody": {"mood": {"item2": mood}}}])
    assert result.exit_code == 6
    cell = cells(result)["toy-moody"]
    assert (cell["n"], cell["N"], cell["status"], cell["rank"]) == (5, 6, "incomplete", None)
    assert cell["penalised"] == pytest.approx(cell["value"] * 5 / 6)
    (failure,) = [f for f in result.results["failures"] if f["stage"] == "generate"]
    assert failure["item"] == "item2"
    assert MOODS[mood] in failure["reason"]


def test_silence_is_undefined_never_zero(go: Go) -> None:
    result = go(systems=[{"toy-moody": {"mood": {"item1": "silence"}}}])
    cell = cells(result)["toy-moody"]
    assert (cell["n"], cell["N"]) == (5, 6)
    assert cell["reasons"] == {"undefined: the output is silent": 1}
    assert result.exit_code == 6


def test_a_broken_input_is_a_failed_row_and_the_rest_is_scored(go: Go) -> None:
    result = go(corpora={"toy": {"corpus": "toy", "broken": [3]}})
    cell = cells(result)["toy-gain"]
    assert (cell["n"], cell["N"]) == (5, 6)
    (failure,) = result.results["failures"]
    assert failure["item"] == "item3"
    assert "source: " in failure["reason"]


def test_a_crashing_metric_costs_its_own_score_only(go: Go) -> None:
    metrics = [{"toy-level": {"crash_below": 0.01}}, "rtf"]
    result = go(metrics=metrics)
    level, rtf = cells(result)["toy-gain"], cells(result, "rtf")["toy-gain"]
    assert (level["n"], level["N"]) == (5, 6)  # item0 has an RMS of 0.007
    assert (rtf["n"], rtf["N"]) == (6, 6)
    (failure,) = [f for f in result.results["failures"] if f["column"] == "toy-level"]
    assert failure["item"] == "item0"
    assert "killed by signal 9" in failure["reason"]


def test_altered_stored_audio_is_noticed(go: Go, config: Config) -> None:
    result = go()
    (line,) = [g for g in read_lines(result.folder / "generations.jsonl") if g["item"] == "item4"]
    path = config.store / "audio" / line["audio"]["sha256"][:2] / f"{line['audio']['sha256']}.wav"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    again = go(metrics=[{"toy-level": {"scale": 2.0}}])
    # the feature is keyed by the true hash, so the score itself is still right and needs no audio
    assert cells(again)["toy-gain"]["n"] == 6
    for p in (config.store / "feature").rglob("*.json"):
        p.unlink()
    third = go(metrics=[{"toy-level": {"scale": 4.0}}])
    assert cells(third)["toy-gain"]["n"] == 5
    assert any("altered on disk" in f["reason"] for f in third.results["failures"])
    assert go(metrics=[{"toy-level": {"scale": 4.0}}]).exit_code == 0, "the next run makes the altered output again"


def test_oracle_order_violation_is_exit_3(go: Go, house: Path) -> None:
    (house / "half.ckpt").write_text("0.5")
    systems = [
        {"a": {"system": "toy-gain", "checkpoint": str(house / "one.ckpt")}},
        {"b": {"system": "toy-gain", "checkpoint": str(house / "half.ckpt")}},
    ]
    good = go(systems=systems, oracle_order=[{"column": "toy-level", "better": "a", "worse": "b"}])
    assert good.exit_code == 0
    bad = go(systems=systems, oracle_order=[{"column": "toy-level", "better": "b", "worse": "a"}])
    assert bad.exit_code == 3
    (check,) = bad.results["oracle_checks"]
    assert check["ok"] is False


def test_ratio_column(go: Go) -> None:
    result = go(systems=[{"toy-moody": {"mood": {"item5": "raise"}}}, {"toy-gain": {"checkpoint": "one.ckpt"}}])
    whole, ratio = cells(result)["toy-gain"], cells(result, "toy-level.ratio")["toy-gain"]
    assert ratio["value"] == pytest.approx(whole["value"] / 2)
    partial = cells(result, "toy-level.ratio")["toy-moody"]
    scored = 5 * 2 * partial["value"]
    assert partial["penalised"] == pytest.approx(scored / 12), "a failed item adds to the denominator"


def test_files_hold_no_nan_and_reload(go: Go) -> None:
    folder = go(systems=["toy-noise"]).folder
    for path in folder.glob("*.json*"):
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in a file"))


def test_a_nan_score_is_a_failure_that_is_tried_again(go: Go, config: Config) -> None:
    result = go(systems=[{"toy-moody": {"mood": {"item0": "nan-score"}}}])
    (failure,) = [f for f in result.results["failures"] if f["column"] == "toy-level"]
    assert "nan" in failure["reason"]
    assert len(stamps(config.store, "score")) == 5, "five good scores are kept, the failure is not"


def test_a_kept_record_without_a_column_is_scored_again(go: Go, config: Config) -> None:
    first = go()
    for path in (config.store / "score").rglob("*.json"):
        record = json.loads(path.read_text())
        del record["scores"]["toy-level"]
        path.write_text(json.dumps(record))
    second = go()
    assert (second.folder / "results.json").read_bytes() == (first.folder / "results.json").read_bytes()


def test_oracle_orders_compare_common_items_only(go: Go, house: Path) -> None:
    """`quiet` is lower on every item, but fails on the quiet ones: its scored-only mean is the higher one."""
    (house / "ckpt").write_text("0.9")
    moods = {f"item{i}": "raise" for i in range(4)}
    systems: list[Any] = [
        {"loud": {"system": "toy-gain", "checkpoint": str(house / "one.ckpt")}},
        {"partial": {"system": "toy-moody", "mood": moods}},
        {"quiet": {"system": "toy-gain", "checkpoint": str(house / "ckpt")}},
    ]
    order = [
        {"column": "toy-level", "better": "loud", "worse": "quiet"},
        {"column": "toy-level", "better": "partial", "worse": "quiet"},
    ]
    result = go(systems=systems, oracle_order=order)
    whole, part = result.results["oracle_checks"]
    assert (whole["items"], whole["ok"]) == (6, True)
    assert (part["items"], part["ok"]) == (2, True)
    assert part["worse_value"] > whole["worse_value"], "over the two loudest items"


def test_failing_never_pays(go: Go) -> None:
    """In the penalised value no score counts for less than a failure does."""
    result = go(systems=[{"toy-moody": {"mood": {}}}], metrics=[{"toy-level": {"scale": -1.0}}])
    cell = cells(result)["toy-moody"]
    assert cell["value"] < 0
    assert cell["penalised"] == 0.0


def test_only_declared_corpora_may_stand_in_an_order(go: Go) -> None:
    with pytest.raises(SuiteError, match="no corpus 'tooy'; did you mean 'toy'"):
        go(oracle_order=[{"column": "toy-level", "better": "toy-gain", "worse": "toy-gain", "sets": ["tooy"]}])
    with pytest.raises(SuiteError, match="no set 'toy/x'"):
        go(oracle_order=[{"column": "toy-level", "better": "toy-gain", "worse": "toy-gain", "sets": ["toy/x"]}])


def test_what_only_copies_has_no_cost(go: Go) -> None:
    result = go(systems=["noisy", "toy-noise"], metrics=["rtf"])
    by_name = cells(result, "rtf")
    assert by_name["noisy"]["status"] == "not_applicable"
    assert by_name["toy-noise"]["status"] == "complete"


def test_workers_and_history_do_not_change_a_bit(go: Go, config: Config, house: Path) -> None:
    pytest.importorskip("onnxruntime")
    metrics = ["dnsmos", "si_sdr"]
    first = go(systems=["toy-noise"], metrics=metrics, corpora={"toy": {"corpus": "toy", "count": 3}})
    expected = (first.folder / "results.json").read_bytes()
    for path in list((config.store / "score").rglob("*.json"))[::2]:
        path.unlink()
    object.__setattr__(config, "workers", 1)
    again = go(systems=["toy-noise"], metrics=metrics, corpora={"toy": {"corpus": "toy", "count": 3}})
    assert (again.folder / "results.json").read_bytes() == expected


def test_a_python_file_in_the_current_folder_is_not_imported(go: Go, house: Path) -> None:
    for name in ("pystoi", "soxr", "scipy"):
        (house / f"{name}.py").write_text("raise SystemExit('shadowed')")
    assert go().exit_code == 0


def test_out_never_deletes_what_is_not_its_own(make_suite: Callable[..., Any], config: Config, house: Path) -> None:
    thesis = house / "thesis" / "report" / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match="not empty, and not this run's"):
        run(make_suite(), config, out=house / "thesis")
    assert thesis.read_text() == "years of work"


def test_a_changed_corpus_file_under_the_store_folder_is_kept(go: Go, config: Config, house: Path) -> None:
    """The user's data may lie beside the store: only the store's own audio is ever removed."""
    clips = Clips(Store(config.store))
    speech = config.store / "corpora" / "speech.wav"
    speech.parent.mkdir(parents=True)
    speech.write_bytes(b"precious")
    with pytest.raises(AudioError, match="changed since it was hashed"):
        clips.clip(str(speech), "0" * 64).audio()
    assert speech.exists()


def test_an_unwritable_store_stops_at_once(make_suite: Callable[..., Any], config: Config, house: Path) -> None:
    (house / "file").write_text("")
    object.__setattr__(config, "store", house / "file" / "store")
    with pytest.raises(UsageError, match="cannot be written"):
        run(make_suite(), config)


def test_moving_or_renaming_does_not_change_the_run(go: Go, house: Path) -> None:
    first = go()
    (house / "copy.ckpt").write_text("1.0")
    other = go(systems=[{"toy-gain": {"checkpoint": str(house / "copy.ckpt")}}], title="another title")
    assert other.folder == first.folder


def test_a_store_that_cannot_be_written_ends_the_run_and_keeps_the_last_results(go: Go, config: Config) -> None:
    good = go()
    results = (good.folder / "results.json").read_bytes()
    for path in (config.store / "generation").rglob("*.json"):
        path.unlink()
    (config.store / "audio").rename(config.store / "moved")
    (config.store / "audio").write_text("a file where the folder should be")
    with pytest.raises(MissingPrerequisite, match="the store cannot be written"):
        go()
    assert (good.folder / "results.json").read_bytes() == results


@pytest.mark.parametrize(("fact", "value"), [("cpu", "another machine"), ("workers_a_gpu", 2)])
def test_times_taken_under_different_conditions_are_not_ranked(
    go: Go, config: Config, fact: str, value: str | int
) -> None:
    systems = ["toy-noise", {"toy-moody": {"mood": {}}}]
    same = go(systems=systems, metrics=["rtf", "toy-level"])
    assert {c["rank"] for c in cells(same, "rtf").values()} == {1, 2}
    (path, *_) = (config.store / "generation").rglob("*.json")
    record = json.loads(path.read_text())
    record["hardware"][fact] = value
    path.write_text(json.dumps(record))
    mixed = go(systems=systems, metrics=["rtf", "toy-level"])
    assert {c["rank"] for c in cells(mixed, "rtf").values()} == {None}
    assert {c["rank"] for c in cells(mixed).values()} == {1, 2}, "quality is ranked all the same"
    assert any("different conditions" in w for w in mixed.results["warnings"])


PLUGIN = """
import numpy as np
from metis_bench.metrics.base import Column, Metric, Score, metrics

@metrics.register("mine-{tag}")
class Mine(Metric):
    "A test."
    tasks = frozenset({{"se"}})
    needs = frozenset()
    columns = (Column("mine-{tag}", "mine", "higher", 0.0),)

    def signature(self):
        return {{"metric": "mine"}}

    def score(self, sample):
        return {{"mine-{tag}": Score("ok", {value}, detail={detail})}}
"""


def with_plugin(config: Config, path: Path, **values: str) -> None:
    path.write_text(PLUGIN.format(**{"value": "1.0", "detail": "{}", **values}))
    load_plugins((str(path),))
    object.__setattr__(config, "plugins", (*config.plugins, str(path)))


def test_a_plugin_metric_may_return_numpy_numbers(go: Go, config: Config, house: Path) -> None:
    with_plugin(config, house / "p1.py", tag="np", value="np.float32(2.5)")
    assert cells(go(metrics=["mine-np"]), "mine-np")["toy-gain"]["value"] == 2.5


@pytest.mark.parametrize(("tag", "detail"), [("nan", "{'x': float('nan')}"), ("obj", "{'x': object()}")])
def test_a_detail_that_is_no_json_fails_its_own_row(go: Go, config: Config, house: Path, tag: str, detail: str) -> None:
    with_plugin(config, house / f"{tag}.py", tag=tag, detail=detail)
    cell = cells(go(metrics=[f"mine-{tag}", "toy-level"]), f"mine-{tag}")["toy-gain"]
    assert (cell["n"], cell["N"]) == (0, 6)


def test_editing_a_plugin_metric_scores_anew(go: Go, config: Config, house: Path) -> None:
    with_plugin(config, house / "edited.py", tag="ed", value="1.0")
    assert cells(go(metrics=["mine-ed"]), "mine-ed")["toy-gain"]["value"] == 1.0
    (house / "edited.py").write_text(PLUGIN.format(tag="ed", value="77.0", detail="{}"))
    assert cells(go(metrics=["mine-ed"]), "mine-ed")["toy-gain"]["value"] == 77.0


def test_a_damaged_feature_is_made_again(go: Go, config: Config) -> None:
    first = go()
    for path in (config.store / "feature").rglob("*.json"):
        path.write_text("{}")
    for path in (config.store / "score").rglob("*.json"):
        path.write_text('{"scores": 5}')
    assert cells(go())["toy-gain"] == cells(first)["toy-gain"]


def test_what_dies_while_loading_is_given_up(go: Go) -> None:
    moods = {f"item{i}": "crash" for i in range(6)}
    result = go(systems=[{"toy-moody": {"mood": moods}}])
    cell = cells(result)["toy-moody"]
    assert (cell["n"], cell["N"]) == (0, 6)
    reasons = [f["reason"] for f in result.results["failures"] if f["stage"] == "generate"]
    assert sum("given up after 3" in r for r in reasons) >= 1
