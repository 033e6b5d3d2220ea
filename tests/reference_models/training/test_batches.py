"""Batches are functions of (seed, step): complete epochs, padding within limits, shares that add up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from reference_models.errors import InputError
from reference_models.training.batches import DRAWN, GRAIN, Batches, Mixture, Order, TokenBatches, collate, crop
from reference_models.training.shards import Shards
from tests.reference_models.training.toys import toy, toy_shards


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards([toy_shards(tmp_path_factory.mktemp("shards"), 50)])


def test_every_epoch_sees_every_example_once() -> None:
    lengths = np.random.default_rng(0).integers(20, 400, size=500)
    order = Order(lengths, 3000, seed=1)
    batches = len(order.bounds) - 1
    epochs = [[tuple(order.rows(epoch * batches + i)) for i in range(batches)] for epoch in range(2)]
    for epoch in epochs:
        assert sorted(i for rows in epoch for i in rows) == list(range(500))
        for rows in epoch:
            assert len(rows) * int(np.ceil(lengths[list(rows)].max() / GRAIN)) * GRAIN <= 3000 or len(rows) == 1
    assert epochs[0] != epochs[1] and Order(lengths, 3000, 1).rows(7).tolist() == order.rows(7).tolist()
    assert Order(lengths, 3000, 2).rows(7).tolist() != order.rows(7).tolist()
    padded = sum(len(rows) * lengths[list(rows)].max() for rows in epochs[0])
    assert padded < 1.1 * lengths.sum()  # examples of like length meet


def test_shares_are_the_batch(data: Shards) -> None:
    batches = TokenBatches(data, tokens=300, seed=0, names=("phones", "condition"))
    whole, parts = batches(3), [batches(3, share, 3) for share in range(3)]
    assert whole is not None and whole.phones is not None and whole.condition is not None
    rows = {tuple(row.tolist()) for row in whole.keys}
    assert rows == {tuple(row.tolist()) for part in parts if part is not None for row in part.keys}
    assert len(rows) == len(whole.keys) and all(part is None or part.draw == whole.draw for part in parts)
    first = parts[0]
    assert first is not None
    n = int(first.valid[1].sum())
    assert torch.equal(first.semantic[1, :n], whole.semantic[3, :n])
    assert batches(3, 90, 91) is None
    assert not (whole.keys == batches(4).keys[: len(whole.keys)]).all()  # type: ignore[union-attr]


def test_collate_pads_behind() -> None:
    examples = [toy(0), toy(1, prompt=4)]
    batch = collate(examples, ("codes", "phones"), [1, 2], 0.5)
    assert batch.prompt.tolist() == [DRAWN, 4] and batch.valid.sum(1).tolist() == [e.frames for e in examples]
    assert batch.codes is not None and batch.codes.shape == (2, max(e.frames for e in examples), 4)
    assert not batch.semantic[~batch.valid].any() and batch.condition is None
    assert batch.to(torch.device("cpu")).draw == 0.5
    with pytest.raises(InputError, match="has no audio"):
        collate(examples, ("audio",), [1, 2], 0.5)


def test_crops_keep_arrays_together() -> None:
    whole = toy(3)
    bare = type(whole)(whole.key, whole.frames, {k: v for k, v in whole.arrays.items() if k != "phones"}, {"prompt": 3})
    cut = crop(bare, 10, seed=5)
    assert cut.frames == len(cut.arrays["codes"]) == 10 and "prompt" not in cut.facts
    assert np.array_equal(cut.arrays["codes"][:, 0], cut.arrays["semantic"] % 256)
    assert crop(bare, 10, 5).arrays["semantic"].tolist() == cut.arrays["semantic"].tolist()
    assert crop(bare, 99, 5) is bare
    with pytest.raises(InputError, match="has a text"):
        crop(whole, 10, 5)


def test_too_long_for_a_batch(data: Shards) -> None:
    with pytest.raises(InputError, match="a batch takes 20"):
        TokenBatches(data, tokens=20, seed=0, names=())


def test_a_mixture_keeps_its_shares() -> None:
    def part(name: str) -> Batches[tuple[str, int]]:
        def batch(step: int, share: int = 0, shares: int = 1) -> tuple[str, int]:
            return name, step

        return batch

    mixture = Mixture([(part("tts"), 0.5), (part("vc"), 0.1), (part("tse"), 0.2), (part("se"), 0.2)], seed=3)
    seen = [mixture(step) for step in range(200)]
    assert Counter(name for name, _ in seen) == {"tts": 100, "vc": 20, "tse": 40, "se": 40}
    for name in ("tts", "vc"):  # each data set is walked through in order, without gaps
        assert [step for n, step in seen if n == name] == list(range(sum(n == name for n, _ in seen)))
    assert seen[:20] != seen[20:40] and mixture(137) == seen[137]


@pytest.mark.parametrize("prompt", [-1, 10_000])
def test_a_prompt_leaves_something_to_predict(prompt: int) -> None:
    with pytest.raises(InputError, match=r"toy-003.*nothing to predict"):
        collate([toy(3, prompt=prompt)], (), [1], 0.5)
    with pytest.raises(InputError, match="nothing to predict"):
        collate([toy(3, prompt=toy(3).frames)], (), [1], 0.5)
