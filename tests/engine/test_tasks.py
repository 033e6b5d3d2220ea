"""Several tasks in one suite, systems that read other fields for each, and videos: counts, reasons, penalties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metis_bench.config import Config
from metis_bench.engine.executor import Work
from metis_bench.engine.generate import workers_for
from metis_bench.engine.generating import unchanged
from metis_bench.engine.inspect import item_record, read_lines, verify_corpora
from metis_bench.engine.local import LocalExecutor
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.prepare import past_rtf, plan_cells, prepare
from metis_bench.engine.process import SHARERS
from metis_bench.engine.run import RunResult
from metis_bench.engine.store import Store
from metis_bench.errors import CorpusError, ItemError, MissingPrerequisite, SuiteError
from metis_bench.hashing import sha256_file
from metis_bench.suite.schema import Suite
from metis_bench.systems.base import systems

Go = Callable[..., RunResult]
MakeSuite = Callable[..., Suite]
CORPORA = {
    "noisy": {"corpus": "toy", "count": 3},
    "mixed": {"corpus": "toy", "count": 3, "task": "tse"},
    "mute": {"corpus": "toy", "count": 3, "task": "tse", "texts": False},
    "spoken": {"corpus": "toy", "count": 3, "task": "vc"},
}
OMNI: dict[str, Any] = {
    "task": "omni",
    "corpora": CORPORA,
    "systems": ["toy-omni", {"guided": {"system": "toy-omni", "guided": True}}, "source-copy"],
    "metrics": ["toy-level", "rtf"],
}


def cells(result: RunResult, column: str = "toy-level") -> dict[tuple[str, str], dict[str, Any]]:
    return {(c["set"], c["system"]): c for c in result.results["cells"] if c["column"] == column}


def test_each_set_has_its_task_and_says_what_does_not_apply(go: Go) -> None:
    result = go(**OMNI)
    assert result.exit_code == 0, "what is not applicable is no failure"
    assert {s["id"]: s["task"] for s in result.results["sets"]} == {
        "noisy": "se",
        "mixed": "tse",
        "mute": "tse",
        "spoken": "vc",
    }
    reads = {s["name"]: s["reads"] for s in result.results["systems"]}
    assert reads["guided"] == {"se": ["source"], "tse": ["source", "text"]}, "what was given to it is told"
    assert reads["toy-omni"] == {"se": ["source"], "tse": ["source"]}
    level, rtf = cells(result), cells(result, "rtf")
    reasons = {k: next(iter(c["reasons"])) for k, c in level.items() if c["status"] == "not_applicable"}
    assert reasons == {
        ("mute", "guided"): "the set has no text",
        ("spoken", "toy-omni"): "the system does not do the task 'vc'",
        ("spoken", "guided"): "the system does not do the task 'vc'",
        ("spoken", "source-copy"): "the metric is not defined for the task 'vc'",
    }
    for key, cell in level.items():
        assert (cell["n"], cell["N"]) == ((0, 0) if key in reasons else (3, 3))
    assert rtf["mixed", "guided"]["status"] == "complete"
    assert rtf["spoken", "source-copy"]["reasons"] == {"it only copies a file": 0}
    louder = level["mixed", "guided"]["value"] / level["mixed", "source-copy"]["value"]
    assert louder == pytest.approx(1.6, rel=1e-5), "the text guided it"
    assert level["noisy", "guided"]["value"] == level["noisy", "toy-omni"]["value"], "not where it is not declared"
    assert {c["rank"] for (_, s), c in level.items() if s == "source-copy"} == {None}


def test_one_task_alone_is_as_in_a_suite_of_that_task(go: Go) -> None:
    """The same numbers and the same keys: an omni run resumes from single-task ones."""
    many = go(**OMNI)
    alone = go(**{**OMNI, "task": "tse", "corpora": {"mixed": CORPORA["mixed"]}})
    for key, cell in cells(alone).items():
        assert cell == cells(many)[key]
    keys = [
        {(g["system"], g["item"]): g["key"] for g in read_lines(r.folder / "generations.jsonl") if g["set"] == "mixed"}
        for r in (many, alone)
    ]
    assert keys[0] == keys[1]


def test_a_failed_item_of_one_task_costs_that_set_only(go: Go) -> None:
    corpora = {**CORPORA, "mixed": {**CORPORA["mixed"], "broken": [1]}}
    result = go(**{**OMNI, "corpora": corpora})
    assert result.exit_code == 6
    level = cells(result)
    for system in ("toy-omni", "guided", "source-copy"):
        cell = level["mixed", system]
        assert (cell["n"], cell["N"], cell["rank"]) == (2, 3, None)
        assert cell["penalised"] == pytest.approx(cell["value"] * 2 / 3)
        assert level["noisy", system]["n"] == level["noisy", system]["N"] == 3


def test_a_suite_refuses_another_task_and_omni_takes_any(make_suite: MakeSuite, config: Config) -> None:
    suite = make_suite(corpora={"mixed": CORPORA["mixed"]}, systems=["source-copy"])
    with pytest.raises(CorpusError, match="'mixed' has items for 'tse', the suite is for 'se'"):
        prepare(suite, config)
    assert prepare(make_suite(**OMNI), config).plan.sets[3].task == "vc"


def test_nothing_undeclared_is_read(make_suite: MakeSuite, config: Config) -> None:
    with pytest.raises(SuiteError, match="'toy-nosy' reads reference, which its class does not list"):
        prepare(make_suite(systems=["toy-nosy"]), config)


def test_all_absent_corpora_are_told_at_once(make_suite: MakeSuite, config: Config) -> None:
    absent = {"mine": {"corpus": "folder", "task": "tse"}, "yours": {"corpus": "folder", "task": "vc"}}
    suite = make_suite(**{**OMNI, "corpora": {"mixed": CORPORA["mixed"], **absent}})
    with pytest.raises(MissingPrerequisite) as caught:
        prepare(suite, config)
    text = str(caught.value)
    assert "the corpus 'mine' needs your data" in text and "the corpus 'yours' needs your data" in text
    assert "--corpus mixed" in text and caught.value.exit_code == 5


@pytest.fixture
def videos(house: Path) -> Path:
    """A folder with item0..2.mp4, each holding a number."""
    folder = house / "videos"
    folder.mkdir()
    for i in range(3):
        (folder / f"item{i}.mp4").write_text(str(i + 1))
    return folder


def lips(videos: Path) -> dict[str, Any]:
    faces = {"corpus": "toy", "count": 3, "task": "l2s", "videos": str(videos)}
    return {"task": "l2s", "corpora": {"faces": faces}, "systems": ["toy-lips", "ground-truth", "silence"]}


def test_a_video_is_an_input_by_content(go: Go, videos: Path) -> None:
    first = go(**lips(videos))
    cell = cells(first)["faces", "toy-lips"]
    assert (cell["n"], cell["N"], cell["status"]) == (3, 3, "complete")
    keys = {g["item"]: g["key"] for g in read_lines(first.folder / "generations.jsonl") if g["system"] == "toy-lips"}
    (videos / "item1.mp4").write_text("4")
    second = go(**lips(videos))
    assert cells(second)["faces", "toy-lips"]["value"] == pytest.approx(cell["value"] * 8 / 6, rel=1e-5)
    again = {g["item"]: g["key"] for g in read_lines(second.folder / "generations.jsonl") if g["system"] == "toy-lips"}
    assert {i for i in keys if keys[i] != again[i]} == {"item1"}
    assert first.folder != second.folder
    video = item_record(second.folder, "item1")["item"]["video"]
    assert video == {"path": str(videos / "item1.mp4"), "sha256": sha256_file(videos / "item1.mp4")}


def test_a_missing_video_is_a_failed_row_of_what_needs_it(go: Go, videos: Path, config: Config) -> None:
    (videos / "item2.mp4").unlink()
    suite = lips(videos)
    result = go(**suite)
    assert result.exit_code == 6
    cell = cells(result)["faces", "toy-lips"]
    assert (cell["n"], cell["N"]) == (2, 3) and cell["penalised"] == pytest.approx(cell["value"] * 2 / 3)
    assert cells(result)["faces", "ground-truth"]["n"] == 3, "it needs no video"
    (failure,) = [f for f in result.results["failures"] if f["stage"] == "generate"]
    assert failure["item"] == "item2" and failure["reason"].startswith("video: cannot read the file")


def test_prepare_checks_videos_without_decoding_them(make_suite: MakeSuite, config: Config, videos: Path) -> None:
    (videos / "item0.mp4").write_bytes(b"")
    (report,) = verify_corpora(make_suite(**lips(videos)), config)["sets"]
    assert report["files"] == 6
    assert report["problems"] == [f"{videos / 'item0.mp4'}: the file is empty (0 bytes)"]


def test_a_video_that_changes_while_it_runs_is_refused(videos: Path) -> None:
    path = videos / "item0.mp4"
    sha256 = sha256_file(path)
    assert unchanged(path, sha256) == path
    path.write_text("other")
    with pytest.raises(ItemError, match="changed while the run was going on"):
        unchanged(path, sha256)
    path.unlink()
    with pytest.raises(ItemError, match="cannot read the video file"):
        unchanged(path, sha256)


def test_a_system_may_know_the_references_duration_and_nothing_more(go: Go) -> None:
    """Planned where a reference exists, keyed by its seconds, handed over as a number."""
    result = go(corpora={"noisy": {"corpus": "toy", "count": 3}}, systems=["toy-timer"], metrics=["toy-level"])
    assert result.exit_code == 0
    assert cells(result)["noisy", "toy-timer"]["n"] == 3
    assert result.results["systems"][0]["reads"] == {"se": ["duration"]}
    made = [line["audio"]["seconds"] for line in read_lines(result.folder / "generations.jsonl")]
    assert made == [0.25] * 3


def test_what_a_task_loads_at_its_first_item_is_not_timed_as_generation(go: Go) -> None:
    corpora = {name: CORPORA[name] for name in ("noisy", "mixed")}
    result = go(task="omni", corpora=corpora, systems=["toy-lazy"], metrics=["toy-level", "rtf"])
    seconds = [g["wall_s"] for g in read_lines(result.folder / "generations.jsonl")]
    assert len(seconds) == 6 and max(seconds) < 0.9


def test_every_item_of_a_batch_waits_for_all_of_it(go: Go) -> None:
    """The batch's time is shared out for the real-time factor, and is everybody's latency."""
    result = go(corpora={"toy": {"corpus": "toy", "count": 6}}, systems=["toy-bus"], metrics=["rtf", "latency"])
    lines = read_lines(result.folder / "generations.jsonl")
    batches: dict[float, list[float]] = {}
    for line in lines:
        batches.setdefault(line["latency_s"], []).append(line["wall_s"])
    assert sorted(len(shares) for shares in batches.values()) == [3, 3]
    for latency, shares in batches.items():
        assert latency >= 0.5 and sum(shares) == pytest.approx(latency)
    assert cells(result, "latency")["toy", "toy-bus"]["value"] >= 0.5


def test_the_unmeasured_run_has_a_time_limit_of_its_own(
    go: Go, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metis_bench.engine.generate.START_GRACE_S", 5.0)  # enough for the imports
    object.__setattr__(config, "timeout_s", 4.0)
    result = go(systems=[{"toy-noise": {"delay_s": 3.9}}], corpora={"toy": {"corpus": "toy", "count": 1}})
    assert result.exit_code == 0, result.results["failures"]


def test_no_devices_means_no_gpu(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    big, small = (cls(cls.params_type()) for cls in (systems.get("toy-lazy"), systems.get("toy-noise")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    object.__setattr__(config, "workers", 3)

    def seen(gpu: Any, alone: bool = False, what: str = "CUDA_VISIBLE_DEVICES") -> list[str | None]:
        work = Work("toys", "", None, tasks=9, timeout_s=1, gpu=gpu, alone=alone)
        return [env.get(what) for env in LocalExecutor(config).environments(work)]

    assert seen("own", alone=True) == ["0", "1"] and workers_for(big, config) == 2
    assert seen("none") == [None] * config.workers and workers_for(small, config) == config.workers
    assert seen("own") == ["0", "1"] and seen("shared") == ["0", "1", "0"]
    object.__setattr__(config, "devices", ("0", "0", "1"))
    assert seen("own") == ["0", "0", "1"] and seen("own", what=SHARERS) == ["2", "2", "1"], "two on one GPU"
    object.__setattr__(config, "devices", ())
    assert seen("own", alone=True) == [""], "and what is there is hidden"
    assert workers_for(big, config) == 1


@pytest.mark.parametrize(
    ("name", "params", "devices", "workers"),
    [
        ("toy-lazy", {}, (), 1),
        ("toy-lazy", {}, ("0", "1", "2"), 3),
        ("toy-noise", {}, ("0",), 8),
        ("metis-tts", {"checkpoint": "random-full"}, (), 1),
        ("metis-tts", {"checkpoint": "mini"}, (), 8),
        ("metis-tts", {"checkpoint": "mini"}, ("0",), 1),
        ("metis-codec", {"checkpoint": "mini"}, (), 8),
    ],
)
def test_big_systems_get_one_worker_a_gpu_or_one_with_all_cores(
    name: str, params: dict[str, str], devices: tuple[str, ...], workers: int
) -> None:
    cls = systems.get(name)
    system = cls(cls.params_type.model_validate(params))
    assert workers_for(system, Config(workers=8, devices=devices)) == workers
    work = Work("", "", None, tasks=99, timeout_s=1, gpu="own" if system.uses_gpu else "none", alone=system.alone())
    assert len(LocalExecutor(Config(workers=8, devices=devices)).environments(work)) == workers


def test_a_plan_reckons_with_the_workers_that_a_system_gets(go: Go, make_suite: MakeSuite, config: Config) -> None:
    toy = {"toy": {"corpus": "toy", "count": 4}}
    go(systems=["toy-lazy", {"toy-noise": {"delay_s": 0.02}}], corpora=toy)
    more = {"toy": {"corpus": "toy", "count": 6}, "other": {"corpus": "toy", "count": 6, "texts": False}}
    prepared = prepare(
        make_suite(systems=["toy-lazy", {"toy-noise": {"delay_s": 0.02}}], corpora=more, seeds=[9]), config
    )
    rtf = past_rtf(prepared.suite, Store(config.store))
    outputs = Outputs(prepared.plan, Store(config.store))
    outputs.look(prepared.plan.rows)
    for cell in plan_cells(prepared, outputs, config):
        share = 1 if cell["system"] == "toy-lazy" else config.workers
        assert cell["estimate_s"] == pytest.approx(cell["hours"] * 3600 * rtf[cell["system"]] / share)
