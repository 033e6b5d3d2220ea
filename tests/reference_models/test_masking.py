"""Schedules, decoding and corruption, against their formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from reference_models.masking import (
    Sampling,
    candidates,
    corrupt,
    cross_entropy_sum,
    decode,
    draw,
    hide,
    largest,
    mask_ratio,
    masked_counts,
    times,
)
from reference_models.noise import SeededNoise, TorchNoise

CPU = torch.device("cpu")


def test_schedule_counts_fall_along_the_sine() -> None:
    counts = masked_counts([100, 7], 10)
    assert counts[:, 0].tolist() == [math.floor(math.sin(math.pi / 2 * (1 - i / 10)) * 100) for i in range(1, 10)] + [0]
    assert (counts.diff(dim=0) <= 0).all() and counts[-1].tolist() == [0, 0]
    assert times(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
    with pytest.raises(ValueError, match="at least one step"):
        times(0)


def test_eligible_tokens_are_a_ceiling_and_never_none() -> None:
    assert candidates(8192, 1 - 0.98) == 164 and candidates(1024, 1 - 0.98) == 21
    assert candidates(10, 0.0) == 1 and candidates(10, 2.0) == 10


def test_whole_and_eligible_noise_draw_the_same_tokens() -> None:
    logits = torch.randn(3, 20, 50)
    for temperature in (None, 0.9, 1e-9):
        one = draw(logits, temperature, Sampling(keep=0.2), SeededNoise.of([1, 2, 3]))
        other = draw(logits, temperature, Sampling(keep=0.2, whole=True), SeededNoise.of([1, 2, 3]))
        assert torch.equal(one[0], other[0])
        torch.testing.assert_close(one[1], other[1])


def test_drawn_frequencies_are_the_softmax_over_eligible_tokens() -> None:
    logits = torch.tensor([2.0, 1.0, 0.5, 0.0, -3.0]).expand(1, 20_000, -1)
    tokens, probability = draw(logits, 1.0, Sampling(keep=0.6), SeededNoise.of([0]))
    want = torch.tensor([2.0, 1.0, 0.5]).softmax(0)
    torch.testing.assert_close(torch.bincount(tokens[0], minlength=5)[:3] / 20_000, want, atol=0.015, rtol=0)
    assert tokens.max() == 2
    torch.testing.assert_close(probability[0], want[tokens[0]])


def _teacher(answer: Tensor, sure: Tensor, log: list[tuple[Tensor, Tensor]]):
    """Logits that know the answer, and how sure they are of each position."""

    def logits_at(tokens: Tensor, mask: Tensor, step: int) -> Tensor:
        log.append((tokens.clone(), mask.clone()))
        return torch.nn.functional.one_hot(answer, 30).float() * sure[..., None]

    return logits_at


def test_decoding_keeps_what_it_is_sure_of_and_masks_the_rest_as_scheduled() -> None:
    answer, log = torch.randint(1, 30, (2, 24)), []
    lengths = [24, 15]
    tokens = decode(
        _teacher(answer, torch.full((2, 24), 50.0), log), lengths, 6, Sampling(), SeededNoise.of([1, 2]), CPU
    )
    for row, n in enumerate(lengths):
        assert torch.equal(tokens[row, :n], answer[row, :n]) and not tokens[row, n:].any()
    counts = torch.cat([torch.tensor([lengths]), masked_counts(lengths, 6)[:-1]])
    assert torch.stack([mask.sum(1) for _, mask in log]).tolist() == counts.tolist()
    for (before, was), (after, still) in pairwise(log):
        assert not (still & ~was).any()  # what is fixed is never masked again
        assert torch.equal(before[~was], after[~was]) and not after[still].any()


@pytest.mark.parametrize("listed", [20, 19])  # the release needs no more than the first step masks again
def test_a_given_order_replaces_confidence(listed: int) -> None:
    log: list[tuple[Tensor, Tensor]] = []
    order, lengths = torch.randperm(20).tolist()[:listed], [20, 13]
    teacher = _teacher(torch.ones(2, 20, dtype=torch.int64), torch.rand(2, 20), log)
    decode(teacher, lengths, 5, Sampling(), SeededNoise.of([0, 1]), CPU, order)
    for (_, mask), counts in zip(log[1:], masked_counts(lengths, 5).tolist(), strict=False):
        for row, (length, count) in enumerate(zip(lengths, counts, strict=True)):
            its_own = [position for position in order if position < length]
            assert set(mask[row].nonzero()[:, 0].tolist()) == set(its_own[:count])


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_shortest_targets_decode(steps: int, length: int) -> None:
    log: list[tuple[Tensor, Tensor]] = []
    answer = torch.full((1, length), 4)
    tokens = decode(
        _teacher(answer, torch.full((1, length), 60.0), log), [length], steps, Sampling(), SeededNoise.of([0]), CPU
    )
    assert torch.equal(tokens, answer)


def test_hiding_spares_the_prompt_and_hides_at_least_one() -> None:
    draws = torch.tensor([[1, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0]])
    mask = hide(draws, torch.tensor([2, 0, 3]))
    assert mask.int().tolist() == [[0, 0, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_corruption_follows_its_probabilities() -> None:
    options = {"floor": 0.2, "longest": 0.4, "prompt_dropout": 0.15}
    generator, dropped = torch.Generator().manual_seed(0), 0
    for _ in range(300):
        made = corrupt(50, 4, generator, **options)
        assert made.mask.any(1).all() and (made.prompt < 20).all()
        dropped += int((made.prompt == 0).all())
    assert 0.09 < dropped / 300 < 0.22
    made = corrupt(2000, 64, generator, **options, prompt=torch.zeros(64, dtype=torch.int64))
    want = mask_ratio(made.t).clamp(min=0.2)
    torch.testing.assert_close(made.mask.float().mean(1), want, atol=0.05, rtol=0)
    for length in (1, 2, 4, 5):  # the release raises on some of them
        assert corrupt(length, 3, generator, **options).mask.any(1).all()


def test_loss_counts_hidden_positions_only() -> None:
    logits, targets = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))
    counted = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1]]).bool()
    want = -logits.log_softmax(-1).gather(2, targets[..., None])[..., 0][counted].mean()
    torch.testing.assert_close(cross_entropy_sum(logits, targets, counted) / counted.sum(), want)


def test_the_releases_generator_gives_the_releases_order_of_draws() -> None:
    made = corrupt(30, 2, torch.Generator().manual_seed(3), floor=0.0, longest=0.5, prompt_dropout=0.0)
    torch.manual_seed(3)
    t = torch.rand(2).clamp(1e-5, 1.0)
    assert torch.rand(1) > 0
    prompt = torch.randint(5, 15, (2,))
    draws = torch.bernoulli(torch.sin(t * math.pi / 2)[:, None].expand(2, 30))
    assert torch.equal(made.t, t) and torch.equal(made.prompt, prompt) and torch.equal(made.mask, hide(draws, prompt))
    assert TorchNoise(torch.Generator()).fork(1) is not None


@pytest.mark.parametrize(("vocabulary", "k"), [(8192, 164), (1024, 21), (256, 6), (64, 8), (64, 64), (100, 3), (7, 2)])
def test_the_largest_are_those_of_a_sort(vocabulary: int, k: int) -> None:
    x = torch.randn(2, 3, vocabulary, generator=torch.Generator().manual_seed(k))
    values, ids = largest(x, k)
    by_value = values.sort(-1, descending=True)
    want = x.sort(-1, descending=True)
    assert torch.equal(by_value.values, want.values[..., :k])
    assert torch.equal(ids.gather(-1, by_value.indices), want.indices[..., :k])
