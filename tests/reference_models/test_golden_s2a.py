"""S2A against recordings of MaskGCT_S2A: training, and decoding of the 1-layer and the full model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reference_models.acoustic import HIDDEN_FLOOR, S2A
from reference_models.config import Attention
from reference_models.estimate import Guidance
from reference_models.masking import Sampling, hidden_share
from reference_models.training.objectives import token_loss
from tests.reference_models.builders import Replay, load, s2a
from tests.reference_models.recordings import Case, Recording
from tests.reference_models.test_golden_stage1 import assert_gradients, corruption, modes

TOLERANCE = 1e-4
SETS = ["s2a_1layer", "s2a_full"]


def model_of(golden: Path, name: str, attention: Attention = "sdpa") -> S2A:
    recording = Recording(golden, name)
    model = s2a(recording.facts["config"], attention)
    load(model, recording.weights())
    return model


def run(model: S2A, case: Case, official: bool) -> Tensor:
    args, given = case.facts["args"], case.inputs
    semantic = list(given["semantic"]) if "semantic" in given else list(_semantic(model, given["cond"]))
    codes = model.generate(
        semantic,
        list(given["prompt"]),
        Replay(case.draws, case.facts["uniform_const"]),
        steps=args["n_timesteps"],
        known=list(given["gt_code"]) if "gt_code" in given else None,
        guidance=Guidance(args.get("cfg", 1.0), args.get("rescale_cfg", 1.0)),
        sampling=Sampling(args.get("temp", 1.5), 1 - args.get("filter_thres", 0.98)),
        max_layer=args.get("max_layer"),
        official=official,
    )
    return torch.stack(codes)


def _semantic(model: S2A, condition: Tensor) -> Tensor:
    """The tokens whose embeddings were recorded: the release hands over embeddings."""
    same = (condition[..., None, :] == model.cond_emb.weight).all(-1)  # (B, T, V)
    assert same.any(-1).all()
    return same.int().argmax(-1)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", SETS)
def test_golden_decoded_codes(golden: Path, name: str, attention: Attention, threads: int, torch_threads) -> None:
    torch_threads(threads)
    model = model_of(golden, name, attention)
    for case in Recording(golden, name).cases("reverse_diffusion"):
        for official in modes(case):
            assert torch.equal(run(model, case, official), case.outputs["tokens"]), (case.name, official)


@pytest.mark.parametrize("name", SETS)
def test_golden_first_logits(golden: Path, name: str) -> None:
    for case in Recording(golden, name).cases("reverse_diffusion"):
        model = model_of(golden, name)
        seen: list[Tensor] = []
        for head in model.to_logits:
            head.register_forward_hook(lambda _m, _i, out, seen=seen: seen.append(out))
        run(model, case, official=True)
        assert len(seen) == case.facts["n_head_calls"], case.name
        recorded = {"logits_first": 0} | {k: int(k[-2:]) for k in case.outputs if k.startswith("logits_step")}
        for key, step in recorded.items():
            torch.testing.assert_close(seen[step], case.outputs[key], atol=TOLERANCE, rtol=0, msg=f"{case.name} {key}")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", SETS)
def test_golden_training(golden: Path, name: str, attention: Attention) -> None:
    cases = [c for c in Recording(golden, name).cases() if str(c.facts.get("kind", "")).startswith("training")]
    assert cases
    for case in cases:
        model, given = model_of(golden, name, attention), case.inputs
        t, prompt, mask = corruption(case, HIDDEN_FLOOR)
        layer = int(case.outputs["mask_layer"])
        assert model.layer_weights()[layer] > 0
        assert torch.equal(prompt, case.outputs["prompt_len"]), case.name
        torch.testing.assert_close(hidden_share(t, HIDDEN_FLOOR), case.outputs["mask_prob"])
        valid = given["x_mask"].bool()
        logits = model(given["x0"], given["cond_code"], layer, mask, prompt, t, valid, packed=False)
        torch.testing.assert_close(logits, case.outputs["logits"], atol=TOLERANCE, rtol=0, msg=case.name)
        found = token_loss(logits, given["x0"][..., layer], mask & valid)
        loss = found.total / found.count
        torch.testing.assert_close(loss, case.outputs["loss"], atol=TOLERANCE, rtol=0)
        loss.backward()
        assert_gradients(model, case)
