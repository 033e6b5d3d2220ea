"""What is hidden and what is counted; a row's loss does not depend on its batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reference_models.acoustic import S2A
from reference_models.masking import hidden_share
from reference_models.noise import SeededNoise
from reference_models.registry import FINE, FIRST, OMNI, SPEECH, TTS
from reference_models.sizes import sized
from reference_models.stage1 import Stage1
from reference_models.training.batches import DRAWN, TokenBatch, collate
from reference_models.training.objectives import S2AObjective, Stage1Objective, corrupt_rows, scale_weights
from tests.reference_models.training.toys import toy

HOW = {"floor": 0.2, "longest": 0.4, "prompt_share": 0.8, "unguided": 0.15}


def rows(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def test_masking_statistics_are_the_papers() -> None:
    valid = rows([100] * 4000)
    draws = corrupt_rows(valid, torch.full((4000,), DRAWN), SeededNoise.of(range(4000)), **HOW)
    c = draws.corruption
    assert draws.unguided.float().mean() == pytest.approx(0.15, abs=0.02)
    assert (c.prompt > 0).float().mean() == pytest.approx(0.8 * 0.85, abs=0.03)
    drawn = c.prompt[c.prompt > 0]
    assert 5 <= drawn.min() < 7 and 37 < drawn.max() < 40
    column = torch.arange(100)
    assert not c.mask[column < c.prompt[:, None]].any()  # prompts stay visible
    free = c.prompt == 0
    assert c.mask[free].float().mean(1).sub(hidden_share(c.t, 0.2)[free]).abs().mean() < 0.05
    assert c.t.mean() == pytest.approx(0.5, abs=0.02) and c.mask.any(1).all()


def test_prescribed_prompts_are_kept_or_left_out_altogether() -> None:
    lengths, given = [40, 30, 40], torch.tensor([12, 0, 40])
    draws = corrupt_rows(rows(lengths), given, SeededNoise.of([1, 2, 3]), **{**HOW, "unguided": 0.0})
    assert draws.corruption.prompt.tolist() == [12, 0, 40] and torch.equal(draws.valid, rows(lengths))
    alone = corrupt_rows(rows(lengths), given, SeededNoise.of([1, 2, 3]), **{**HOW, "unguided": 1.0 - 1e-9})
    assert alone.unguided.all() and alone.valid.sum(1).tolist() == [28, 30, 0]


def test_rows_do_not_depend_on_padding_or_company() -> None:
    noise = SeededNoise.of([5, 6])
    both = corrupt_rows(rows([50, 20]), torch.full((2,), DRAWN), noise, **HOW)
    alone = corrupt_rows(rows([20]), torch.full((1,), DRAWN), SeededNoise.of([6]), **HOW)
    assert torch.equal(both.corruption.mask[1, :20], alone.corruption.mask[0])
    assert both.corruption.t[1] == alone.corruption.t[0] and not both.corruption.mask[1, 20:].any()


def objective(name: str) -> Stage1Objective | S2AObjective:
    torch.manual_seed(0)
    if name in ("first", "fine"):
        s2a = S2A(sized(FIRST if name == "first" else FINE, "mini"))
        scale_weights(s2a)
        return S2AObjective(s2a)
    model = Stage1(sized({"tts": TTS, "se": SPEECH, "omni": OMNI}[name], "mini"))
    scale_weights(model)
    return Stage1Objective(model)


def batch_of(name: str, numbers: list[int]) -> TokenBatch:
    arrays = {"tts": ("phones",), "se": ("condition",), "omni": ("phones", "condition")}.get(name, ("codes",))
    return collate([toy(i) for i in numbers], arrays, numbers, 0.7)


@pytest.mark.parametrize("name", ["tts", "se", "omni", "first", "fine"])
def test_the_loss_of_a_batch_is_the_sum_over_its_rows(name: str) -> None:
    model = objective(name)
    together = model(batch_of(name, [1, 2, 3, 4]))
    apart = [model(batch_of(name, [i])) for i in (1, 2, 3, 4)]
    assert int(together.count) == sum(int(loss.count) for loss in apart) > 20
    torch.testing.assert_close(together.total, sum(loss.total for loss in apart), rtol=1e-4, atol=1e-3)
    assert int(together.stats["accuracy"]) == sum(int(loss.stats["accuracy"]) for loss in apart)
    together.total.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_unguided_rows_see_no_phones() -> None:
    """With every row unguided, other phones change nothing; with none, they do."""
    model = objective("tts")
    assert isinstance(model, Stage1Objective)
    batch = batch_of("tts", [1, 2])
    assert batch.phones is not None
    other = TokenBatch(**{**vars(batch), "phones": (batch.phones + 1) % 12})
    for unguided, equal in ((1.0 - 1e-9, True), (0.0, False)):
        model.how["unguided"] = unguided
        assert torch.allclose(model(batch).total, model(other).total) is equal


def test_codebooks_are_visited_as_often_as_they_should() -> None:
    model = objective("fine")
    assert isinstance(model, S2AObjective)
    seen: list[int] = []
    for i, head in enumerate(model.model.to_logits):
        head.register_forward_hook(lambda *_, i=i: seen.append(i))
    for step in range(60):
        model(collate([toy(1)], ("codes",), [1], (step + 0.5) / 60))
    weights = model.model.layer_weights()
    for layer, weight in enumerate(weights / weights.sum()):
        assert seen.count(layer) == pytest.approx(60 * float(weight), abs=1)


def test_frame_level_rows_see_their_text_as_often_as_they_should() -> None:
    """Omni works with and without text: of rows that have both, some see the condition alone."""
    model = objective("omni")
    assert isinstance(model, Stage1Objective)
    model.how["unguided"] = 0.0
    seen: list[Tensor] = []
    model.model.register_forward_pre_hook(lambda _, given: seen.append(given[5]))  # phone_valid
    batch = batch_of("omni", list(range(60)))
    for share, low, high in ((1.0, 60, 60), (0.0, 0, 0), (0.5, 18, 42)):
        model.text_share = share
        model(batch)
        assert low <= int(seen[-1].any(1).sum()) <= high
    model.text_share = 0.0
    without = TokenBatch(**{**vars(batch), "condition": None})  # TTS: the text is all there is
    model(without)
    assert seen[-1].any(1).all()
