"""Stage 1 against recordings of MetisStage1 and MaskGCT_T2S: training losses and gradients, decoded tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_models.conditioning import behind_prompt, to_token_rate
from reference_models.config import Adapter, Attention
from reference_models.estimate import Guidance
from reference_models.masking import Sampling, hidden_share, hide
from reference_models.stage1 import HIDDEN_FLOOR, Stage1
from reference_models.training.objectives import token_loss
from tests.reference_models.builders import Replay, load, stage1
from tests.reference_models.recordings import Case, Recording

TOLERANCE = 1e-4
VARIANTS: dict[str, tuple[Adapter, bool]] = {
    "base": ("none", False),
    "tts": ("none", True),
    "vc": ("gated", False),
    "tse": ("gated", False),
    "se": ("gated", False),
    "omni": ("gated", True),
    "l2s": ("plain", False),
}
SETS = ["stage1", "maskgct_t2s", "stage1_l2s"]


def model_of(golden: Path, recording: Recording, case: Case, attention: Attention) -> Stage1:
    """The variant that the case's name says, with the weights that its JSON says."""
    variant = "tts" if recording.name == "maskgct_t2s" else case.name.split("_")[1]
    config = {"phone_vocab_rows": 1024, **Recording(golden, "stage1").facts["config"], **recording.facts["config"]}
    adapter, phones = VARIANTS[variant]
    if adapter == "gated" and not config.get("use_zero_gate_adapter", True):
        adapter = "plain"
    model = stage1(config, adapter, phones, attention)
    weights = Recording(golden, "stage1").weights()
    if (golden / "numeric" / f"{recording.name}.weights.safetensors").exists():
        weights |= recording.weights()
    load(model, weights)
    return model


def corruption(case: Case, floor: float) -> tuple[Tensor, Tensor, Tensor]:
    """(t, prompt lengths, mask) from the recorded draws, in their order."""
    draws = dict(zip(case.facts["draws"], case.draws, strict=False))  # the last of each name
    t = case.draws[0].clamp(1e-5, 1.0)
    if "prompt_len" in case.inputs:
        prompt = case.inputs["prompt_len"]
    else:
        prompt = draws.get("randint", torch.zeros(len(t), dtype=torch.int64))
    return t, prompt, hide(draws["bernoulli"], prompt)


def _options(args: dict[str, Any]) -> dict[str, Any]:
    """What is not recorded has the default of the release's `reverse_diffusion`."""
    keep = 1 - args.get("filter_thres", 0.98)
    return {
        "steps": args.get("n_timesteps", 40),
        "guidance": Guidance(args.get("cfg", 1.0), args.get("rescale_cfg", 1.0)),
        "sampling": Sampling(args.get("temp", 0.9), keep),
        "order": args.get("preschedule_mask_indices"),
    }


def modes(case: Case) -> list[bool]:
    """Official mode for every case; the default mode (False) as well where a batch of one makes them the same."""
    return [True, False] if len(case.inputs["prompt"]) == 1 else [True]


def run(model: Stage1, case: Case, official: bool) -> Tensor:
    args, given = case.facts["args"], case.inputs
    b = len(given["prompt"])
    tokens = model.generate(
        [args["target_len"]] * b,
        list(given["prompt"]),
        Replay(case.draws, case.facts["uniform_const"]),
        phones=list(given["phone_id"]) if "phone_id" in given else None,
        conditions=list(given["finetune_cond"]) if "finetune_cond" in given else None,
        official=official,
        **_options(args),
    )
    return torch.stack(tokens)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", SETS)
def test_golden_decoded_tokens(golden: Path, name: str, attention: Attention, threads: int, torch_threads) -> None:
    torch_threads(threads)
    recording = Recording(golden, name)
    for case in recording.cases("reverse_diffusion"):
        model = model_of(golden, recording, case, attention)
        for official in modes(case):
            assert torch.equal(run(model, case, official), case.outputs["tokens"]), (case.name, official)


@pytest.mark.parametrize("name", SETS)
def test_golden_first_logits(golden: Path, name: str) -> None:
    recording = Recording(golden, name)
    for case in recording.cases("reverse_diffusion"):
        model = model_of(golden, recording, case, "sdpa")
        seen: list[Tensor] = []
        model.to_logit.register_forward_hook(lambda _m, _i, out, seen=seen: seen.append(out))
        run(model, case, official=True)
        assert len(seen) == case.facts["n_head_calls"], case.name
        recorded = {"logits_first": 0} | {k: int(k[-2:]) for k in case.outputs if k.startswith("logits_step")}
        for key, step in recorded.items():
            torch.testing.assert_close(seen[step], case.outputs[key], atol=TOLERANCE, rtol=0, msg=f"{case.name} {key}")


def assert_gradients(model: nn.Module, case: Case) -> None:
    """The norms of all gradients, where they were recorded; None: no gradient reaches the parameter."""
    norms = {k: None if p.grad is None else p.grad.norm().item() for k, p in model.named_parameters()}
    for key, norm in (case.facts["grad_norms"] or {}).items():
        if norm is None:
            assert not norms[key], key
        else:
            assert norms[key] == pytest.approx(norm, rel=1e-3), key


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", SETS)
def test_golden_training(golden: Path, name: str, attention: Attention) -> None:
    recording = Recording(golden, name)
    for case in [c for c in recording.cases() if str(c.facts.get("kind", "")).startswith("training")]:
        model, given = model_of(golden, recording, case, attention), case.inputs
        t, prompt, mask = corruption(case, HIDDEN_FLOOR)
        assert torch.equal(prompt, case.outputs["prompt_len"]), case.name
        torch.testing.assert_close(hidden_share(t, HIDDEN_FLOOR), case.outputs["mask_prob"])
        valid = given["x_mask"].bool()
        phone_valid = given["phone_mask"].bool() if "phone_mask" in given else None
        logits = model(
            given["x0"], mask, t, valid, given.get("phone_id"), phone_valid, given.get("finetune_cond"), packed=False
        )
        torch.testing.assert_close(logits, case.outputs["logits"], atol=TOLERANCE, rtol=0, msg=case.name)
        assert torch.equal((mask & valid).float(), case.outputs["final_mask"][..., 0]), case.name
        found = token_loss(logits, given["x0"], mask & valid)
        loss = found.total / found.count
        torch.testing.assert_close(loss, case.outputs["loss"], atol=TOLERANCE, rtol=0)
        loss.backward()
        assert_gradients(model, case)


def test_golden_video_condition(golden: Path) -> None:
    """25 Hz to 50 Hz, behind zeros for the prompt."""
    case = Recording(golden, "stage1_l2s").case("video")
    want = case.outputs["feature_50hz_with_prompt_zeros"][0]
    frames = to_token_rate(case.inputs["feature_25hz"][0])
    torch.testing.assert_close(behind_prompt(frames, len(want) - len(frames)), want, atol=1e-6, rtol=0)
