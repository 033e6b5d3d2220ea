"""Samples and contexts from numpy arrays: what a metric sees, without an engine, a store or a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from metis_bench.audio import Audio, encode_wav
from metis_bench.corpora.base import Task
from metis_bench.hashing import JSON, sha256_bytes
from metis_bench.metrics.base import Clip, Extractor, MetricContext, Sample

Wave = NDArray[np.floating]


class MakeSample(Protocol):
    """The type of the `make_sample` fixture."""

    def __call__(
        self,
        output: Wave,
        rate: int,
        reference: Wave | None = None,
        text: str | None = None,
        prompt: Wave | None = None,
        *,
        source: Wave | None = None,
        language: str = "en",
        task: Task = "se",
        generation: Mapping[str, JSON] | None = None,
    ) -> Sample: ...


def clip_of(samples: Wave, rate: int) -> Clip:
    """A Clip over an array: decoded at its own rate or resampled exactly as a file would be."""
    audio = Audio(np.asarray(samples, dtype=np.float32), rate)
    return Clip(sha256_bytes(encode_wav(audio)), lambda r: audio if r is None else audio.resampled(r))


def _feature(extractor: Extractor, clip: Clip) -> JSON:
    return extractor.extract(clip)


def build_sample(
    output: Wave,
    rate: int,
    reference: Wave | None = None,
    text: str | None = None,
    prompt: Wave | None = None,
    *,
    source: Wave | None = None,
    language: str = "en",
    task: Task = "se",
    generation: Mapping[str, JSON] | None = None,
) -> Sample:
    """A Sample whose audio fields are arrays at `rate` Hz; features are extracted on every call (no store)."""
    cost: Mapping[str, JSON] = {"wall_s": 1.0, "latency_s": 2.0, "audio_s": len(output) / rate, "peak_mb": None}
    return Sample(
        item_id="item",
        task=task,
        language=language,
        output=clip_of(output, rate),
        text=text,
        reference=None if reference is None else clip_of(reference, rate),
        prompt=None if prompt is None else clip_of(prompt, rate),
        source=None if source is None else clip_of(source, rate),
        generation=cost if generation is None else generation,
        feature=_feature,
    )


@pytest.fixture(scope="session")
def make_sample() -> MakeSample:
    """`make_sample(output, rate, reference=None, text=None, prompt=None)`."""
    return build_sample


@pytest.fixture(scope="session")
def make_clip() -> Callable[[Wave, int], Clip]:
    """`make_clip(samples, rate)`."""
    return clip_of


@pytest.fixture(scope="session")
def make_context() -> Callable[..., MetricContext]:
    """`make_context(*texts, language="en", task="se")`."""

    def make(*texts: str, language: str = "en", task: Task = "se") -> MetricContext:
        return MetricContext(task=task, language=language, texts=texts)

    return make
