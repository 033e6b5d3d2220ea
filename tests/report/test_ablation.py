"""What a factor does: arms, intervals over trainings and over talkers, and the word for an effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metis_bench.errors import MetisBenchError, UsageError
from metis_bench.report.ablation import (
    RULE,
    Ablation,
    Values,
    _arm,
    _losses,
    _once,
    _trained,
    ablation,
    to_json,
    to_markdown,
)
from metis_bench.report.curves import curves, matrices
from metis_bench.report.data import Stats
from metis_bench.suite.arms import arms_of
from metis_bench.suite.load import load_suite, shipped_suites
from tests.e2e.conftest import TOYS, Command, metis_bench  # noqa: F401 - a fixture

SETTINGS = Stats(2000, 0.95, 0)


def arm(effects: list[float], noise: float = 0.0, *, missing: int = 0) -> Values:
    """12 talkers with 3 items each; a training adds its effect, a talker its own."""
    return {
        str(seed): {
            (f"talker{c}", f"item{c}-{i}"): 50 + effect + noise * (-1) ** c * (c % 5)
            for c in range(12)
            for i in range(3)
            if 3 * c + i >= missing
        }
        for seed, effect in enumerate(effects)
    }


FEW = {f"talker{c}" for c in range(5)}


def verdict(other: Values, reference: Values | None = None) -> tuple[float, bool | None]:
    tables = {"other": other, "reference": reference or arm([0.0, 0.5, -0.5])}
    found = _arm("other", ("set", "wer"), "lower", tables, "reference", 108, SETTINGS)
    assert found.effect is not None
    return round(found.effect.value, 6), found.effect.clear


def test_an_effect_must_beat_other_seeds_and_other_talkers() -> None:
    assert verdict(arm([-5.0, -4.6, -5.4])) == (-5.0, True)
    assert verdict(arm([-9.0, 3.0, -9.0])) == (-5.0, False), "another seed of training does as much"
    assert verdict(arm([0.0, 0.5, -0.5])) == (0.0, False)
    spread = arm([-0.5, 0.0, -1.0], noise=8.0)
    value, clear = verdict(spread)
    assert value < 0 and not clear, "some talkers gain what others lose"
    assert verdict({"0": arm([-5.0])["0"]})[1] is None, "one training says nothing about trainings"
    assert verdict(arm([-5.0, -4.5, -5.5]))[1] is None, "that all trainings differ by the same is chance"
    few = {seed: {k: v for k, v in items.items() if k[0] in FEW} for seed, items in arm([-5.0, -4.6, -5.4]).items()}
    assert verdict(few)[1] is None, "five talkers decide nothing"


def test_only_what_both_have_is_compared_and_the_rest_is_told() -> None:
    tables = {"few": arm([-5.0, -5.0, -5.0], missing=6), "reference": arm([0.0, 0.0, 0.0])}
    found = _arm("few", ("set", "wer"), "lower", tables, "reference", 108, SETTINGS)
    assert (found.scored, found.planned) == (90, 108)
    assert found.effect is not None and found.effect.value == -5.0
    nothing = _arm(
        "none", ("set", "wer"), "lower", {"none": {"0": {}}, "reference": arm([0.0])}, "reference", 36, SETTINGS
    )
    assert (nothing.value, nothing.scored, nothing.effect) == (None, 0, None)


def test_arms_of_grids() -> None:
    def point(grid: str, **factors: object) -> dict[str, object]:
        return {"grid": grid, "factors": factors}

    grids = {
        "lora-4.0": point("lora-{rank}.{seed}", rank=4, seed=0),
        "lora-4.1": point("lora-{rank}.{seed}", rank=4, seed=1),
        "full.0": point("full.{seed}", seed=0),
        "steps-8": point("steps-{steps}", steps=8),
    }
    assert arms_of(grids) == {
        "lora-4": {"0": "lora-4.0", "1": "lora-4.1"},
        "full": {"0": "full.0"},
        "steps-8": {"-": "steps-8"},
    }


SUITE = """\
name: toys
task: se
corpora: {toy: {corpus: toy, count: 4}}
systems:
  - noisy
  - at-{level}.{seed}: {system: toy-noise, level: "{level}", grid: {level: [0.1, 0.5], seed: [0, 1, 2]}}
  - lonely-{level}: {system: toy-noise, level: "{level}", grid: {level: [0.5]}}
metrics: [toy-level]
ablation:
  curves:
    - title: Level
      arms: {"0.1": at-0.1, "0.5": at-0.5}
      printed:
        source: metis-paper
        dataset: SeedTTS test-en
        system: Metis-TTS
        columns: {toy-level: WER}
        rows: {"0.5": {variant: fine-tune, training_data: 10K Multi., table: Table 1}}
"""


def test_from_a_run_to_its_table(metis_bench: Command, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\n")
    (tmp_path / "toys.yaml").write_text(SUITE)
    assert metis_bench("run", "toys.yaml", "--out", "run").code == 0
    for seed, loss in enumerate((2.0, 2.1, 1.9)):
        for level, gain in ((0.1, 0.0), (0.5, 1.0)):
            path = tmp_path / "training" / f"at-{level}.{seed}" / "metrics.jsonl"
            path.parent.mkdir(parents=True)
            lines = [
                {"step": 1, "validation_loss": 9.0},
                {"step": 2, "validation_loss": loss - gain * (0.9 + 0.1 * seed)},
                {"step": 2, "loss": 0},
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            weights = path.parent / "weights" / "t2s_model"
            weights.mkdir(parents=True)
            (weights / "model.training.json").write_text(json.dumps({"trained": 20 if level == 0.1 else 21}))
    done = metis_bench("ablation", "run", "--training", "training", "--out", "out")
    assert done.code == 0, done.err
    assert "## toy: toy-level" in done.out and "| at-0.1 | " in done.out and "| reference |" in done.out
    row = next(line for line in done.out.splitlines() if line.startswith("| at-0.5") and "1 ±" in line)
    assert "| -1 |" in row and "better" in row, "of the losses, the last ones"
    assert (tmp_path / "out" / "toys.md").read_text() == done.out
    stored = json.loads((tmp_path / "out" / "toys.json").read_text())
    assert stored["reference"]["toy"] == "at-0.1" and stored["facts"]["provenance"]
    page = (tmp_path / "out" / "toys.html").read_text()
    assert page.count("<svg") == 2 and (tmp_path / "out" / "report.css").is_file(), "the level, and the loss"
    assert "2.28, printed by others" in page and "2.1e-05 M" in page and "<title>at-0.5: " in page
    assert RULE in done.out and RULE in page
    assert metis_bench("run", "toys.yaml", "--limit", "1", "--out", "few").code == 0
    few = metis_bench("ablation", "few", "--out", "out")
    assert "> **Warning:** toy: only the first 1 of 4 items (--limit)" in few.out, "told with the effects"
    assert "lonely-0.5: no losses" in done.out
    wrong = metis_bench("ablation", "run", "--training", "out")
    assert wrong.code == 2 and "out holds no training of at-0.1.0" in wrong.err
    other = metis_bench("ablation", "run", "--against", "at-0.5", "--json")
    assert json.loads(other.out)["reference"]["toy"] == "at-0.5"
    wrong = metis_bench("ablation", "run", "--against", "at-0.4")
    assert wrong.code == 2 and "did you mean 'at-0.5'" in wrong.err
    found = ablation(tmp_path / "run")
    assert to_json(found) == to_json(ablation(tmp_path / "run")) and "at-0.5" in to_markdown(found)


def test_what_is_said_of_all_trainings_is_said_once() -> None:
    said = ["a.0: it speaks noise", "set: only the first 2", "a.1: it speaks noise", "b.0: alone"]
    assert _once(said, {"a.0", "a.1", "b.0"}) == ["2 systems: it speaks noise", "set: only the first 2", "b.0: alone"]


def test_what_a_training_left_is_read_as_far_as_it_is_there(tmp_path: Path) -> None:
    arms = {"a": {"0": "a.0", "1": "a.1", "2": "a.2"}}
    lines = {
        "a.0": '{"validation_loss": 2.0}\n{"validation_loss": 1.5}\n{"validation_lo',  # it is being written
        "a.1": '{"validation_loss": NaN}\n',  # diverged
    }
    for name, text in lines.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
    table = _losses(arms, tmp_path)["a data", "validation loss"]
    assert table == {"a": {"0": {("", ""): 1.5}, "1": {}}}
    made = _arm("a", ("a data", "validation loss"), "lower", table, "gone", 3, SETTINGS, scored=False)
    assert (made.value, made.n, made.counts, made.effect) == (1.5, 1, "1/3", None), "of three trainings, one"
    (tmp_path / "a.0" / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(MetisBenchError, match=r"metrics\.jsonl:1"):
        _losses(arms, tmp_path)
    (tmp_path / "a.0" / "weights").mkdir()
    (tmp_path / "a.0" / "weights" / "m.training.json").write_text("{}")
    with pytest.raises(MetisBenchError, match="what was trained"):
        _trained(tmp_path, arms["a"])


def test_fewer_outputs_are_told_wherever_the_value_stands(metis_bench: Command, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\n")
    broken = "  - at-moody.{seed}: {system: toy-moody, mood: {item0: raise}, grid: {seed: [0, 1]}}\n"
    text = SUITE.replace("metrics:", f"{broken}metrics:").replace("name: toys", "name: toys\ntitle: 'A | *b*'")
    text = text.replace('arms: {"0.1"', 'arms: {with a rather long label: at-moody, "0.1"')
    text = text.replace("corpora: {", "corpora: {more: {corpus: toy, count: 4}, ")
    (tmp_path / "toys.yaml").write_text(text + "  matrix: [at-0.1, at-moody]\n")
    assert metis_bench("run", "toys.yaml", "--out", "run").code == 6
    done = metis_bench("ablation", "run", "--out", "out")
    assert "# A \\| \\*b\\*" in done.out and "| 6/8 |" in done.out
    found = ablation(tmp_path / "run")
    point = next(p for p in curves(found)[0].points if p.arm == "at-moody")
    assert point.partial and "6/8 scored" in point.text and len(point.lines) > 1
    cells = dict(matrices(found)[0].rows)["at-moody"]
    assert [cell and cell.counts for cell in cells] == ["6/8", "6/8"]


def test_a_run_without_grids(metis_bench: Command, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\n")
    plain = SUITE.partition("ablation:")[0].replace("  - at-", "  # - at-").replace("  - lonely", "  # - lonely")
    (tmp_path / "toys.yaml").write_text(plain)
    assert metis_bench("run", "toys.yaml", "--out", "run").code == 0
    with pytest.raises(UsageError, match="no grid of systems"):
        ablation(tmp_path / "run")


def test_shaded_where_a_difference_is_clear() -> None:
    """Arms by test sets: against an arm of each set, the darkest where a column differs most."""
    tables = {"all": arm([-5.0, -4.6, -5.4]), "own": arm([0.0, 0.5, -0.5]), "other": arm([20.0, 20.6, 19.4])}
    noise = {"all": arm([0.4, -0.4, 0.1]), "own": arm([0.0, 0.5, -0.5]), "other": arm([0.0, 0.0, 0.0])}
    found = Ablation(
        "omni",
        "Omni",
        {"one": "own", "two": "own"},
        tuple(
            _arm(name, (where, "wer"), "lower", table, "own", 108, SETTINGS)
            for where, table in (("one", tables), ("two", noise))
            for name in table
        ),
        shown={"matrix": ["all", "own", "other"]},
    )
    (matrix,) = matrices(found)
    assert all(cell is not None and not cell.counts for _, cells in matrix.rows for cell in cells)
    assert matrix.sets == ("one", "two") and matrix.against == ("own", "own")
    rows = {name: [(c.shade, c.difference) if c else None for c in cells] for name, cells in matrix.rows}
    assert rows["all"] == [("b1", "-5"), ("", "+0.0333")]
    assert rows["other"][0] == ("w3", "+20") and rows["own"] == [("", ""), ("", "")]


def test_a_suite_may_only_name_arms_that_it_has(metis_bench: Command, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{TOYS}']\n")
    for wrong, said in (
        (SUITE.replace('"0.1": at-0.1', '"0.1": at-0.2'), "no arm 'at-0.2'; did you mean"),
        (SUITE.replace('rows: {"0.5"', 'rows: {"0.6"'), "no point '0.6'; did you mean"),
        (SUITE.replace("source: metis-paper", "source: a-paper"), "no published results 'a-paper'"),
    ):
        (tmp_path / "toys.yaml").write_text(wrong)
        done = metis_bench("plan", "toys.yaml")
        assert done.code == 2 and said in done.err, done.err
    for shipped in shipped_suites():
        load_suite(shipped)
