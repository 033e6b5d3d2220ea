"""LoRA and adapter files of the official form against recordings: merged weights, hidden states, tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reference_models import lora
from reference_models.checkpoints import load_stage1
from reference_models.config import Attention
from reference_models.loading import load_into, load_tensors
from reference_models.stage1 import Stage1
from tests.reference_models.builders import stage1
from tests.reference_models.recordings import Case, Recording
from tests.reference_models.test_golden_stage1 import modes, run

TOLERANCE = 1e-4


def facts(recording: Recording) -> dict[str, Any]:
    """The configuration, with those of the set that holds the base's weights."""
    return {**Recording(recording.folder, "stage1").facts["config"], **recording.facts["config"]}


def base_weights(recording: Recording, attention: Attention) -> tuple[Stage1, dict[str, Tensor]]:
    model = stage1(facts(recording), "none", False, attention)
    every = Recording(recording.folder, "stage1").weights()
    return model, {name: every[name] for name in model.state_dict()}


def part(recording: Recording, name: str) -> Path:
    return recording.folder / "numeric" / f"{recording.name}.{name}.safetensors"


def fine_tuned(golden: Path, folder: Path, attention: Attention) -> tuple[Recording, Stage1]:
    """As a user loads it: three files."""
    recording = Recording(golden, "lora")
    config = recording.facts["config"]
    _, weights = base_weights(recording, attention)
    save_file(weights, folder / "base.safetensors")
    model = load_stage1(
        stage1(facts(recording), "gated", False, attention).config,
        folder / "base.safetensors",
        part(recording, "weights_adapter"),
        part(recording, "weights_lora"),
        rank=config["lora_r"],
        alpha=config["lora_alpha"],
    )
    return recording, model


def hidden(model: Stage1, case: Case) -> Tensor:
    given, estimator = case.inputs, model.diff_estimator
    layout = estimator.layout([given["x_mask"].bool()], [given["x"].shape[1]], packed=False)
    with torch.no_grad():
        return estimator(given["x"], estimator.gains(given["diffusion_step"]), layout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_golden_lora_tokens(golden: Path, tmp_path: Path, attention: Attention, threads: int, torch_threads) -> None:
    torch_threads(threads)
    recording, model = fine_tuned(golden, tmp_path, attention)
    for case in recording.cases("reverse_diffusion"):
        for official in modes(case):
            assert torch.equal(run(model, case, official), case.outputs["tokens"]), (case.name, official)


def test_golden_lora_first_logits(golden: Path, tmp_path: Path) -> None:
    recording, model = fine_tuned(golden, tmp_path, "eager")
    for case in recording.cases("reverse_diffusion"):
        seen: list[Tensor] = []
        hook = model.to_logit.register_forward_hook(lambda _m, _i, out, seen=seen: seen.append(out))
        run(model, case, official=True)
        hook.remove()
        assert len(seen) == case.facts["n_head_calls"]
        torch.testing.assert_close(seen[0], case.outputs["logits_first"], atol=TOLERANCE, rtol=0)


def test_golden_lora_merged_weights(golden: Path, tmp_path: Path) -> None:
    recording, model = fine_tuned(golden, tmp_path, "sdpa")
    recorded = recording.weights("io", prefix="merged.")
    assert recorded
    for name, tensor in recorded.items():
        torch.testing.assert_close(model.state_dict()[name], tensor, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_golden_lora_hidden_states(golden: Path, attention: Attention) -> None:
    """Without it, beside the weights (as in training), merged into them, and taken out again."""
    recording = Recording(golden, "lora")
    config, case = recording.facts["config"], recording.case("est")
    matrices = load_tensors(part(recording, "weights_lora"))
    model, weights = base_weights(recording, attention)
    load_into(model, weights, "base")
    plain = hidden(model, case)
    torch.testing.assert_close(plain, case.outputs["hidden_base"], atol=TOLERANCE, rtol=0)

    kept = lora.merge(model, matrices, "lora", rank=config["lora_r"], alpha=config["lora_alpha"], keep=True)
    torch.testing.assert_close(hidden(model, case), case.outputs["hidden_merged"], atol=TOLERANCE, rtol=0)
    lora.unmerge(model, kept)
    assert torch.equal(hidden(model, case), plain)

    wrapped = lora.attach(model, config["lora_r"], alpha=config["lora_alpha"]).eval()
    assert not wrapped.load_state_dict(matrices, strict=False).unexpected_keys
    torch.testing.assert_close(hidden(model, case), case.outputs["hidden_unmerged"], atol=TOLERANCE, rtol=0)
    ours, _ = lora.extract(wrapped)
    assert ours.keys() == matrices.keys()
    assert all(torch.equal(ours[name], matrices[name]) for name in matrices)


def test_golden_lora_adapter(golden: Path, tmp_path: Path) -> None:
    recording, model = fine_tuned(golden, tmp_path, "sdpa")
    case = recording.case("adapter")
    torch.testing.assert_close(model.cond_adapter(case.inputs["cond"]), case.outputs["cond"], atol=TOLERANCE, rtol=0)
