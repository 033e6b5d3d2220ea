"""Weights of every metric's network, tiny and random, in the real files' formats: contracts hold for any weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metis_bench.config import WEIGHTS


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of weights."""
    import torch
    from torchmetrics.functional.audio import nisqa as port
    from transformers import Wav2Vec2FeatureExtractor

    from tests.metrics import test_nisqa, test_utmos, test_wavlm_base_plus_sv, test_wavlm_large
    from tests.metrics.test_other_recognisers import tiny_hubert
    from tests.metrics.tiny_whisper import hf_whisper

    folder = tmp_path_factory.mktemp("tiny-weights")
    torch.manual_seed(0)
    state = port._NISQADIM(test_nisqa.SETTINGS).state_dict()
    torch.save({"args": test_nisqa.SETTINGS, "model_state_dict": state}, folder / "nisqa.tar")
    torch.save(test_utmos.random_state(test_utmos.TINY), folder / test_utmos.FILE)
    test_wavlm_large.write(folder, test_wavlm_large.random_state())
    base_plus = folder / "wavlm-base-plus-sv"
    test_wavlm_base_plus_sv.network().save_pretrained(base_plus)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(base_plus)
    hf_whisper(folder / "whisper-tiny")
    tiny_hubert(folder / "hubert-large-ls960-ft")
    return folder


@pytest.fixture(autouse=True)
def every_metric_has_weights(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And classes whose sizes are fixed expect the tiny ones."""
    from metis_bench.metrics.speakers.wavlm_large import WavLMLarge
    from metis_bench.metrics.utmos import Utmos
    from tests.metrics import test_utmos, test_wavlm_large

    monkeypatch.setenv(WEIGHTS, str(tiny_weights))
    monkeypatch.setattr(Utmos, "config", test_utmos.TINY)
    monkeypatch.setattr(WavLMLarge, "sizes", test_wavlm_large.TINY)
    yield
