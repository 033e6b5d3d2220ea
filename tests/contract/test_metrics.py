"""What every metric must keep, whoever writes it: a new one is covered by being registered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.config import WEIGHTS
from metis_bench.errors import ItemError, MissingPrerequisite
from metis_bench.hashing import JSON, canonical_json, sha256_bytes, sha256_json
from metis_bench.metrics.base import Clip, Extractor, Metric, MetricContext, Sample, Score, metrics

# what a suite may ask for: every metric as it is, and what its parameters make of it
CASES: dict[str, tuple[str, dict[str, Any]]] = {n: (n, {}) for n in metrics.names() if not n.startswith("toy")}
CASES |= {
    "wer whisper": ("wer", {"asr": "whisper-tiny"}),
    "wer hubert": ("wer", {"asr": "hubert-large-ls960-ft", "profile": "hubert"}),
    "wer pseudo": ("wer", {"asr": "whisper-tiny", "against": "transcript"}),
    "sim wavlm large": ("sim", {"model": "wavlm_large_finetune"}),
    "sim wavlm base": ("sim", {"model": "wavlm_base_plus_sv", "pair": "reference"}),
    "nisqa native": ("nisqa", {"rate": "native"}),
    "estoi literal": ("estoi", {"align": "none"}),
}
NAMES = list(CASES)
RATE = 16_000
TEXT = "the quick brown fox"


def build(name: str) -> Metric:
    registered, params = CASES[name]
    cls = metrics.get(registered)
    context = MetricContext(sorted(cls.tasks)[0], "en", (TEXT, "jumps over the lazy dog"))
    metric = cls(cls.params_type(**params), context)
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
    costs = {"wall_s": 0.5, "latency_s": 0.5, "audio_s": 2.0, "peak_mb": 100.0}
    return Sample("i", metric.context.task, "en", output, generation=costs, feature=lambda e, c: e.extract(c), **base)


@pytest.mark.parametrize("name", NAMES)
def test_columns_and_signature(name: str) -> None:
    metric = build(name)
    ids = [c.id for c in metric.columns]
    assert len(set(ids)) == len(ids) > 0
    registered = CASES[name][0]
    assert all(i == registered or i.startswith(f"{registered}.") for i in ids)
    for column in metric.columns:
        assert column.label
        assert column.direction in ("higher", "lower")
        assert column.worst is not None or not (metric.keyed and column.ranked), "only costs may lack a worst value"
        assert (column.aggregate == "ratio") == bool(column.ratio[0])
    signature = metric.signature()
    assert canonical_json(signature) == canonical_json(build(name).signature()), "the same metric, the same signature"
    assert metrics.get(registered).__doc__


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


@pytest.mark.parametrize("name", [n for n in NAMES if metrics.get(CASES[n][0]).keyed])
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


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("wer", "sim", "utmos"))])
def test_neighbours_in_a_batch_change_nothing(name: str) -> None:
    metric = build(name)
    clips = [clip(speech(seconds) * np.float32(gain)) for seconds, gain in ((1.0, 1.0), (2.3, 0.5), (0.6, 0.9))]
    for extractor, _ in metric.extracts:
        alone = [extractor.extract(c) for c in clips]
        assert extractor.extract_all(clips) == alone
        assert extractor.extract_all(clips[::-1]) == alone[::-1]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_extracted_is_what_is_asked_for(name: str) -> None:
    """A network's features are made before scoring: one that `extracts` forgets would be made one by one."""
    metric = build(name)
    asked: list[tuple[str, str]] = []

    def feature(extractor: Extractor, heard: Clip) -> JSON:
        asked.append((sha256_json(extractor.signature()), heard.sha256))
        return extractor.extract(heard)

    one = sample(metric, clip(speech(1.5)))
    metric.score(replace(one, feature=feature))
    clips = {"output": one.output, **{f: getattr(one, f) for f in ("reference", "prompt", "source")}}
    told = [(sha256_json(e.signature()), clips[role].sha256) for e, role in metric.extracts]
    assert sorted(asked) == sorted(told)


# of docs/metrics.md: what half the level, another rate and a second of silence at the end do to a number. A tolerance
# where it stays, None where it moves
BEHAVIOUR: dict[str, tuple[str, tuple[float | None, float | None, float | None]]] = {
    "dnsmos.ovrl": ("dnsmos", (None, None, None)),
    "dnsmos.p808": ("dnsmos", (1e-3, None, None)),
    "pesq.wb": ("pesq", (0.01, 0.05, 0.01)),
    "estoi.xcorr50ms": ("estoi", (1e-6, 0.01, 1e-6)),
    "si_sdr": ("si_sdr", (1e-4, None, 1e-4)),
    "lsd.16k": ("lsd", (None, None, 1e-6)),
    "nisqa.16k.mos": ("nisqa", (None, None, None)),
    "sim.ge2e": ("sim", (0.05, 0.02, 0.1)),
}


@pytest.mark.parametrize("column", sorted(BEHAVIOUR))
def test_level_rate_and_silence_do_what_the_docs_say(column: str) -> None:
    name, (gain, rate, silence) = BEHAVIOUR[column]
    metric = build(name)
    hiss = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    noisy = speech(3.0) + np.float32(0.01) * hiss
    clean = clip(speech(3.0))

    def value(samples: np.ndarray, at: int = RATE) -> float:
        one = sample(metric, clip(np.asarray(samples, dtype=np.float32), at), reference=clean, prompt=clean)
        found = metric.score(one)[column].value
        assert found is not None
        return found

    base = value(noisy)
    others = {
        "level": (value(noisy * 0.5), gain),
        "rate": (value(Audio(noisy, RATE).resampled(48_000).samples, 48_000), rate),
        "silence": (value(np.concatenate([noisy, np.zeros(RATE, np.float32)])), silence),
    }
    for what, (other, tolerance) in others.items():
        if tolerance is None:
            assert abs(other - base) > 1e-4, f"{what}: the docs say that it moves"
        else:
            assert abs(other - base) <= tolerance, what


@pytest.mark.parametrize("name", [n for n in NAMES if metrics.get(CASES[n][0]).keyed])
def test_every_parameter_is_in_the_signature(name: str) -> None:
    """Two numbers made differently never look alike."""
    metric = build(name)
    registered, params = CASES[name]
    seen = {canonical_json(metric.signature())}
    for other, (again, changed) in CASES.items():
        if again == registered and changed != params:
            seen.add(canonical_json(build(other).signature()))
    assert len(seen) == sum(again == registered for again, _ in CASES.values())


@pytest.mark.parametrize("name", ["wer whisper", "wer hubert", "sim wavlm large", "sim wavlm base", "nisqa", "utmos"])
def test_other_weights_are_another_metric(
    name: str, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = build(name).signature()
    shutil.copytree(tiny_weights, tmp_path / "weights")
    for file in (p for p in (tmp_path / "weights").rglob("*") if p.suffix in (".safetensors", ".pt", ".pth", ".tar")):
        file.write_bytes(file.read_bytes() + b" ")
    monkeypatch.setenv(WEIGHTS, str(tmp_path / "weights"))
    assert canonical_json(build(name).signature()) != canonical_json(before)
