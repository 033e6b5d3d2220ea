"""SIM with given embeddings, then with real voices."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from metis_bench.audio import load
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip, Extractor, MetricContext, Sample, Undefined, metrics
from metis_bench.metrics.sim import Sim, SimParams, cosine

MakeSample = Callable[..., Sample]


def sim(**params: str) -> Sim:
    return Sim(SimParams(**params), MetricContext("tts", "en", ()))  # type: ignore[arg-type]


def embedded(sample: Sample, vectors: dict[str, list[float] | None]) -> Sample:
    """`sample` with a given embedding for each of its clips; None: undefined."""

    def feature(extractor: Extractor, clip: Clip) -> JSON:
        role = next(r for r in ("output", "prompt", "reference", "source") if getattr(sample, r) is clip)
        vector = vectors[role]
        if vector is None:
            raise Undefined("the audio is silent")
        return vector

    return replace(sample, feature=feature)


def test_cosine() -> None:
    assert cosine([1.0, 0.0], [0.0, 2.0]) == 0.0
    assert cosine([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1.0)
    assert cosine([1.0, 0.0], [-5.0, 0.0]) == -1.0
    assert cosine([3.0, 4.0], [4.0, 3.0]) == pytest.approx(0.96)
    assert cosine([0.1] * 3, [0.1] * 3) <= 1.0


def test_pairs(make_sample: MakeSample) -> None:
    sample = make_sample(np.ones(10), 16_000, reference=np.ones(11), prompt=np.ones(12))
    vectors: dict[str, list[float] | None] = {"output": [1.0, 0.0], "prompt": [3.0, 4.0], "reference": [4.0, 3.0]}
    prompt, reference = sim(), sim(pair="reference")
    assert prompt.needs == {"prompt"} and reference.needs == {"reference"}
    assert prompt.score(embedded(sample, vectors))["sim.ge2e"].value == pytest.approx(0.6)
    assert reference.score(embedded(sample, vectors))["sim.ge2e.ref"].value == pytest.approx(0.8)
    for metric in (prompt, reference):
        (column,) = metric.columns
        assert (column.direction, column.worst, column.decimals, column.headline) == ("higher", -1.0, 3, True)
    assert metrics.get("sim") is Sim


def test_the_source_is_the_voice_to_get_rid_of(make_sample: MakeSample) -> None:
    """Lower is better there, and a failed item counts as if nothing of the source had gone."""
    sample = make_sample(np.ones(10), 16_000, prompt=np.ones(11), source=np.ones(12))
    metric = sim(pair="source")
    assert metric.needs == {"source"}
    scores = metric.score(embedded(sample, {"output": [1.0, 0.0], "prompt": [1.0, 0.0], "source": [3.0, 4.0]}))
    assert scores["sim.ge2e.source"].value == pytest.approx(0.6)
    (column,) = metric.columns
    assert (column.id, column.direction, column.worst, column.headline) == ("sim.ge2e.source", "lower", 1.0, False)
    with pytest.raises(ItemError, match="no source"):
        metric.score(make_sample(np.ones(10), 16_000, prompt=np.ones(11)))


def test_an_undefined_embedding_names_the_clip(make_sample: MakeSample) -> None:
    sample = make_sample(np.ones(10), 16_000, reference=np.ones(11), prompt=np.ones(12))
    with pytest.raises(Undefined, match="output: the audio is silent"):
        sim().score(embedded(sample, {"output": None, "prompt": [1.0]}))
    with pytest.raises(Undefined, match="reference: the audio is silent"):
        sim(pair="reference").score(embedded(sample, {"output": [1.0], "reference": None}))


def test_an_item_without_the_other_clip_fails(make_sample: MakeSample) -> None:
    sample = make_sample(np.ones(10), 16_000)
    with pytest.raises(ItemError, match="no prompt"):
        sim().score(sample)
    with pytest.raises(ItemError, match="no reference"):
        sim(pair="reference").score(sample)


def test_unknown_names() -> None:
    with pytest.raises(ValidationError, match="did you mean 'ge2e'"):
        SimParams(model="ge2")
    with pytest.raises(ValidationError, match="prompt"):
        SimParams(pair="video")  # type: ignore[arg-type]


def test_the_pair_is_part_of_the_signature() -> None:
    pytest.importorskip("resemblyzer", exc_type=ImportError)
    metric = sim()
    metric.check()
    signatures = [sim(pair=pair).signature() for pair in ("prompt", "reference", "source")]
    assert all(a != b for a, b in itertools.combinations(signatures, 2))
    assert metric.signature()["encoder"] == metric.encoder.signature()


def test_the_same_audio_scores_one(make_sample: MakeSample, rng: np.random.Generator) -> None:
    pytest.importorskip("resemblyzer", exc_type=ImportError)
    noise = rng.standard_normal(30_000) * 0.1
    score = sim().score(make_sample(noise, 16_000, prompt=noise))
    assert score["sim.ge2e"].value == pytest.approx(1.0, abs=1e-6)


def test_real_voices(real: Path, make_sample: MakeSample) -> None:
    """Ground truth resembles its own prompt more than any prompt of another speaker."""
    pytest.importorskip("resemblyzer", exc_type=ImportError)
    folder = real / "seedtts" / "en"
    names = ["p225_020-p225_022", "p287_002-p287_004", "LJ001-0008-LJ001-0002", "arctic_aew_a0001-arctic_aew_a0003"]
    same, different = [], []
    for a, b in itertools.product(names, names):
        output = load(folder / "wavs" / f"{a}.wav", 16_000)
        prompt = load(folder / "prompt-wavs" / f"{b[: len(b) // 2]}.wav", 16_000)
        value = sim().score(make_sample(output.samples, 16_000, prompt=prompt.samples))["sim.ge2e"].value
        (same if a == b else different).append(value)
    assert min(same) > 0.75 > max(different)
