"""The transformer, LoRA excepted, against recordings of DiffLlama and DiffLlamaPrefix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference_models.config import Attention
from reference_models.transformer import Transformer, step_embedding
from tests.reference_models.builders import load, transformer_config
from tests.reference_models.recordings import Case, Recording

TOLERANCE = 1e-4


def _model(golden: Path, name: str, weights: str, attention: Attention, conditioned: bool) -> Transformer:
    facts = Recording(golden, name).facts
    model = Transformer(transformer_config(facts["config"], attention), conditioned=conditioned).eval()
    load(model, Recording(golden, weights).weights(prefix="diff_estimator."))
    return model


def _run(model: Transformer, x: Tensor, case: Case, mask: Tensor | None) -> Tensor:
    layout = model.layout([mask], [x.shape[1]], packed=False)
    return model(x, model.gains(case.inputs["diffusion_step"]), layout)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_golden_diffllama(golden: Path, attention: Attention, threads: int, torch_threads) -> None:
    torch_threads(threads)
    model = _model(golden, "diffllama", "s2a_full", attention, conditioned=True)
    for case in Recording(golden, "diffllama").cases():
        mask = case.inputs["x_mask"].bool() if "x_mask" in case.inputs else None
        x = case.inputs["x"] + model.cond_mlp(case.inputs["cond"])
        hidden = _run(model, x, case, mask)
        torch.testing.assert_close(hidden, case.outputs["hidden"], atol=TOLERANCE, rtol=0)
        if "step_embedding" in case.outputs:
            embedded = step_embedding(case.inputs["diffusion_step"], x.shape[-1])
            torch.testing.assert_close(embedded, case.outputs["step_embedding"], atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(model.diff_step_mlp(embedded), case.outputs["step_mlp"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_golden_diffllama_prefix(golden: Path, attention: Attention, threads: int, torch_threads) -> None:
    torch_threads(threads)
    model = _model(golden, "diffllama_prefix", "stage1", attention, conditioned=True)
    for case in Recording(golden, "diffllama_prefix").cases():
        x, mask = case.inputs["x"], case.inputs["x_mask"].bool()
        if "phone_embedding" in case.inputs:
            x = torch.cat([model.cond_mlp(case.inputs["phone_embedding"]), x], dim=1)
            mask = torch.cat([case.inputs["phone_mask"].bool(), mask], dim=1)
        hidden = _run(model, x, case, mask)[:, -case.inputs["x"].shape[1] :]
        torch.testing.assert_close(hidden, case.outputs["hidden"], atol=TOLERANCE, rtol=0)
