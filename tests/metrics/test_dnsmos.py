from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.metrics import _dnsmos
from metis_bench.metrics._onnx_cut import cut
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.dnsmos import Dnsmos, DnsmosParams
from tests.metrics.conftest import MakeSample, Wave

RATE = 16_000
COLUMNS = ("sig", "bak", "ovrl", "p808")


@pytest.fixture(scope="session")
def official() -> Any:
    """speechmos itself (its import needs librosa)."""
    pytest.importorskip("librosa", reason="speechmos' own path needs librosa")
    return pytest.importorskip("speechmos.dnsmos", reason="speechmos' own path needs librosa and requests")


@pytest.fixture
def metric(make_context: Callable[..., MetricContext]) -> Dnsmos:
    return Dnsmos(DnsmosParams(), make_context())


def speechlike(seconds: float, seed: int = 0, level: float = 0.1) -> Wave:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * 140 * k * t + k) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1)
    return (level * envelope * tone / 3 + 0.003 * rng.standard_normal(len(t))).astype(np.float32)


def assert_official(official: Any, metric: Dnsmos, samples: Wave, make_sample: MakeSample) -> None:
    expected = official.run(samples, RATE)
    scores = metric.score(make_sample(samples, RATE))
    for name in COLUMNS:
        assert scores[f"dnsmos.{name}"].value == pytest.approx(float(expected[f"{name}_mos"]), abs=1e-6)
    mean = np.mean([float(expected[f"{name}_mos"]) for name in ("sig", "bak", "ovrl")])
    assert scores["dnsmos.avg3"].value == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("seconds", [0.02, 0.5, 4.505, 9.01, 9.99, 14.37, 34.5])
def test_equals_speechmos_on_synthetic_audio(
    official: Any, metric: Dnsmos, make_sample: MakeSample, seconds: float
) -> None:
    assert_official(official, metric, speechlike(seconds), make_sample)


@pytest.mark.parametrize("level", [1e-6, 1e-3])
def test_equals_speechmos_near_silence(official: Any, metric: Dnsmos, make_sample: MakeSample, level: float) -> None:
    noise = np.random.default_rng(0).standard_normal(3 * RATE)
    assert_official(official, metric, (level * noise).astype(np.float32).clip(-1, 1), make_sample)


def test_nothing_wins_by_saying_nothing(metric: Dnsmos, make_sample: MakeSample) -> None:
    with pytest.raises(Undefined, match="silence"):
        metric.score(make_sample(np.zeros(RATE, dtype=np.float32), RATE))


def real_files(real: Path) -> list[Path]:
    """20 recordings: 10.0 s, tiled short ones, ones over 10 s, and 22.05, 24, 44.1 and 48 kHz ones."""
    groups = {
        "dns2020/test_set": 4,
        "voicebank_demand": 3,
        "clean_speech": 3,
        "vctk": 4,
        "seedtts": 4,
        "metrics_ref": 2,
    }
    files: list[Path] = []
    for folder, count in groups.items():
        found = sorted(p for p in (real / folder).rglob("*") if p.suffix in {".wav", ".flac"})
        files += [found[round(i)] for i in np.linspace(0, len(found) - 1, count)]
    return files


@pytest.mark.long
def test_equals_speechmos_on_real_audio(official: Any, metric: Dnsmos, make_sample: MakeSample, real: Path) -> None:
    files = real_files(real)
    assert len(set(files)) == 20
    rates, lengths = set(), []
    for file in files:
        audio = load(file)
        rates.add(audio.rate)
        samples = audio.resampled(RATE).samples.clip(-1, 1)
        lengths.append(len(samples) / RATE)
        assert_official(official, metric, samples, make_sample)
    assert {16_000, 24_000, 48_000} <= rates
    assert min(lengths) < 4 and max(lengths) > 11


def test_windows_are_the_official_ones() -> None:
    for length in (*range(144_160, 400_000, 997), 9_600_000):
        expected = []  # dnsmos_local.py:61-70
        for idx in range(int(np.floor(length / RATE) - 9.01) + 1):
            if min(int((idx + 9.01) * RATE), length) - idx * RATE >= int(9.01 * RATE):
                expected.append(idx)
        assert _dnsmos.window_starts(length) == expected
    assert _dnsmos.window_starts(160_000) == [0], "the last 0.99 s of a 10 s clip is never scored"
    assert _dnsmos.window_starts(30 * RATE) == [0, 1, 2, 3, 4, 5, 6], "7 to 23 s: a sample short by rounding"
    assert _dnsmos.window_starts(600 * RATE) == [*range(7), *range(24, 119), *range(123, 591)]


def test_shared_features_are_those_of_each_window_alone() -> None:
    audio = np.random.default_rng(0).standard_normal(36 * RATE).astype(np.float32) * 0.1
    alone = _dnsmos.models(0)
    starts = _dnsmos.window_starts(len(audio))
    assert starts == [*range(7), *range(24, 27)]
    shared = list(_dnsmos._pooled_windows(alone.front, audio, starts))
    for i in (0, 1, 6, 7, 9):
        clip = audio[starts[i] * RATE :][: _dnsmos.WINDOW]
        (expected,) = _dnsmos._pooled_windows(alone.front, clip, [0])
        np.testing.assert_allclose(shared[i], expected, atol=1e-4)


def test_level_counts_and_is_never_normalised(metric: Dnsmos, make_sample: MakeSample) -> None:
    loud, quiet = (metric.score(make_sample(speechlike(9.5, level=a), RATE)) for a in (0.3, 0.01))
    a, b = loud["dnsmos.ovrl"].value, quiet["dnsmos.ovrl"].value
    assert a is not None and b is not None and abs(a - b) > 0.05


def test_samples_over_full_scale_are_clipped_and_counted(metric: Dnsmos, make_sample: MakeSample) -> None:
    x = speechlike(2.0)
    x[[100, 2000, 3000]] = [1.02, -1.5, 1.0]
    score, clipped = (metric.score(make_sample(s, RATE)) for s in (x, x.clip(-1, 1)))
    assert score["dnsmos.avg3"].detail["clipped_samples"] == 2
    assert clipped["dnsmos.avg3"].detail["clipped_samples"] == 0
    assert {k: v.value for k, v in score.items()} == {k: v.value for k, v in clipped.items()}


def test_less_than_a_frame_is_undefined(metric: Dnsmos, make_sample: MakeSample) -> None:
    with pytest.raises(Undefined, match="too_short"):
        metric.score(make_sample(speechlike(1.0)[:319], RATE))


def test_headline_column_follows_the_parameter(make_context: Callable[..., MetricContext]) -> None:
    for scalar in ("avg3", "ovrl", "p808"):
        metric = Dnsmos(DnsmosParams.model_validate({"scalar": scalar}), make_context())
        assert [c.id for c in metric.columns if c.headline] == [f"dnsmos.{scalar}"] == [metric.columns[0].id]
        assert {c.id for c in metric.columns} == {f"dnsmos.{n}" for n in (*COLUMNS, "avg3")}


def test_signature_holds_the_weights(metric: Dnsmos) -> None:
    weights = metric.signature()["weights"]
    assert isinstance(weights, dict) and set(weights) == {"p835", "p808"}
    assert weights["p835"].startswith("269fbebd") and weights["p808"].startswith("9246480c")
    assert metrics.get("dnsmos") is Dnsmos


def test_scoring_imports_neither_speechmos_nor_librosa() -> None:
    code = (
        "import sys, numpy as np\nfrom metis_bench.metrics._dnsmos import dnsmos\n"
        "dnsmos(np.zeros(8000, np.float32))\nassert not {'speechmos', 'librosa', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_cut_refuses_a_tensor_that_is_not_there() -> None:
    model = _dnsmos.model_paths()["p835"].read_bytes()
    with pytest.raises(ValueError, match="does not compute"):
        cut(model, ("no/such:0", ("N",)), ("Identity:0", ("N", 3)))
    with pytest.raises(ValueError, match="does not compute"):
        cut(model, (_dnsmos._FRAMES_TENSOR, ("N", "T", 320)), ("no/such:0", ("N",)))


@pytest.mark.long
def test_memory_does_not_grow_with_length() -> None:
    code = (
        "import resource, numpy as np\nfrom metis_bench.metrics._dnsmos import dnsmos\n"
        "x = (0.1 * np.random.default_rng(0).standard_normal(16000 * 40)).astype('f4')\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "dnsmos(x[: 16000 * 20]); before = peak(); dnsmos(np.tile(x, 3)); print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert float(done.stdout) < 60, "MB, for 100 s more audio (6 MB of samples; all its features would be 50 MB)"
