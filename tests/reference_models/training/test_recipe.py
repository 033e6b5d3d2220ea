"""Recipes: what is shipped is right, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference_models.training.recipe import FOLDERS, RecipeError, load, names


def test_the_papers_models_are_there() -> None:
    """Paper §4.1 and Tables 1 to 4: steps, hours, shares, ranks."""
    wanted = {"base", "base-no-prompt", "tts", "tts-1k", "tts-0.58k", "tts-scratch", "vc", "tse", "se", "l2s", "omni"}
    wanted |= {f"{task}-lora-{rank}" for task in ("tts", "tse", "se") for rank in (4, 16, 32)} | {"vc-lora-16"}
    assert wanted | {"s2a-first", "s2a-fine"} <= set(names())
    assert load("base").steps == 1_200_000 and load("base").start == "scratch"
    assert load("base").masking.prompt_share == 0.8 and load("base-no-prompt").masking.prompt_share == 0.0
    assert [load(name).hours for name in ("tts", "tts-1k", "tts-0.58k", "vc", "tse", "se")] == [
        1e4,
        1e3,
        580,
        400,
        1e4,
        1e4,
    ]
    assert load("tts-scratch").start == "scratch" and load("tts").start == "base"
    assert load("omni").mixture == {"tts": 0.5, "vc": 0.1, "tse": 0.2, "se": 0.2}


def test_every_recipe_is_a_small_difference() -> None:
    for folder in FOLDERS:
        for path in folder.glob("*.yaml"):
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
            assert len(lines) <= 12, path
    for name in names():
        assert load(name).description and load(name).source


def test_overrides_reach_into_sections() -> None:
    recipe = load("tts", ["optimiser.lr=2e-3", "lora={rank: 4}", "steps=7", "size=mini"])
    assert (recipe.optimiser.lr, recipe.steps, recipe.size) == (2e-3, 7, "mini") and recipe.lora is not None
    assert load("tts", ["lora.rank=8"]).lora.rank == 8  # type: ignore[union-attr]
    assert recipe.optimiser.warmup == load("tts").optimiser.warmup


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["step=3"], "did you mean steps"),
        (["optimiser.lrr=3"], "did you mean lr"),
        (["steps=0"], "greater than 0"),
        (["steps"], "key=value"),
        (["masking.prompt_share=1.5"], "less than or equal to 1"),
        (["model=xyz"], "Input should be"),
        (["steps.x=3"], "has no keys"),
    ],
)
def test_mistakes_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load("tts", overrides)


def test_files_of_the_users(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: tts\nsteps: 5\n", encoding="utf-8")
    assert load(str(mine)).steps == 5
    with pytest.raises(RecipeError, match="did you mean tts"):
        load("ttss")
    with pytest.raises(RecipeError, match="no recipe"):
        load(str(tmp_path / "none.yaml"))
    (tmp_path / "loop.yaml").write_text("extends: loop.yaml\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="circle"):
        load(str(tmp_path / "loop.yaml"))
    for text in ("- a\n", "steps: [\n", "\x00"):
        mine.write_text(text, encoding="utf-8")
        with pytest.raises(RecipeError):
            load(str(mine))


def test_overrides_that_are_no_yaml() -> None:
    with pytest.raises(RecipeError, match=r"lora=.rank.*is no YAML"):
        load("tts", ["lora={rank: 4"])
