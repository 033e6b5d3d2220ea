"""Noise: the release's stream, and numbers that depend on a sample's own seed only."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from reference_models.masking import gumbel
from reference_models.noise import SeededNoise, TorchNoise

SHAPE = (2, 30, 50)


def test_torch_noise_is_the_global_generators_stream() -> None:
    noise = TorchNoise(torch.Generator().manual_seed(7))
    torch.manual_seed(7)
    assert torch.equal(noise.tokens(None, SHAPE), torch.zeros(SHAPE).uniform_(0, 1))
    assert torch.equal(noise.positions(SHAPE[:2]), torch.zeros(SHAPE[:2]).uniform_(0, 1))


def test_asking_for_some_tokens_gives_their_part_of_all() -> None:
    ids = torch.randint(0, SHAPE[2], (*SHAPE[:2], 7))
    for make in (lambda: SeededNoise.of([3, 4]), lambda: TorchNoise(torch.Generator().manual_seed(1))):
        assert torch.equal(make().tokens(ids, SHAPE), make().tokens(None, SHAPE).gather(2, ids))


def test_a_sample_has_the_same_noise_in_every_batch() -> None:
    together, alone = SeededNoise.of([1, 2, 3]), SeededNoise.of([3])
    for _ in range(3):
        assert torch.equal(together.tokens(None, (3, 20, 9))[2:], alone.tokens(None, (1, 20, 9)))
        assert torch.equal(together.positions((3, 25))[2:, :10], alone.positions((1, 10)))


def test_forks_do_not_depend_on_draws_before_them() -> None:
    used, fresh = SeededNoise.of([5]), SeededNoise.of([5])
    used.positions((1, 8))
    assert torch.equal(used.fork(2).positions((1, 8)), fresh.fork(2).positions((1, 8)))
    assert not torch.equal(fresh.fork(2).positions((1, 8)), fresh.fork(3).positions((1, 8)))


def test_seeds_draws_positions_and_tokens_all_matter() -> None:
    noise = SeededNoise.of([0, 1, 1 << 32])
    first, second = noise.tokens(None, (3, 40, 40)), noise.tokens(None, (3, 40, 40))
    values = torch.stack([first, second]).flatten()
    assert len(values.unique()) > 0.99 * len(values)


def test_seeded_noise_is_uniform_and_uncorrelated() -> None:
    noise = SeededNoise.of(list(range(4)))
    u = torch.stack([noise.tokens(None, (4, 64, 512)) for _ in range(4)]).numpy()  # draws, samples, positions, tokens
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.reshape(-1)[:100_000], "uniform").pvalue > 1e-4
    for axis in range(4):
        a, b = np.delete(u, 0, axis).ravel(), np.delete(u, u.shape[axis] - 1, axis).ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / len(a) ** 0.5, axis
    bits = (u * 2**24).astype(np.int64)
    for bit in range(24):
        assert abs(((bits >> bit) & 1).mean() - 0.5) < 5 * 0.5 / bits.size**0.5, bit


def test_gumbel_is_finite_at_both_ends() -> None:
    assert torch.isfinite(gumbel(torch.tensor([0.0, 0.5, 1 - 2.0**-24]))).all()
