"""What every metric must keep, whoever writes it: a new one is covered by being registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.hashing import canonical_json, sha256_bytes
from metis_bench.metrics.base import Clip, Metric, MetricContext, Sample, Score, metrics

NAMES = [n for n in metrics.names() if not n.startswith("toy")]
RATE = 16_000
TEXT = "the quick brown fox"


def build(name: str) -> Metric:
    cls = metrics.get(name)
    metric = cls(cls.params_type(), MetricContext(sorted(cls.tasks)[0], "en", (TEXT, "jumps over the lazy dog")))
    try:
        metric.check()
    except MissingPrerequisite as error:
        pytest.skip(str(error))
    return metric


def speech(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Noise with syllables: enough for every metric to have a value."""
    t = np.arange(int(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * t + k) / k for k in range(1, 20))
    return (0.1 * voice * (np.sin(2 * np.pi * 3 * t) > -0.3)).astype(np.float32)


def clip(samples: np.ndarray, rate: int = RATE) -> Clip:
    audio = Audio(samples, rate)
    return Clip(
        sha256_bytes(samples.tobytes() + bytes(str(rate), "ascii")),
        lambda r: audio if r is None else audio.resampled(r),
    )


def sample(metric: Metric, output: Clip, **fields: Any) -> Sample:
    base: dict[str, Any] = {
        "text": TEXT,
        "reference": clip(speech()),
        "prompt": clip(speech()),
        "source": clip(speech()),
    }
    base.update(fields)
    costs = {"wall_s": 0.5, "audio_s": 2.0, "peak_mb": 100.0}
    return Sample("i", metric.context.task, "en", output, generation=costs, feature=lambda e, c: e.extract(c), **base)


@pytest.mark.parametrize("name", NAMES)
def test_columns_and_signature(name: str) -> None:
    metric = build(name)
    ids = [c.id for c in metric.columns]
    assert len(set(ids)) == len(ids) > 0
    assert all(i == name or i.startswith(f"{name}.") for i in ids)
    for column in metric.columns:
        assert column.label
        assert column.direction in ("higher", "lower")
        assert column.worst is not None or not (metric.keyed and column.ranked), "only costs may lack a worst value"
        assert (column.aggregate == "ratio") == bool(column.ratio[0])
    signature = metric.signature()
    assert canonical_json(signature) == canonical_json(build(name).signature()), "the same metric, the same signature"
    assert metrics.get(name).__doc__


DEGENERATE: Mapping[str, Callable[[], Clip]] = {
    "silence": lambda: clip(np.zeros(RATE, dtype=np.float32)),
    "30 ms": lambda: clip(speech(0.03)),
    "one sample": lambda: clip(np.full(1, 0.5, dtype=np.float32)),
    "clipped": lambda: clip(np.clip(speech() * 1000, -1, 1)),
    "beyond full scale": lambda: clip(speech() * 50),
    "constant": lambda: clip(np.full(RATE, 0.3, dtype=np.float32)),
    "8 kHz": lambda: clip(speech(rate=8_000), 8_000),
    "48 kHz": lambda: clip(speech(rate=48_000), 48_000),
    "almost silent": lambda: clip(speech() * np.float32(1e-5)),
    "twice as long": lambda: clip(speech(4.0)),
}


@pytest.mark.parametrize("kind", sorted(DEGENERATE))
@pytest.mark.parametrize("name", NAMES)
def test_degenerate_output_has_a_stated_outcome(name: str, kind: str) -> None:
    metric = build(name)
    try:
        scores = metric.score(sample(metric, DEGENERATE[kind]()))
    except ItemError as reason:  # undefined or failed: both carry a reason
        assert str(reason)
        return
    assert set(scores) == {c.id for c in metric.columns}
    for score in scores.values():
        assert_stated(score)


def assert_stated(score: Score) -> None:
    if score.status == "ok":
        assert score.value is not None
        assert np.isfinite(score.value)
    else:
        assert score.value is None
        assert score.reason
    canonical_json(dict(score.detail))


@pytest.mark.parametrize("name", [n for n in NAMES if metrics.get(n).keyed])
def test_nothing_wins_by_saying_nothing(name: str) -> None:
    metric = build(name)
    try:
        scores = metric.score(sample(metric, DEGENERATE["silence"]()))
    except ItemError:
        return
    column = metric.columns[0]
    assert scores[column.id].value == column.worst, "an empty transcript is all wrong; anything else is undefined"


@pytest.mark.parametrize("name", NAMES)
def test_twice_the_same(name: str) -> None:
    metric = build(name)
    first = metric.score(sample(metric, clip(speech() + np.float32(0.001))))
    metric.score(sample(metric, clip(speech(3.0) * np.float32(0.5))))
    assert metric.score(sample(metric, clip(speech() + np.float32(0.001)))) == first, "the past must not matter"
