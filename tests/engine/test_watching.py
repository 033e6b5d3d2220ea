"""Watching a folder of checkpoints: each is run and gated once, whatever it is; what happened stays written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from metis_bench.cli import cli
from metis_bench.config import Config
from metis_bench.engine.run import RunResult, run
from metis_bench.errors import Interrupted, MetisBenchError, MissingPrerequisite, SuiteError, UsageError
from metis_bench.gating import Policy, Rule
from metis_bench.report.history import history_page
from metis_bench.suite.load import load_suite
from metis_bench.suite.schema import Suite
from metis_bench.watching import HISTORY, PAGE, Entry, Require, Watch, exit_code, read_history, watch
from tests.engine.conftest import TOYS

CORPUS = {"toy": {"corpus": "toy", "count": 16, "clusters": 16}}
RULES = Policy(metrics={"toy-level": Rule(margin=0.002)})


class Tracked:
    """Runs the suite, and writes down how often."""

    def __init__(self, config: Config) -> None:
        self.config, self.runs = config, 0

    def __call__(self, suite: Suite, require: Require) -> RunResult:
        self.runs += 1
        return run(suite, self.config, require=require)


@pytest.fixture
def what(make_suite: Callable[..., Suite], config: Config, house: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A folder to watch, whose baseline has gain 1."""
    monkeypatch.setattr("metis_bench.engine.run.render", lambda folder, _: folder / "report" / "index.html")
    systems = [{"model": {"system": "toy-gain", "checkpoint": str(house / "one.ckpt")}}]
    base = run(make_suite(systems=systems, corpora=CORPUS), config)
    folder = house / "checkpoints"
    folder.mkdir()
    return Watch(
        folder,
        "*.ckpt",
        "model.checkpoint",
        lambda override: load_suite(house / "suite.yaml", overrides=[override]),
        config,
        RULES,
        base.folder,
        settle_s=0,
    )


def put(what: Watch, name: str, text: str) -> None:
    (what.folder / name).write_text(text)


def test_each_checkpoint_gets_a_verdict_once(what: Watch) -> None:
    put(what, "step1.ckpt", "1.0 ")
    put(what, "step2.ckpt", "0.5")
    put(what, "step3.ckpt", "no number")
    put(what, "notes.txt", "not a checkpoint")
    judge = Tracked(what.config)
    told: list[Entry] = []
    new = watch(what, once=True, told=told.append, judge=judge)
    assert [(e.checkpoint, e.verdict) for e in new] == [
        ("step1.ckpt", "PASS"),
        ("step2.ckpt", "FAIL"),
        ("step3.ckpt", "BROKEN"),
    ]
    assert told == new == read_history(what.folder) and judge.runs == 3 and exit_code(new) == 3
    assert (
        "at least" in new[1].reason
        and "could not convert" in new[2].reason
        and new[2].run
        and new[0].checks[0].margin == 0.002
    )
    assert watch(what, once=True, judge=judge) == [] and judge.runs == 3, "nothing twice"
    (what.folder / "step1.ckpt").touch()
    assert watch(what, once=True, judge=judge) == [] and judge.runs == 3, "the same bytes"
    put(what, "step1.ckpt", "0.9999")
    (again,) = watch(what, once=True, judge=judge)
    assert (again.checkpoint, again.verdict) == ("step1.ckpt", "PASS") and len(read_history(what.folder)) == 4
    lines = [json.loads(line) for line in (what.folder / HISTORY).read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["PASS", "FAIL", "BROKEN", "PASS"]


def test_a_folder_is_a_checkpoint_too(what: Watch) -> None:
    (what.folder / "epoch1").mkdir()
    (what.folder / "epoch1" / "weights.ckpt").write_text("1.0")
    (what.folder / "epoch2").mkdir()  # nothing in it yet
    inner = replace(what, pattern="epoch*", load=lambda o: what.load(o.replace('epoch1"', 'epoch1/weights.ckpt"')))
    assert [(e.checkpoint, e.verdict) for e in watch(inner, once=True)] == [("epoch1", "PASS")]


def test_what_no_run_comes_of_is_a_row(what: Watch) -> None:
    def judge(suite: Suite, require: Require) -> RunResult:
        raise MissingPrerequisite(f"{what.folder / 'a.ckpt'} is damaged <script>")

    put(what, "a.ckpt", "1")
    (entry,) = watch(what, once=True, judge=judge)
    assert (entry.verdict, entry.exit_code, entry.run) == ("BROKEN", 3, None) and "damaged" in entry.reason
    assert "<script" not in (what.folder / PAGE).read_text(encoding="utf-8")


def test_a_checkpoint_that_lacks_a_file_is_broken_and_the_next_goes_on(what: Watch) -> None:
    for name in ("epoch1", "epoch2"):
        (what.folder / name).mkdir()
        (what.folder / name / "notes.txt").write_text("")
    (what.folder / "epoch2" / "weights.ckpt").write_text("1.0")
    inner = replace(what, pattern="epoch*", load=lambda o: what.load(o[:-1] + '/weights.ckpt"'))
    broken, good = watch(inner, once=True)
    assert (broken.verdict, good.verdict) == ("BROKEN", "PASS") and "checkpoint not found" in broken.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"corpora": {**CORPUS, "other": {"corpus": "dns2020"}}}, "dns2020"),
        ({"systems": ["gone", "model"]}, "gone"),
        ({"metrics": [{"toy-level": {"locked": "en"}}, {"second": {"metric": "toy-level", "name": "other"}}]}, "a key"),
    ],
)
def test_a_missing_prerequisite_is_nobodys_fault(
    what: Watch, house: Path, make_suite: Callable[..., Suite], change: dict[str, Any], reason: str
) -> None:
    """Corpus, other system, or metric of the policy: the command ends as any does, and the checkpoint is not judged."""
    model = {"model": {"system": "toy-gain", "checkpoint": str(house / "one.ckpt")}}
    known = {"model": model, "gone": {"gone": {"system": "toy-gain", "checkpoint": str(house / "gone.ckpt")}}}
    if "systems" in change:
        change = {"systems": [known[name] for name in change["systems"]]}
    make_suite(**{"systems": [model], "corpora": CORPUS, **change})
    put(what, "a.ckpt", "0.5")
    with pytest.raises(MissingPrerequisite, match=reason) as error:
        watch(what, once=True)
    assert error.value.exit_code == 5 and not (what.folder / HISTORY).exists()
    make_suite(systems=[model], corpora=CORPUS)
    assert [e.verdict for e in watch(what, once=True)] == ["FAIL"], "mended: it is judged now"


def test_two_commands_may_watch_a_folder(what: Watch) -> None:
    """While one judges, the other writes: neither loses a line, and what both judged is there once."""
    put(what, "a.ckpt", "1.0")
    put(what, "b.ckpt", "0.5")

    def judge(suite: Suite, require: Require) -> RunResult:
        watch(replace(what, pattern="*.ckpt"), once=True)
        return run(suite, what.config, require=require)

    watch(replace(what, pattern="a.*"), once=True, judge=judge)
    assert sorted((e.checkpoint, e.verdict) for e in read_history(what.folder)) == [
        ("a.ckpt", "PASS"),
        ("b.ckpt", "FAIL"),
    ]


def test_nothing_is_read_while_it_is_written(what: Watch) -> None:
    put(what, "a.ckpt", "1.")
    seen: list[float] = []

    def judge(suite: Suite, require: Require) -> RunResult:
        seen.append(time.monotonic())
        return run(suite, what.config, require=require)

    started = time.monotonic()
    watch(replace(what, settle_s=0.5), once=True, judge=judge)
    assert seen[0] - started >= 0.5


def test_ctrl_c_leaves_a_history_that_goes_on(what: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    put(what, "a.ckpt", "1.0")
    judge = Tracked(what.config)

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("metis_bench.watching.time", SimpleNamespace(monotonic=time.monotonic, sleep=stop))
    with pytest.raises(Interrupted, match=r"history\.jsonl is complete"):
        watch(what, judge=judge)
    assert len(read_history(what.folder)) == 1
    put(what, "b.ckpt", "1.1")
    assert [e.checkpoint for e in watch(what, once=True, judge=judge)] == ["b.ckpt"] and judge.runs == 2


def test_faults_that_are_no_checkpoints(what: Watch) -> None:
    put(what, "a.ckpt", "1.0")
    with pytest.raises(UsageError, match=r"NAME\.PARAM"):
        watch(replace(what, param="checkpoint"), once=True)
    with pytest.raises(SuiteError, match="modle"):
        watch(replace(what, param="modle.checkpoint"), once=True)
    with pytest.raises(UsageError, match="not a folder"):
        watch(replace(what, folder=what.folder / "none"), once=True)
    with pytest.raises(SuiteError, match="names a metric"):
        watch(replace(what, policy=Policy(metrics={"wer": Rule(margin=1)})), once=True)
    assert not (what.folder / HISTORY).exists(), "it is tried again"
    put(what, HISTORY, '{"checkpoint": 1}\n')
    with pytest.raises(MetisBenchError, match=r"history\.jsonl:1"):
        watch(what, once=True)


def test_the_command(what: Watch, house: Path) -> None:
    put(what, "a.ckpt", "0.5")
    machine = {"plugins": [TOYS], "store": str(what.config.store), "runs": str(what.config.runs), "workers": 2}
    (house / "metis-bench.yaml").write_text(yaml.safe_dump(machine))
    (house / "policy.yaml").write_text("metrics: {toy-level: {margin: 0.002}}\n")
    arguments = ["watch", str(what.folder), "--suite", "suite.yaml", "--param", "model.checkpoint", "--once"]
    arguments += ["--against", str(what.against), "--policy", "policy.yaml", "--pattern", "*.ckpt", "--settle", "0"]
    done = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    assert done.return_value == 1 and json.loads(done.stdout)[0]["verdict"] == "FAIL"
    assert CliRunner().invoke(cli, arguments, standalone_mode=False).return_value == 0, "nothing new"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, Any]]] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_is_escaped_and_asks_for_nothing() -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    entry = Entry(hostile, "0" * 64, "s", "2026-11-21T00:00:00+00:00", "BROKEN", hostile, run='../runs/a b"#')
    page = history_page(hostile, [entry, replace(entry, verdict="PASS")])
    tags = Tags()
    tags.feed(page)
    assert not {"img", "script"} & {tag for tag, _ in tags.found} and "None" not in page
    links = [attrs["href"] for tag, attrs in tags.found if tag in ("a", "link")]
    assert links == ["data:,", "../runs/a%20b%22%23/report/index.html", "../runs/a%20b%22%23/report/index.html"]
    assert page.index("PASS</strong>") < page.index("BROKEN</strong>"), "the newest first"
    assert "No checkpoint has come yet" in history_page("x", [])
