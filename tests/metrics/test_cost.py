from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from metis_bench.corpora.base import Params
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.cost import Latency, PeakMemory, RealTimeFactor
from tests.metrics.conftest import MakeSample

SILENCE = np.zeros(1600)


def test_rtf_is_wall_time_over_audio_time(make_sample: MakeSample, make_context: Callable[..., MetricContext]) -> None:
    metric = RealTimeFactor(Params(), make_context())
    sample = make_sample(SILENCE, 16_000, generation={"wall_s": 3.0, "audio_s": 4.0, "peak_mb": None})
    assert metric.score(sample)["rtf"].value == 0.75
    assert not metric.keyed and metric.columns[0].worst is None and metric.columns[0].direction == "lower"


def test_latency_is_what_an_item_waits_with_its_batch(
    make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    sample = make_sample(SILENCE, 16_000, generation={"wall_s": 3.0, "latency_s": 12.0, "audio_s": 4.0})
    assert Latency(Params(), make_context()).score(sample)["latency"].value == 12.0


@pytest.mark.parametrize("audio_s", [0.0, None])
def test_rtf_without_audio_is_undefined(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], audio_s: float | None
) -> None:
    sample = make_sample(SILENCE, 16_000, generation={"wall_s": 3.0, "audio_s": audio_s})
    with pytest.raises(Undefined):
        RealTimeFactor(Params(), make_context()).score(sample)


def test_peak_memory_is_a_maximum_or_undefined(
    make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    metric = PeakMemory(Params(), make_context())
    assert metric.score(make_sample(SILENCE, 16_000, generation={"peak_mb": 512}))["peak_mb"].value == 512.0
    with pytest.raises(Undefined, match="not_recorded"):
        metric.score(make_sample(SILENCE, 16_000))
    (column,) = metric.columns
    assert column.aggregate == "max" and column.worst is None and not column.headline
    assert metrics.get("peak_mb") is PeakMemory and metrics.get("rtf") is RealTimeFactor
