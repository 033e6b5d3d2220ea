from __future__ import annotations

import numpy as np
import pytest

from metis_bench.metrics.alignment import align, aligned_pair, find_delay, is_silent, match_length
from metis_bench.metrics.base import Undefined
from tests.metrics.conftest import MakeSample


def test_match_length_pads_with_silence_and_cuts_the_end() -> None:
    x = np.arange(1.0, 4.0)
    assert match_length(x, 5).tolist() == [1, 2, 3, 0, 0]
    assert match_length(x, 2).tolist() == [1, 2]
    assert match_length(x, 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize("delay", [-800, -13, 0, 1, 640, 800])
def test_delay_is_found_and_undone(rng: np.random.Generator, delay: int) -> None:
    x = rng.standard_normal(16_000)
    late = np.pad(x, (delay, 0))[: len(x)] if delay >= 0 else np.pad(x[-delay:], (0, -delay))
    reference, output, found = align(x, 0.3 * late + 0.01 * rng.standard_normal(len(x)), 16_000, 0.050)
    assert found == delay
    assert len(output) == len(reference) == len(x)
    inside = slice(800, -800)
    assert np.corrcoef(reference[inside], output[inside])[0, 1] > 0.99


def test_delays_outside_the_range_are_not_searched(rng: np.random.Generator) -> None:
    x = rng.standard_normal(8_000)
    assert abs(find_delay(x, np.pad(x, (900, 0)), 800)) <= 800
    assert find_delay(x, np.pad(x, (900, 0)), 0) == 0


def test_delay_equals_direct_correlation(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal(300), rng.standard_normal(280)
    direct = np.correlate(y, x, mode="full")  # index k + len(x) - 1 is the shift k
    shifts = np.arange(-40, 41)
    assert find_delay(x, y, 40) == shifts[np.argmax(direct[shifts + len(x) - 1])]


@pytest.mark.parametrize("sizes", [(1, 1), (1, 2), (2, 1), (100, 100), (5, 300), (300, 5), (255, 257), (500, 500)])
def test_signals_shorter_than_the_largest_shift(rng: np.random.Generator, sizes: tuple[int, int]) -> None:
    for _ in range(20):
        x, y = (rng.standard_normal(size) for size in sizes)
        direct = np.correlate(y, x, mode="full")  # every shift at which they overlap
        best = int(np.argmax(direct)) - (len(x) - 1) if direct.max() > 0 else 0
        for max_shift in (500, 800, 1024, 5000):
            assert find_delay(x, y, max_shift) == best


def test_no_correlation_is_no_delay() -> None:
    assert find_delay(np.zeros(100), np.zeros(100), 10) == 0
    for x, y in ((np.zeros(0), np.ones(5)), (np.ones(5), np.zeros(0)), (np.zeros(0), np.zeros(0))):
        assert find_delay(x, y, 800) == 0


def test_silent() -> None:
    assert is_silent(np.zeros(0)) and is_silent(np.full(10, 0.5)) and not is_silent(np.array([0.0, 1e-9]))


def test_pair_records_what_was_done(make_sample: MakeSample, rng: np.random.Generator) -> None:
    x = rng.standard_normal(16_000) * 0.1
    short = np.pad(x, (160, 0))[:12_000]
    _, output, detail = aligned_pair(make_sample(short, 16_000, reference=x), 16_000, "xcorr50ms")
    assert detail == {"delay_ms": 10.0, "length_difference_s": -0.25}
    assert not output[12_000 - 160 :].any()


def test_very_short_signals_have_a_clear_outcome(make_sample: MakeSample, rng: np.random.Generator) -> None:
    x = rng.standard_normal(100) * 0.1
    reference, output, detail = aligned_pair(make_sample(x, 16_000, reference=x), 16_000, "xcorr50ms")
    assert detail["delay_ms"] == 0.0 and np.array_equal(reference, output) and len(output) == 100
    _, click, _ = aligned_pair(make_sample(x[:1], 16_000, reference=x), 16_000, "xcorr50ms")
    assert len(click) == 100 and np.count_nonzero(click) <= 1
    with pytest.raises(Undefined, match="silence: the output"):
        aligned_pair(make_sample(x[:0], 16_000, reference=x), 16_000, "xcorr50ms")
    for short in (x[:0], x[:1]):
        with pytest.raises(Undefined, match="silence: the reference"):
            aligned_pair(make_sample(x, 16_000, reference=short), 16_000, "xcorr50ms")


def test_pair_of_silence_is_undefined(make_sample: MakeSample, rng: np.random.Generator) -> None:
    x = rng.standard_normal(16_000)
    with pytest.raises(Undefined, match="silence: the output"):
        aligned_pair(make_sample(np.zeros(16_000), 16_000, reference=x), 16_000, "none")
    with pytest.raises(Undefined, match="silence: the reference"):
        aligned_pair(make_sample(x, 16_000, reference=np.zeros(16_000)), 16_000, "none")
    late = np.concatenate([np.zeros(16_000), x])  # all of its sound lies after the reference's end
    with pytest.raises(Undefined, match="silence: the output"):
        aligned_pair(make_sample(late, 16_000, reference=x), 16_000, "none")


@pytest.mark.parametrize("length", [2, 8_000, 16_000])
def test_a_constant_output_is_silent_however_it_is_padded(
    make_sample: MakeSample, rng: np.random.Generator, length: int
) -> None:
    sample = make_sample(np.full(length, 0.3), 16_000, reference=rng.standard_normal(16_000))
    for mode in ("xcorr50ms", "none"):
        with pytest.raises(Undefined, match="silence: the output"):
            aligned_pair(sample, 16_000, mode)
