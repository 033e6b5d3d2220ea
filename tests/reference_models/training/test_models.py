"""From recipes to models: sizes are the paper's and the notes'; starting, exporting and loading are strict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reference_models.checkpoints import open_source
from reference_models.errors import CheckpointError, InputError, MissingCheckpoint
from reference_models.lora import ADDED, save
from reference_models.random_weights import write_random
from reference_models.registry import BASE
from reference_models.sizes import sized, write_config
from reference_models.stage1 import Stage1
from reference_models.training import models
from reference_models.training.models import STAGE1, build, export
from reference_models.training.recipe import RecipeError, load, names
from reference_models.variants import Stage1Files
from tests.reference_models.training.toys import toy

MASKED = [name for name in names() if load(name).kind in ("stage1", "s2a") and load(name).size == "full"]


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full-size models without memory."""
    stage1, s2a = models.Stage1, models.S2A

    def meta(build):  # type: ignore[no-untyped-def]
        def made(config):  # type: ignore[no-untyped-def]
            with torch.device("meta"):
                return build(config)

        return made

    monkeypatch.setattr(models, "Stage1", meta(stage1))
    monkeypatch.setattr(models, "S2A", meta(s2a))
    monkeypatch.setattr(models, "load_tensors", lambda *_a, **_k: {})


@pytest.mark.parametrize("name", MASKED)
def test_every_recipe_builds_at_full_size(name: str, on_meta: None, tmp_path: Path) -> None:
    """Trained numbers, in millions: metis-architecture.md, tables 2 and 1.8."""
    recipe = load(name)
    base = tmp_path / "model.safetensors"
    base.touch()
    trainee = build(recipe, base)
    adapter, phones = 15.736, 1.573 + 18.882
    full = {"base": 725.945, "tts": 746.400, "vc": 741.681, "tse": 741.681, "se": 741.681, "l2s": 740.108}
    full |= {"omni": 762.136, "first": 330.349, "fine": 353.440}
    want = full[recipe.model]
    if recipe.lora is not None:
        want = recipe.lora.rank * 0.565248 + (phones if recipe.model == "tts" else adapter)
    assert trainee.trained / 1e6 == pytest.approx(want, abs=0.002)


@pytest.mark.parametrize(("rank", "millions"), [(4, 2.3), (16, 9.0), (32, 18.1)])
def test_lora_sizes_are_the_papers(rank: int, millions: float, on_meta: None, tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").touch()
    trainee = build(load(f"se-lora-{rank}"), tmp_path / "b.safetensors")
    lora = sum(p.numel() for name, p in trainee.model.named_parameters() if ".lora_" in name)
    assert lora / 1e6 == pytest.approx(millions, abs=0.05)
    added = sum(p.numel() for name, p in trainee.model.named_parameters() if name.startswith(ADDED))
    assert added == 15_736_321


TINY = ("size=tiny", "recompute=false", "precision=fp32")


def folder_with(tmp_path: Path, *files: str) -> Path:
    write_random(tmp_path, "tiny", names=files)
    return tmp_path


def test_a_fine_tune_starts_from_the_base(tmp_path: Path) -> None:
    """All weights of the base; what is added starts without effect where the release says so."""
    base = folder_with(tmp_path, "metis_base")
    before = open_source(base).stage1("base").state_dict()
    for task in ("tts", "se", "l2s", "omni"):
        trainee = build(load(task, [*TINY, "masking.unguided=0.1"]), base)
        after = trainee.model.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert {name for name in after if name not in before} == {n for n in after if n.startswith(ADDED)} != set()
        again = build(load(task, [*TINY]), base).model.state_dict()
        assert all(torch.equal(after[name], again[name]) for name in after)
        other = build(load(task, [*TINY, "seed=1"]), base).model.state_dict()
        assert any(not torch.equal(after[name], other[name]) for name in after)
    gate = build(load("se", TINY), base).model.get_parameter("cond_adapter.gate_scale")
    assert gate.item() == 0.0
    opened = build(load("se", [*TINY, "gate=0.3"]), base).model.get_parameter("cond_adapter.gate_scale")
    assert opened.item() == pytest.approx(0.3)


@pytest.mark.parametrize(("task", "file"), [("tts", "maskgct_t2s"), ("se", "metis_se_full")])
def test_a_fine_tune_goes_on_from_its_own_file(task: str, file: str, tmp_path: Path) -> None:
    """With all that an earlier one has learned, the gate of its adapter too."""
    folder = folder_with(tmp_path, file)
    path = next(folder.rglob("*.safetensors"))
    before = open_source(folder).stage1(task).state_dict()
    after = build(load(task, [*TINY, "start=base", "gate=0.3"]), path).model.state_dict()
    assert set(after) == set(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="starts from the pre-trained base"):
        build(load("tts", TINY))
    with pytest.raises(MissingCheckpoint, match="metis_base"):
        build(load("tts", TINY), tmp_path)
    vc = folder_with(tmp_path / "vc", "metis_vc") / "metis_vc" / "metis_vc.safetensors"
    with pytest.raises(CheckpointError, match="cond_adapter"):
        build(load("tts", TINY), vc)
    with pytest.raises(RecipeError, match="whole and from nothing"):
        build(load("s2a-first", [*TINY, "lora={rank: 4}"]))


@pytest.mark.parametrize("task", ["base", "tts", "vc", "tse", "se", "l2s", "omni"])
def test_exported_models_load_as_official_ones(task: str, tmp_path: Path) -> None:
    start = None if task == "base" else folder_with(tmp_path / "start", "metis_base")
    trainee = build(load(task, TINY), start)
    (path,) = export(trainee, tmp_path / "out", torch.float32, {"steps": 3})
    loaded = open_source(tmp_path / "out").stage1(task)
    state = trainee.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    facts = json.loads(path.with_suffix(".training.json").read_text())
    assert facts["steps"] == 3 and facts["recipe"]["model"] == task
    export(trainee, tmp_path / "half", torch.float16, {})
    assert (tmp_path / "half").rglob("*.safetensors").__next__().stat().st_size < 0.6 * path.stat().st_size


@pytest.mark.parametrize(("task", "rank", "alpha"), [("se", 32, "null"), ("tts", 4, "null"), ("se", 4, "3.0")])
def test_an_exported_lora_is_the_trained_model(task: str, rank: int, alpha: str, tmp_path: Path) -> None:
    """Also where its alpha is not the one that files are read with."""
    base = folder_with(tmp_path, "metis_base")
    lora_of = f"lora={{rank: {rank}, dropout: 0.0, alpha: {alpha}}}"
    trainee = build(load(task, [*TINY, lora_of, "gate=0.5"]), base)
    for name, parameter in trainee.model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    lora, adapter = export(trainee, tmp_path / "out", torch.float32, {})
    assert lora.name == f"metis_{task}_lora_{rank}.safetensors" and adapter.name.endswith("_adapter.safetensors")
    config = STAGE1[task]
    files = Stage1Files(config, "metis_base", adapter, lora, rank)
    merged: Stage1 = open_source(base).stage1(files)
    tokens = torch.randint(8192, (2, 9), generator=torch.Generator().manual_seed(0))
    given = (tokens, torch.rand(2, 9) < 0.5, torch.rand(2), torch.ones(2, 9, dtype=torch.bool))
    phones = {"phones": tokens % 300, "phone_valid": torch.ones(2, 9, dtype=torch.bool)}
    more = phones if config.phones else {"condition": torch.rand(2, 9, merged.config.condition_dim)}
    trainee.model.eval()
    torch.testing.assert_close(merged(*given, **more), trainee.model(*given, **more), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model", ["first", "fine"])
def test_exported_s2a(model: str, tmp_path: Path) -> None:
    trainee = build(load(f"s2a-{model}", TINY))
    export(trainee, tmp_path, torch.float32, {})
    source = open_source(tmp_path)
    loaded = source.s2a_first() if model == "first" else source.s2a_full()
    state = trainee.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_numbers_that_do_not_fit_are_not_written(tmp_path: Path) -> None:
    trainee = build(load("base", TINY))
    trainee.model.to_logit.weight.data.fill_(1e6)  # type: ignore[union-attr]
    with pytest.raises(CheckpointError, match="float16"):
        export(trainee, tmp_path, torch.float16, {})
    assert not list(tmp_path.rglob("*.safetensors"))


def test_how_attention_is_computed_is_no_property_of_weights(tmp_path: Path) -> None:
    trainee = build(load("base", [*TINY, "attention=eager", "recompute=true"]))
    layers = trainee.model.diff_estimator.layers
    assert {layer.self_attn.how for layer in layers} == {"eager"}  # type: ignore[union-attr]
    assert trainee.model.diff_estimator.recompute
    (path,) = export(trainee, tmp_path, torch.float32, {})
    assert "attention" not in path.with_suffix(".config.json").read_text()


def test_a_base_of_another_size_gives_its_sizes(tmp_path: Path) -> None:
    """Of the transformer and of the vocabulary."""
    config = replace(sized(BASE, "tiny"), codebook_size=100)
    path = tmp_path / "base.safetensors"
    save(Stage1(replace(config, transformer=replace(config.transformer, num_layers=3))).state_dict(), path)
    write_config(path, replace(config, transformer=replace(config.transformer, num_layers=3)), BASE)
    model = build(load("tts", TINY), path).model
    assert model.config.codebook_size == 100 and model.config.transformer.num_layers == 3


@pytest.mark.parametrize(
    ("recipe", "size", "change", "message"),
    [
        ("base", "mini", {"semantic": np.full(9, 256)}, "semantic goes up to 256, the model takes 256 ids"),
        ("tts-scratch", "mini", {"phones": np.full(9, 384)}, "phones goes up to 384"),
        ("s2a-fine", "tiny", {}, "codes has 4 numbers a frame, the model takes 12"),
        ("s2a-first", "mini", {"codes": np.full((9, 4), 256)}, "codes goes up to 256"),
        ("se", "tiny", {}, "condition has 96 numbers a frame, the model takes 32"),
    ],
)
def test_data_of_other_models_is_refused(recipe: str, size: str, change: dict[str, Any], message: str) -> None:
    settings = [f"size={size}", "start=scratch"]
    example = toy(1)
    with pytest.raises(InputError, match=message):
        build(load(recipe, settings)).check(replace(example, arrays={**example.arrays, **change}), Path("data"))
    build(load("s2a-first", ["size=mini"])).check(example, Path("data"))  # more codebooks than the model reads
