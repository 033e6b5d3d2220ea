from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from metis_bench.audio import load
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.pesq import MAX_UTTERANCES, Pesq, PesqParams, max_utterances, pesq_score
from tests.metrics.conftest import MakeSample

pytest.importorskip("pesq", reason="builds from source: needs a C compiler")
RATE = 16_000


def bursts(count: int, on_s: float = 0.3, off_s: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    burst = [0.3 * rng.standard_normal(int(on_s * RATE)), np.zeros(int(off_s * RATE))]
    return np.concatenate([part for _ in range(count) for part in burst])


@pytest.mark.parametrize(("mode", "published"), [("wb", 1.0832337), ("nb", 1.6072082)])
def test_published_pair(
    real: Path,
    make_sample: MakeSample,
    make_context: Callable[..., MetricContext],
    mode: Literal["wb", "nb"],
    published: float,
) -> None:
    folder = real / "metrics_ref" / "pesq"
    reference, degraded = (load(folder / f"{n}.wav", RATE).samples for n in ("speech", "speech_bab_0dB"))
    metric = Pesq(PesqParams(mode=mode), make_context())
    score = metric.score(make_sample(degraded, RATE, reference=reference))[f"pesq.{mode}"]
    assert score.value == pytest.approx(published, abs=1e-6)
    assert score.detail == {"length_difference_s": 0.0}
    assert [c.id for c in metric.columns] == [f"pesq.{mode}"]


def test_identical_speech_is_the_top_of_the_scale() -> None:
    x = bursts(5)
    assert pesq_score(x, x, "wb") == pytest.approx(4.6439, abs=1e-3)
    assert pesq_score(x, x, "nb") == pytest.approx(4.5486, abs=1e-3)


def test_modes_have_different_signatures(make_context: Callable[..., MetricContext]) -> None:
    a, b = (Pesq(PesqParams(mode=m), make_context()).signature() for m in ("wb", "nb"))
    assert a != b and metrics.get("pesq") is Pesq


@pytest.mark.parametrize("silent", [np.zeros(RATE), np.full(RATE, 0.5)])
def test_silence_is_undefined_never_zero(
    make_sample: MakeSample, make_context: Callable[..., MetricContext], silent: np.ndarray
) -> None:
    metric, speech = Pesq(PesqParams(), make_context()), bursts(2)[:RATE]
    for output, reference in ((silent, speech), (speech, silent), (silent, silent)):
        with pytest.raises(Undefined, match="no_utterance"):
            metric.score(make_sample(output, RATE, reference=reference))


def test_speech_too_short_for_an_utterance_is_undefined() -> None:
    with pytest.raises(Undefined, match="too_short"):
        pesq_score(bursts(1)[:3999], bursts(1)[:3999], "wb")


def test_truncation_does_not_look_better(make_sample: MakeSample, make_context: Callable[..., MetricContext]) -> None:
    x = bursts(8)
    noisy = x + 0.01 * np.random.default_rng(1).standard_normal(len(x))
    metric = Pesq(PesqParams(), make_context())
    full, half = (metric.score(make_sample(y, RATE, reference=x))["pesq.wb"] for y in (noisy, noisy[: len(noisy) // 2]))
    assert full.value is not None and half.value is not None and half.value < full.value
    assert half.detail["length_difference_s"] == pytest.approx(-2.4)


def test_utterances_are_counted_by_their_gaps() -> None:
    assert max_utterances(bursts(12)) == 12
    assert max_utterances(bursts(12, off_s=0.15)) == 1, "gaps up to 200 ms are joined"
    assert max_utterances(bursts(12, on_s=0.1)) == 0, "bursts under 200 ms do not count"
    quiet = bursts(6) * np.repeat([1.0, 0.05], len(bursts(3)))
    assert max_utterances(quiet) == 6, "some threshold finds the quiet ones too"


CRASHERS = {  # each of the first three kills a process that hands it to the C code
    "many utterances": ("np.tile(np.r_[rng.standard_normal(4800), np.zeros(4800)], 60)", "too_many_utterances"),
    "ten minutes": ("np.tile(np.r_[rng.standard_normal(4800), np.zeros(4800)], 1000)", "too_long"),
    "400 bursts": ("np.tile(np.r_[rng.standard_normal(3400), np.zeros(3400)], 200)", "too_many_utterances"),
    "an impulse": ("np.eye(1, 48000, 20000)[0]", "4.6"),
    "half a minute of noise": ("rng.standard_normal(30 * 16000)", "4.6"),
    "ten minutes of hum": ("np.sin(np.arange(600 * 16000) / 20)", "too_long"),
}


@pytest.mark.parametrize("name", CRASHERS)
def test_nothing_crashes_the_process(name: str) -> None:
    signal, expected = CRASHERS[name]
    code = (
        "import numpy as np\nfrom metis_bench.metrics.base import Undefined\n"
        "from metis_bench.metrics.pesq import pesq_score\nrng = np.random.default_rng(0)\n"
        f"x = {signal}\ntry:\n    print(pesq_score(x, x, 'wb'))\nexcept Undefined as reason:\n    print(reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)


def test_long_real_speech_is_scored(real: Path) -> None:
    files = sorted((real / "vctk").rglob("p226_*.flac"))[:5]
    speech = np.concatenate([load(f, RATE).samples for f in files])
    assert len(speech) > 30 * RATE and max_utterances(speech) <= MAX_UTTERANCES
    noisy = speech + 0.01 * np.random.default_rng(0).standard_normal(len(speech))
    assert 1.0 < pesq_score(speech, noisy, "wb") < 4.0
