"""Default mode: a sample's tokens do not depend on the batch. Official mode: they do, as in the release."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from reference_models.errors import InputError
from reference_models.estimate import Guidance
from reference_models.masking import Sampling
from reference_models.noise import SeededNoise
from reference_models.stage1 import Stage1
from tests.reference_models.builders import tiny_s2a, tiny_stage1

N = 8
SAMPLING = Sampling(1.0, 0.3)


def _items(seed: int = 0) -> list[dict[str, Tensor]]:
    """Unequal in everything; one without prompt, one without phones."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (1,), generator=g))  # noqa: E731
    items = []
    for i in range(N):
        prompt, target, phones = draw(3, 12), draw(5, 30), draw(4, 15)
        prompt, phones = (0 if i == 3 else prompt), (0 if i in (3, 5) else phones)
        items.append(
            {
                "prompt": torch.randint(0, 64, (prompt,), generator=g),
                "phones": torch.randint(0, 39, (phones,), generator=g),
                "condition": torch.randn(prompt + target, 12, generator=g),
                "codes": torch.randint(0, 40, (prompt, 4), generator=g),
                "semantic": torch.randint(0, 64, (prompt + target,), generator=g),
                "length": torch.tensor(target),
                "seed": torch.tensor(1000 + i),
            }
        )
    return items


def _stage1(model: Stage1, items: list[dict[str, Tensor]], guidance: float) -> list[Tensor]:
    return model.generate(
        [int(i["length"]) for i in items],
        [i["prompt"] for i in items],
        SeededNoise.of([int(i["seed"]) for i in items]),
        steps=7,
        phones=[i["phones"] for i in items],
        conditions=[i["condition"] for i in items],
        guidance=Guidance(guidance),
        sampling=SAMPLING,
    )


def _in_batches(run, items: list[dict[str, Tensor]], size: int, shuffle: bool) -> list[Tensor]:
    order = list(range(len(items)))
    if shuffle:
        random.Random(size).shuffle(order)
    out: dict[int, Tensor] = {}
    for start in range(0, len(order), size):
        picked = order[start : start + size]
        out |= dict(zip(picked, run([items[i] for i in picked]), strict=True))
    return [out[i] for i in range(len(items))]


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_stage1_tokens_do_not_depend_on_the_batch(guidance: float) -> None:
    model, items = tiny_stage1(), _items()
    alone = _in_batches(lambda some: _stage1(model, some, guidance), items, 1, shuffle=False)
    assert len({tuple(t.tolist()) for t in alone}) == N
    for size in (3, N):
        together = _in_batches(lambda some: _stage1(model, some, guidance), items, size, shuffle=True)
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True)), size


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_s2a_codes_do_not_depend_on_the_batch(guidance: float) -> None:
    first, full, items = tiny_s2a(True), tiny_s2a(False), _items()

    def run(some: list[dict[str, Tensor]]) -> list[Tensor]:
        seeds = [int(i["seed"]) for i in some]
        semantic, prompts = [i["semantic"] for i in some], [i["codes"] for i in some]
        known = first.generate(semantic, prompts, SeededNoise.of(seeds).fork(0), steps=[6], sampling=SAMPLING)
        return full.generate(
            semantic,
            prompts,
            SeededNoise.of(seeds).fork(1),
            steps=[1, 5, 2, 1],
            known=known,
            guidance=Guidance(guidance),
            sampling=SAMPLING,
        )

    alone = _in_batches(run, items, 1, shuffle=False)
    for size in (3, N):
        together = _in_batches(run, items, size, shuffle=True)
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True)), size


def test_guidance_changes_tokens_with_context_and_is_skipped_without() -> None:
    model, items = tiny_stage1(), _items()
    passes: list[int] = []
    model.diff_estimator.register_forward_hook(lambda _m, args, _o: passes.append(args[0].shape[1]))
    with_context, without = items[0], items[3]
    plain, guided = _stage1(model, [with_context], 0.0)[0], _stage1(model, [with_context], 2.5)[0]
    assert not torch.equal(plain, guided)
    passes.clear()
    assert torch.equal(_stage1(model, [without], 0.0)[0], _stage1(model, [without], 2.5)[0])
    assert set(passes) == {int(without["length"])}  # one span a pass: nothing was computed twice


def test_official_mode_equals_default_mode_for_one_sample() -> None:
    model = tiny_stage1("none")
    prompts = [torch.tensor([3, 9, 4]), torch.tensor([50, 2, 7])]
    phones = [torch.tensor([1, 2, 3, 4]), torch.tensor([30, 31, 5, 6])]

    def run(rows: list[int], official: bool) -> list[Tensor]:
        return model.generate(
            [20] * len(rows),
            [prompts[i] for i in rows],
            SeededNoise.of(rows),
            steps=6,
            phones=[phones[i] for i in rows],
            guidance=Guidance(4.0, 1.0),
            sampling=Sampling(1.0, 0.3, whole=official),
            official=official,
        )

    assert torch.equal(run([0], True)[0], run([0], False)[0])
    assert torch.equal(run([0, 1], False)[1], run([1], True)[0])


def test_official_mode_refuses_unequal_lengths() -> None:
    with pytest.raises(InputError, match="equal lengths"):
        tiny_stage1("none", phones=False).generate(
            [4, 5], [torch.tensor([1]), torch.tensor([1])], SeededNoise.of([1, 2]), steps=2, official=True
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [0]}, "at least one token"),
        ({"phones": [torch.tensor([1])]}, "takes no phones"),
        ({"conditions": [torch.zeros(3, 12)]}, "no frame-level condition"),
    ],
)
def test_wrong_inputs_are_refused(options: dict, message: str) -> None:
    arguments = {"lengths": [2], "prompts": [torch.tensor([1])]} | options
    with pytest.raises(InputError, match=message):
        tiny_stage1("none", phones=False).generate(
            arguments.pop("lengths"), arguments.pop("prompts"), SeededNoise.of([0]), steps=2, **arguments
        )


def test_a_condition_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 12\), prompt and target need \(4, 12\)"):
        tiny_stage1().generate([3], [torch.tensor([1])], SeededNoise.of([0]), steps=2, conditions=[torch.zeros(3, 12)])
