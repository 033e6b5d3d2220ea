"""Grids of runs: which are trained, from what, and that a finished one is left alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from reference_models.training import ablate as ablation
from reference_models.training.ablate import ablate, runs_of
from reference_models.training.cli import main
from reference_models.training.logs import read_metrics
from reference_models.training.recipe import RecipeError
from tests.reference_models.training.toys import toy_shards

pytest.importorskip("accelerate")

QUICK = "size: mini, init: scaled, precision: fp32, recompute: false, batch_tokens: 600, log_every: 2, steps: 2"
SUITE = f"""\
name: toy
training:
  - base.{{seed}}:
      {{recipe: base, data: [toys], set: {{seed: "{{seed}}", {QUICK}}}, grid: {{seed: [0, 1]}}}}
  - lora-{{rank}}.{{seed}}:
      recipe: tts
      from: base.{{seed}}
      data: [toys]
      validation: [held]
      set: {{lora.rank: "{{rank}}", seed: "{{seed}}", {QUICK}, examples: 8, validate_every: 10}}
      grid: {{rank: [2, 4], seed: [0, 1]}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    toy_shards(tmp_path / "data" / "toys")
    toy_shards(tmp_path / "data" / "held", 4, first=100)
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def test_a_run_brings_what_it_starts_from_and_is_trained_once(place: Path) -> None:
    def go(**how: object) -> dict[str, tuple[bool, int]]:
        ended = ablate(place / "suite.yaml", place / "data", place / "work", cpu=True, **how)  # type: ignore[arg-type]
        return {e.name: (e.finished, e.steps) for e in ended}

    assert go(only=["lora-4.1"]) == {"base.1": (True, 2), "lora-4.1": (True, 2)}
    weights = place / "work" / "lora-4.1" / "weights" / "metis_tts"
    facts = json.loads((weights / "metis_tts_lora_4.training.json").read_text())
    assert facts["recipe"]["lora"]["rank"] == 4 and facts["recipe"]["seed"] == 1 and facts["trained"] > 0
    assert [line["step"] for line in read_metrics(place / "work" / "lora-4.1" / "metrics.jsonl") if
            "validation_loss" in line] == [2], "the last step is validated too"  # fmt: skip
    assert not list(place.glob("work/*/checkpoints")), "nobody goes on from a finished run"
    before = {p: p.stat().st_mtime_ns for p in place.glob("work/*/weights/*/*.safetensors")}
    assert set(go()) == {"base.0", "base.1", *(f"lora-{r}.{s}" for r in (2, 4) for s in (0, 1))}
    assert before == {p: p.stat().st_mtime_ns for p in before}, "finished runs are left as they are"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("init: scaled", "optimiser.lr: 0.5, init: scaled", "holds a run with optimiser"),
        ("steps: 2", "steps: 3", "holds a run with steps: 2, not 3"),
        ("recipe: base, data: [toys]", "recipe: base, data: [held]", "holds a run on toys, not held"),
    ],
)
def test_a_finished_run_is_neither_lost_nor_taken_for_another(place: Path, old: str, new: str, words: str) -> None:
    def go() -> None:
        ablate(place / "suite.yaml", place / "data", place / "work", only=["base.1"], cpu=True)

    go()
    before = {p: p.stat().st_mtime_ns for p in place.glob("work/*/weights/*/*.safetensors")}
    (place / "suite.yaml").write_text(SUITE.replace(old, new))
    with pytest.raises(RecipeError, match=words):
        go()
    (place / "suite.yaml").write_text(SUITE.replace("log_every: 2", "log_every: 1"))
    go()
    assert before == {p: p.stat().st_mtime_ns for p in before}, "logs are no part of what it is"
    shutil.rmtree(place / "data" / "toys")
    go()  # nothing to compare with
    toy_shards(place / "data" / "toys", 4, first=50)
    with pytest.raises(RecipeError, match="holds a run with another data"):
        go()


def test_a_run_that_is_stopped_is_the_last(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C means the grid, not one run of it."""
    whole, begun = ablation.run, []

    def short(*given: Any, **how: Any) -> Any:
        begun.append(given[2].name)
        return whole(*given, **{**how, "minutes": 0})

    monkeypatch.setattr(ablation, "run", short)
    ended = ablate(place / "suite.yaml", place / "data", place / "work", cpu=True)
    assert len(ended) == 6 and not any(e.finished for e in ended)
    assert begun == [ended[0].name]


def test_no_time_is_no_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["ablate", str(place / "suite.yaml"), "--data", str(place / "data"), "--work", str(place / "work")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--minutes", "0", "--cpu"])
    assert ended.value.code == 130
    assert "6 runs are not finished" in capsys.readouterr().err
    main([*arguments, "--only", "*.0", "--cpu"])
    shown = capsys.readouterr().out
    assert "lora-2.0" in shown and "validation loss" in shown and "lora-2.1" not in shown


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("training:", "trainings:", "no list 'training'"),
        ("recipe: tts\n", "recipe: tts\n      datas: [x]\n", "datas"),
        ("rank: [2, 4], seed", "ranks: [2, 4], seed", "the name 'lora-{rank}.{seed}' must hold {ranks}"),
        ("      data: [toys]\n", "      data: []\n", "data"),
        ("lora-{rank}.{seed}:", "base.{seed}:", "must hold {rank}"),
    ],
)
def test_wrong_suites(place: Path, old: str, new: str, words: str) -> None:
    assert old in SUITE
    (place / "suite.yaml").write_text(SUITE.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        runs_of(place / "suite.yaml")
    assert words in str(caught.value) and "suite.yaml" in str(caught.value)


def test_unknown_runs(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'lora-4\.1'"):
        ablate(place / "suite.yaml", place / "data", place / "work", only=["lora4.1"])
