"""Low-rank adapters: what peft attaches and merges, against the formula, and what is saved."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reference_models import lora
from reference_models.checkpoints import load_stage1
from reference_models.config import Adapter
from reference_models.errors import CheckpointError
from reference_models.stage1 import Stage1
from tests.reference_models.builders import stir, tiny_stage1

RANK = 3


def fine_tune(model: Stage1, rank: int = RANK) -> dict[str, torch.Tensor]:
    """A LoRA with weights that matter, for `model`, which stays as it is."""
    torch.manual_seed(1)
    return {
        name: torch.randn_like(tensor) * 0.1
        for name, tensor in lora.extract(lora.attach(copy.deepcopy(model), rank))[0].items()
    }


def by_formula(model: Stage1, matrices: dict[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """Every weight of `model` plus scale * B A."""
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in matrices:
        if ".lora_A." in name:
            target = name.removeprefix("model.").replace(".lora_A.default", "")
            expected[target] += scale * matrices[name.replace("lora_A", "lora_B")] @ matrices[name]
    return expected


def test_all_projections_of_all_layers_and_nothing_else() -> None:
    model = tiny_stage1()
    model.q_proj = torch.nn.Linear(4, 4)  # shares a name
    layers = [f"diff_estimator.layers.{n}." for n in range(2)]
    parts = [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
    assert list(lora.projections(model)) == [layer + part for layer in layers for part in parts]
    names = {name.partition(".lora_")[0] for name in fine_tune(model)}
    assert names == {f"model.{name}" for name in lora.projections(model)}


@pytest.mark.parametrize("alpha", [None, 1.0, 12.0])
def test_merge_is_the_formula(alpha: float | None) -> None:
    model = tiny_stage1()
    matrices = fine_tune(model)
    expected = by_formula(model, matrices, 2.0 if alpha is None else alpha / RANK)
    assert lora.merge(model, matrices, "x", rank=RANK, alpha=alpha) == {}
    merged = model.state_dict()
    assert merged.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(merged[name], tensor, atol=1e-6, rtol=0, msg=name)
    changed = {name for name, tensor in tiny_stage1().state_dict().items() if not torch.equal(merged[name], tensor)}
    assert changed == {f"{name}.weight" for name in lora.projections(model)}


@pytest.mark.parametrize("alpha", [None, 1.0, 12.0])
def test_merge_gives_the_bits_of_peft(alpha: float | None) -> None:
    model = tiny_stage1()
    matrices = fine_tune(model)
    wrapped = lora.attach(copy.deepcopy(model), RANK, alpha=alpha, dropout=0.0)
    wrapped.load_state_dict(matrices, strict=False)
    expected = wrapped.merge_and_unload().state_dict()  # type: ignore[operator]  # nn.Module's __getattr__
    lora.merge(model, matrices, "x", alpha=alpha)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_unmerge_gives_the_same_bits_back() -> None:
    model = tiny_stage1()
    before = copy.deepcopy(model.state_dict())
    kept = lora.merge(model, fine_tune(model), "x", keep=True)
    lora.unmerge(model, kept)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_merging_leaves_a_plain_model() -> None:
    model = tiny_stage1()
    model.mask_emb.requires_grad_(False)
    modules = {name: type(module) for name, module in model.named_modules()}
    lora.merge(model, fine_tune(model), "x")
    assert {name: type(module) for name, module in model.named_modules()} == modules
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == {"mask_emb.weight"}


@pytest.mark.parametrize(("adapter", "phones"), [("none", False), ("gated", False), ("plain", False), ("gated", True)])
def test_what_a_fine_tune_trains(adapter: Adapter, phones: bool) -> None:
    """LoRA and what the base does not have; everything else is frozen."""
    model = tiny_stage1(adapter, phones)
    new = set(model.state_dict()) - set(tiny_stage1("none", False).state_dict())
    lora.attach(model, RANK)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if ".lora_" not in name} == new
    assert len(trained) == len(new) + 2 * 14


def test_a_new_lora_changes_nothing_until_it_is_trained() -> None:
    model = tiny_stage1("gated", False)
    given = torch.arange(6)[None], torch.ones(1, 6, dtype=torch.bool), torch.tensor([0.5])
    valid, condition = torch.ones(1, 6, dtype=torch.bool), torch.randn(1, 6, 12)
    with torch.no_grad():
        before = model(*given, valid, condition=condition)
        wrapped = lora.attach(model, RANK).eval()
        assert torch.equal(model(*given, valid, condition=condition), before)
        stir(wrapped)
        assert not torch.allclose(model(*given, valid, condition=condition), before)


def test_trained_saved_and_loaded_again(tmp_path: Path) -> None:
    """The files of a fine-tune, and its whole state: both give the model that was trained."""
    model = tiny_stage1("gated", False)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith(lora.ADDED)}
    save_file(base, tmp_path / "base.safetensors")
    wrapped = lora.attach(model, RANK, alpha=5.0).eval()
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(0, 0.2)
    matrices, adapter = lora.extract(wrapped)
    files = [
        tmp_path / "base.safetensors",
        tmp_path / "new" / "adapter.safetensors",
        tmp_path / "new" / "lora.safetensors",
    ]
    whole = tmp_path / "whole.safetensors"
    lora.save(adapter, files[1])
    lora.save(matrices, files[2])
    save_file({name: tensor.clone() for name, tensor in wrapped.state_dict().items()}, whole)
    assert sorted(files[1].parent.iterdir()) == sorted(files[1:])
    assert set(load_file(files[1])) == {f"model.cond_adapter.{name}" for name in model.cond_adapter.state_dict()}

    merged = wrapped.merge_and_unload().state_dict()
    for again in (load_stage1(model.config, *files, alpha=5.0), load_stage1(model.config, whole, alpha=5.0)):
        state = again.state_dict()
        assert state.keys() == merged.keys()
        assert all(torch.equal(state[name], merged[name]) for name in merged)
    with pytest.raises(CheckpointError, match="holds its LoRA already"):
        load_stage1(model.config, whole, lora=files[2])


def test_half_precision_is_rounded_after_merging(tmp_path: Path) -> None:
    model = tiny_stage1("none", False)
    save_file(model.state_dict(), tmp_path / "base.safetensors")
    matrices = fine_tune(model)
    save_file(matrices, tmp_path / "lora.safetensors")
    loaded = load_stage1(
        model.config, tmp_path / "base.safetensors", lora=tmp_path / "lora.safetensors", dtype=torch.bfloat16
    )
    lora.merge(model, matrices, "x")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].bfloat16()), name


def test_saved_files_have_the_usual_permissions(tmp_path: Path) -> None:
    lora.save({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode
