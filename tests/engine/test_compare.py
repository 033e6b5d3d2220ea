"""Comparing and gating real runs of toys, by the library and by the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from metis_bench.cli import cli
from metis_bench.comparison import compare
from metis_bench.config import Config
from metis_bench.engine.inspect import find_run
from metis_bench.engine.run import RunResult, run
from metis_bench.engine.seal import broken
from metis_bench.errors import SuiteError, UsageError
from metis_bench.gating import EXIT_CODES, Policy, Rule, gate, read_policy
from metis_bench.report.comparison import comparison_json, comparison_markdown, gate_junit, gate_markdown
from metis_bench.report.merge import merge
from metis_bench.report.site import Source, load_runs
from metis_bench.suite.schema import Suite

Go = Callable[..., Path]
CORPUS = {"toy": {"corpus": "toy", "count": 16, "clusters": 16}}
SEEDS = [0, 1, 2]


@pytest.fixture
def runs(make_suite: Callable[..., Suite], config: Config, monkeypatch: pytest.MonkeyPatch, house: Path) -> Go:
    """`runs(name, gain=..., noise=..., **overrides)`: a run folder of systems `gain` and `noisy`."""
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder / "report" / "index.html")

    def made(name: str, gain: float = 1.0, noise: float = 0.01, **overrides: Any) -> Path:
        (house / f"{name}.ckpt").write_text(str(gain))
        data: dict[str, Any] = {
            "corpora": CORPUS,
            "systems": [
                {"gain": {"system": "toy-gain", "checkpoint": str(house / f"{name}.ckpt")}},
                {"noisy": {"system": "toy-noise", "level": noise}},
            ],
            "seeds": SEEDS,
            "stats": {"resamples": 2000},
        }
        result: RunResult = run(make_suite(**{**data, **overrides}), config, out=house / "out" / name)
        return result.folder

    return made


def one(found: Any, column: str = "toy-level") -> Any:
    (comparison,) = found
    return next(d for d in comparison.differences if d.column == column)


def test_equal_runs_do_not_differ(runs: Go) -> None:
    found = one(compare(runs("a"), runs("b"), ["gain"]))
    assert (found.difference, found.ci, found.p, found.pairs) == (0, (0, 0), 1.0, 16)
    assert found.verdict(0.95) == "no difference found" and found.worst == ()


def test_a_weaker_checkpoint_is_worse_and_its_items_are_listed(runs: Go) -> None:
    weaker, base = runs("a", gain=0.8), runs("b")
    found = one(compare(weaker, base, ["gain"]))
    assert found.difference == pytest.approx(-0.2 * found.b, rel=1e-3)
    assert found.ci[1] < 0 and found.p_holm < 0.01 and found.verdict(0.95) == "worse"
    assert found.worst[0].item == "item15", "the loudest loses most"
    better = one(compare(base, weaker, ["gain"]))
    assert better.verdict(0.95) == "better" and better.difference == -found.difference


def test_within_a_run_a_seedless_system_is_paired_with_every_seed(runs: Go) -> None:
    (found,) = compare(runs("a", noise=0.001), runs("a", noise=0.001), ["noisy"])
    assert found.b.startswith("gain") and one([found]).pairs == 16
    assert abs(one([found]).difference) < 1e-3


def test_what_is_measured_otherwise_is_refused(runs: Go, house: Path) -> None:
    base = runs("a")
    fewer = runs("b", corpora={"toy": {"corpus": "toy", "count": 15, "clusters": 15}})
    assert "lists of items differ" in str(one(compare(base, fewer, ["gain"])).refused)
    other = runs("c", stats={"resamples": 500})
    assert "seeds, aggregation or statistics" in str(one(compare(base, other, ["gain"])).refused)
    text = comparison_markdown(compare(base, fewer, ["gain"]))
    assert "not compared: the lists of items differ" in text
    assert (
        json.loads(json.dumps(comparison_json(compare(base, fewer))))[0]["differences"][0]["verdict"]
        == "not comparable"
    )


def test_failed_items_are_left_out_on_both_sides_and_told(runs: Go) -> None:
    moody = [{"gain": {"system": "toy-moody", "mood": {"item3": "raise"}}}, {"noisy": {"system": "toy-noise"}}]
    found = one(compare(runs("a", systems=moody), runs("b"), ["gain"]))
    assert (found.pairs, found.planned) == (15, 16)


def test_unknown_names_are_told(runs: Go) -> None:
    base = runs("a")
    with pytest.raises(UsageError, match="did you mean 'gain'"):
        compare(base, base, ["gian"])
    alone = runs("alone", systems=[{"other": {"system": "toy-noise"}}])
    with pytest.raises(UsageError, match="no second system"):
        compare(alone, alone)
    with pytest.raises(UsageError, match="no system of the same name"):
        compare(base, runs("b", systems=[{"other": {"system": "toy-noise"}}]))


def test_half_a_run_is_told(runs: Go, config: Config) -> None:
    """As where only results were copied."""
    folder = runs("a")
    (folder / "run.json").unlink()
    with pytest.raises(UsageError, match=r"lacks its run\.json"):
        find_run(str(folder), config)


def policy(margin: float, **more: Any) -> Policy:
    return Policy(metrics={"toy-level": Rule(margin=margin)}, systems={"gain": "gain"}, **more)


def test_the_four_verdicts_and_their_exit_codes(runs: Go, house: Path) -> None:
    base, worse = runs("base"), runs("worse", gain=0.7)
    rules = house / "policy.yaml"
    rules.write_text("systems: {gain: gain}\nmetrics: {toy-level: {margin: 0.002}}\n")

    def verdict(candidate: Path, *more: str) -> tuple[int, dict[str, Any]]:
        arguments = ["gate", str(candidate), "--against", str(base), "--policy", str(rules), "--json", *more]
        done = CliRunner().invoke(cli, arguments, standalone_mode=False)
        assert done.exception is None, done.exception
        return done.return_value, json.loads(done.output)

    assert verdict(base)[0] == EXIT_CODES["PASS"] == 0
    code, told = verdict(worse, "--junit", str(house / "gate.xml"), "--out", str(house / "gate.md"))
    assert (code, told["verdict"]) == (1, "FAIL") and "at least" in told["checks"][0]["reason"]
    tree = ElementTree.fromstring((house / "gate.xml").read_bytes())
    assert tree[0].get("failures") == "1" and "at least" in str(tree.find(".//failure").get("message"))  # type: ignore[union-attr]
    assert "❌ FAIL" in (house / "gate.md").read_text(encoding="utf-8")
    rules.write_text("systems: {gain: gain}\nmetrics: {toy-level: {margin: 0.018}}\n")
    code, told = verdict(worse)
    assert (code, told["verdict"]) == (4, "INCONCLUSIVE") and told["checks"][0]["needed"] > 16
    moody = [{"gain": {"system": "toy-moody", "mood": {"item3": "raise"}}}, {"noisy": {"system": "toy-noise"}}]
    code, told = verdict(runs("moody", systems=moody))
    assert (code, told["verdict"]) == (3, "INVALID") and "15 of 16" in told["checks"][0]["reason"]


def test_one_missing_item_is_invalid_unless_the_policy_says_otherwise(runs: Go) -> None:
    moody = [{"gain": {"system": "toy-moody", "mood": {"item3": "raise"}}}, {"noisy": {"system": "toy-noise"}}]
    candidate, base = runs("moody", systems=moody), runs("base")
    assert gate(candidate, base, policy(0.5)).verdict == "INVALID"
    lenient = Policy(metrics={"toy-level": Rule(margin=0.5, coverage=0.9)}, systems={"gain": "gain"})
    assert gate(candidate, base, lenient).verdict == "PASS"


def test_a_set_or_column_that_only_the_baseline_has_is_no_pass(runs: Go) -> None:
    """Otherwise whoever leaves out what got worse passes."""
    second = {"second": {"metric": "toy-level", "name": "other"}}
    base = runs("base", corpora={**CORPUS, "more": CORPUS["toy"]}, metrics=["toy-level", second])
    less = runs("less")
    found = gate(less, base, policy(0.5))
    assert found.verdict == "INVALID" and {(c.set, c.verdict) for c in found.checks} == {
        ("toy", "PASS"),
        ("more", "INVALID"),
    }
    assert gate(less, base, policy(0.5, sets=["toy"])).verdict == "PASS", "unless the policy says so"
    family = Policy(metrics={"toy": Rule(margin=1)}, systems={"gain": "gain"}, sets=["toy"])
    assert {c.column: c.verdict for c in gate(less, base, family).checks if c.column in ("toy-level", "other")} == {
        "toy-level": "PASS",
        "other": "INVALID",
    }


def test_nothing_allowed_and_nothing_worse(runs: Go) -> None:
    base = runs("base")
    found = gate(base, base, policy(0.0))
    assert found.verdict == "PASS" and "-0" not in gate_markdown(found), "0 is at most 0, and has no sign"
    assert gate(runs("worse", gain=0.7), base, policy(0.0)).verdict == "FAIL"


def test_noise_never_fails(runs: Go) -> None:
    rules = Policy(metrics={"toy-level": Rule(margin=0.0005)}, systems={"noisy": "noisy"})
    base = runs("base", noise=0.0100)
    assert gate(runs("again", noise=0.0101), base, rules).verdict in ("PASS", "INCONCLUSIVE")


@pytest.mark.parametrize("file", ["results.json", "scores.jsonl", "generations.jsonl", "plan.jsonl", "seal.json"])
def test_a_hand_on_the_results_is_noticed(runs: Go, file: str) -> None:
    base, candidate = runs("base"), runs("candidate")
    assert broken(candidate) is None
    text = (candidate / file).read_text(encoding="utf-8")
    (candidate / file).write_text(text.replace("item1", "item1 ", 1) if "item1" in text else text.replace('"', '" ', 1))
    if file in ("scores.jsonl", "generations.jsonl", "plan.jsonl"):
        (candidate / file).write_text(text + "\n")
    elif file == "results.json":
        (candidate / file).write_text(text.replace('"resamples": 2000', '"resamples":  2000'))
    found = gate(candidate, base, policy(0.5))
    assert found.verdict == "INVALID" and found.exit_code == 3
    assert "changed" in found.problems[0] and found.problems[0][:9] in gate_markdown(found)
    assert b"<error" in gate_junit(found)
    (candidate / "seal.json").write_text("[]")
    assert "cannot be read" in gate(candidate, base, policy(0.5)).problems[0]


def test_checks_that_check_nothing_are_an_error(runs: Go, house: Path) -> None:
    base = runs("base")
    with pytest.raises(SuiteError, match="names a metric 'toy-levl'"):
        gate(base, base, Policy(metrics={"toy-levl": Rule(margin=1)}))
    with pytest.raises(SuiteError, match="names a system 'gian'"):
        gate(base, base, Policy(metrics={"toy-level": Rule(margin=1)}, systems={"gian": "gain"}))
    with pytest.raises(SuiteError, match="names a test set 'no-such-set'"):
        gate(base, base, policy(1, sets=["toy", "no-such-set"]))
    for text, says in (
        ("metrics: {}\n", "metrics"),
        ("metrics: {wer: {margn: 1}}\n", "did you mean 'margin'"),
        ("metrics: {wer: {margin: -1}}\n", "greater than or equal to 0"),
        ("metric: {}\n", "metric"),
    ):
        (house / "p.yaml").write_text(text)
        with pytest.raises(SuiteError, match=r"p\.yaml:1") as error:
            read_policy(house / "p.yaml")
        assert says in str(error.value)


def test_names_cannot_break_the_tables(runs: Go) -> None:
    found = compare(runs("a"), runs("b"), ["gain"])
    hostile = replace(found[0], a="<script>|`x`\n", differences=(replace(found[0].differences[0], set="a|b<b>"),))
    text = comparison_markdown([hostile])
    assert "<script>" not in text and "a&#124;b&#60;b&#62;" in text
    result = gate(runs("a"), runs("b"), policy(0.5))
    odd = replace(result, candidate="a\x01", checks=(replace(result.checks[0], reason="bad \x00 \ud800 <x>"),))
    assert "bad ? ? &lt;x&gt;" in gate_junit(odd).decode() and 'name="a? against' in gate_junit(odd).decode()


def test_runs_that_measured_costs_share_a_leaderboard(runs: Go) -> None:
    """Costs carry a signature and no protocol: they keep no runs apart."""
    metrics = ["toy-level", "rtf"]
    sources = [Source(runs(name, metrics=metrics, noise=noise), Path) for name, noise in (("a", 0.01), ("b", 0.02))]
    (board,) = merge(load_runs(sources))
    assert {s.name for s in board.data.results.systems} == {"gain", "noisy (a)", "noisy (b)"}
    assert any("Costs are of several runs" in note for note in board.notes)


def test_nothing_over_nothing_is_no_number(runs: Go) -> None:
    """A ratio whose denominators are all zero, such as the mean of utterances <= 50 % where there is none."""
    base = runs("base")
    lines = [json.loads(line) for line in (base / "scores.jsonl").read_text(encoding="utf-8").splitlines()]
    results = json.loads((base / "results.json").read_text(encoding="utf-8"))
    column = next(c for c in results["columns"] if c["ratio"])
    for line in lines:
        if line["column"].startswith("toy-level"):
            line["detail"] = {**line["detail"], **dict.fromkeys(column["ratio"], 0)}
    (base / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = one(compare(base, base, ["gain"]), column["id"])
    assert found.refused == "no item has a value on both sides" and found.difference is None


def test_what_cannot_be_measured_here_is_no_pass(runs: Go) -> None:
    """The baseline has the column, and the candidate's machine lacks what it needs."""
    second = {"second": {"metric": "toy-level", "name": "other"}}
    base = runs("base", metrics=["toy-level", second])
    blind = runs("blind", metrics=[{"toy-level": {"locked": "en"}}, second])
    found = gate(blind, base, Policy(metrics={"toy-level": Rule(margin=1), "other": Rule(margin=1)}))
    verdicts = {check.column: check.verdict for check in found.checks if check.system == "gain"}
    assert verdicts["other"] == "PASS" and verdicts["toy-level"] == "INVALID" == found.verdict
    assert any("was not measured by toy-level" in check.reason for check in found.checks)
