"""The real code path over a small package with utmosv2's public API (v1.3.0); the model itself is not run here."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from metis_bench.config import WEIGHTS
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics import utmosv2 as module
from metis_bench.metrics.base import MetricContext, Undefined, metrics
from metis_bench.metrics.utmosv2 import FOLDS, Utmosv2, Utmosv2Params
from tests.metrics.conftest import MakeSample, Wave

RATE = 16_000


class FakeModel:
    """Draws as utmosv2/dataset does: numpy's global generator, tiled audio, silence removed where asked."""

    def __init__(self, fold: int) -> None:
        self.fold = fold
        self.calls: list[dict[str, Any]] = []

    def predict(self, *, data: np.ndarray, sr: int, num_repetitions: int, **options: Any) -> np.ndarray:
        self.calls.append({"num_repetitions": num_repetitions, **options})
        assert sr == RATE and data.dtype == np.float32 and data.ndim == 1
        assert options["num_workers"] == 0, "worker processes would draw from generators of their own"
        print("Predicting")
        if options["remove_silent_section"] and np.all(data < 0.1):
            data = data[:0]
        tiled = np.tile(data, 48_000 // data.shape[0] + 1)
        starts = [np.random.randint(0, len(tiled) - 40_000) for _ in range(num_repetitions)]
        torch.rand(1)
        draws = [float(np.abs(tiled[s : s + 40_000]).mean()) + s * 1e-6 for s in starts]
        return np.array([self.fold + np.mean(draws)], dtype=np.float32)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[FakeModel]:
    """`import utmosv2` gives the small package; all folds' files are in the user's folder."""
    models: list[FakeModel] = []

    def create_model(*, pretrained: bool, fold: int, checkpoint_path: Path, device: str) -> FakeModel:
        assert constants.HF_HUB_OFFLINE, "nothing may be downloaded"
        if checkpoint_path.read_bytes() == b"damaged":
            raise RuntimeError("Error(s) in loading state_dict")
        assert pretrained and checkpoint_path.name == f"fold{fold}_s42_best_model.pth" and device == "cpu"
        print(f"Loaded checkpoint from {checkpoint_path}")
        models.append(FakeModel(fold))
        return models[-1]

    fake = types.ModuleType("utmosv2")
    fake.__spec__ = importlib.machinery.ModuleSpec("utmosv2", None)
    fake.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "utmosv2", fake)
    monkeypatch.setattr(module, "require_package", lambda *_: "1.3.0")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(WEIGHTS, str(tmp_path))
    for fold in FOLDS:
        (tmp_path / f"fold{fold}_s42_best_model.pth").write_bytes(bytes([fold]))
    monkeypatch.setattr(module, "BACKBONES", {})
    module._model.cache_clear()
    return models


def build(context: MetricContext, **params: Any) -> Utmosv2:
    metric = Utmosv2(Utmosv2Params.model_validate({"device": "cpu", **params}), context)
    metric.check()
    return metric


def speechlike(seconds: float = 4.0, rate: int = RATE, level: float = 0.3) -> Wave:
    t = np.arange(int(seconds * rate)) / rate
    return np.asarray(level * np.sin(2 * np.pi * 200 * t) * np.sin(2 * np.pi * 0.7 * t), dtype=np.float32)


def value(metric: Utmosv2, samples: Wave, make_sample: MakeSample, rate: int = RATE) -> float:
    (score,) = metric.score(make_sample(samples, rate)).values()
    assert score.value is not None
    return score.value


def test_order_changes_nothing_and_the_seed_does(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    metric, other = build(make_context(), repetitions=3), build(make_context(), repetitions=3, seed=1)
    first, second = value(metric, speechlike(), make_sample), value(metric, speechlike(5.0), make_sample)
    np.random.standard_normal(11)
    assert value(metric, speechlike(5.0), make_sample) == second
    assert value(metric, speechlike(), make_sample) == first
    assert value(other, speechlike(), make_sample) != first
    assert metric.signature() != other.signature()


def test_global_generators_are_left_alone(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    np.random.seed(5)
    torch.manual_seed(5)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(5)
    torch.manual_seed(5)
    value(build(make_context()), speechlike(), make_sample)
    assert (np.random.random(), torch.rand(1)) == expected


def test_all_folds_are_averaged_and_parameters_are_passed_on(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    params = {"fold": "all", "repetitions": 5, "predict_dataset": "somos", "remove_silent_section": False}
    metric = build(make_context(), **params)
    score = metric.score(make_sample(speechlike(), RATE))[metric.columns[0].id]
    folds = score.detail["folds"]
    assert isinstance(folds, list) and [int(float(str(v))) for v in folds] == [0, 1, 2, 3, 4]
    assert score.value == pytest.approx(np.mean([float(str(v)) for v in folds]))
    assert [m.fold for m in package] == list(FOLDS)
    for model in package:
        (call,) = model.calls
        assert (call["num_repetitions"], call["predict_dataset"], call["remove_silent_section"]) == (5, "somos", False)
        assert call["batch_size"] == 1 and call["device"] == "cpu"


@pytest.mark.parametrize(
    ("params", "column"),
    [
        ({}, "utmosv2"),
        ({"device": "cuda", "fold": 0}, "utmosv2"),
        (
            {"fold": "all", "repetitions": 5, "remove_silent_section": False},
            "utmosv2.fold-all.repetitions-5.remove-silent-section-false",
        ),
        ({"predict_dataset": "blizzard2010-EH1", "seed": 3}, "utmosv2.predict-dataset-blizzard2010-eh1.seed-3"),
    ],
)
def test_the_column_says_what_is_not_the_default(params: dict[str, Any], column: str) -> None:
    assert Utmosv2Params.model_validate(params).column == column


def test_signature_holds_all_that_decides(
    package: list[FakeModel], make_context: Callable[..., MetricContext], tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"fold": 1},
        {"fold": "all"},
        {"repetitions": 5},
        {"predict_dataset": "bvcc"},
        {"seed": 7},
        {"remove_silent_section": False},
    ]
    signatures = [build(make_context(), **change).signature() for change in changes]
    assert all(a != b for i, a in enumerate(signatures) for b in signatures[:i])
    (tmp_path / "fold0_s42_best_model.pth").write_bytes(b"changed")
    assert build(make_context()).signature() != signatures[0]
    assert metrics.get("utmosv2") is Utmosv2
    for wrong in ({"fold": 5}, {"repetitions": 0}, {"predict_dataset": "vcc"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Utmosv2Params.model_validate(wrong)


def test_stdout_is_for_data(
    package: list[FakeModel],
    make_sample: MakeSample,
    make_context: Callable[..., MetricContext],
    capsys: pytest.CaptureFixture[str],
) -> None:
    value(build(make_context()), speechlike(), make_sample)
    captured = capsys.readouterr()
    assert captured.out == "" and "Loaded checkpoint" in captured.err


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 0.3), np.zeros(0)])
def test_nothing_wins_by_saying_nothing(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext], samples: Wave
) -> None:
    with pytest.raises(Undefined, match="silence"):
        build(make_context()).score(make_sample(samples, RATE))


def test_a_quiet_clip_of_which_nothing_is_left_is_undefined(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    quiet = speechlike(level=0.05)
    with pytest.raises(Undefined, match="too_quiet"):
        build(make_context()).score(make_sample(quiet, RATE))
    assert np.isfinite(value(build(make_context(), remove_silent_section=False), quiet, make_sample))


def test_short_clipped_and_other_rates_have_a_value(
    package: list[FakeModel], make_sample: MakeSample, make_context: Callable[..., MetricContext]
) -> None:
    metric = build(make_context(), remove_silent_section=False)
    for samples, rate in (
        (speechlike(0.03), RATE),
        (np.clip(speechlike(level=20), -1, 1), RATE),
        (speechlike(1.0, 48_000), 48_000),
    ):
        assert np.isfinite(value(metric, samples, make_sample, rate))


def test_what_is_missing_is_told(
    package: list[FakeModel],
    make_context: Callable[..., MetricContext],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "fold3_s42_best_model.pth").unlink()
    build(make_context(), fold=2)
    with pytest.raises(MissingPrerequisite, match=r"fold3_s42_best_model\.pth") as error:
        build(make_context(), fold="all")
    assert "sarulab-speech/UTMOSv2" in str(error.value.fix) and str(tmp_path) in str(error.value.fix)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingPrerequisite, match="GPU") as error:
        build(make_context(), device="cuda")
    assert "device: cpu" in str(error.value.fix)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingPrerequisite, match="'utmosv2', which is not installed") as error:
        build(make_context())
    assert "sarulab-speech/UTMOSv2" in str(error.value.fix)


def test_backbones_come_from_the_cache_only(
    package: list[FakeModel], make_context: Callable[..., MetricContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKBONES", {"nobody/no-such-model": ("config.json",)})
    with pytest.raises(
        MissingPrerequisite, match="nobody/no-such-model, which is not in the Hugging Face cache"
    ) as error:
        build(make_context())
    assert error.value.fix == "hf download nobody/no-such-model"


def test_damaged_weights_are_said_to_be(
    package: list[FakeModel],
    make_sample: MakeSample,
    make_context: Callable[..., MetricContext],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    metric = build(make_context())
    (tmp_path / "fold0_s42_best_model.pth").write_bytes(b"damaged")
    with pytest.raises(MissingPrerequisite, match=r"fold0_s42_best_model\.pth: utmosv2 cannot load its model"):
        value(metric, speechlike(), make_sample)
    assert constants.HF_HUB_OFFLINE is False, "only while the model is loaded"
