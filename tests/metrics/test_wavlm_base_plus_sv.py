"""The x-vector encoder, tiny, from folders as the hub has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metis_bench.config import WEIGHTS as WEIGHTS_FOLDER
from metis_bench.errors import MissingPrerequisite
from metis_bench.metrics.base import Clip, Undefined
from metis_bench.metrics.speakers.base import encoders
from metis_bench.metrics.speakers.wavlm_base_plus_sv import WEIGHTS, WavLMBasePlusSV, _model

MakeClip = Callable[[Any, int], Clip]


def network() -> Any:
    """A small WavLMForXVector of random weights."""
    from transformers import WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    return WavLMForXVector(
        WavLMConfig(
            conv_dim=(8,) * 7,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
            tdnn_dim=(12, 12, 12, 12, 20),
            xvector_output_dim=10,
            num_labels=3,
            use_weighted_layer_sum=True,
        )
    ).eval()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """The folder of the model, and the model."""
    from transformers import Wav2Vec2FeatureExtractor

    monkeypatch.setenv(WEIGHTS_FOLDER, str(tmp_path))
    _model.cache_clear()
    folder, model = tmp_path / WEIGHTS.name, network()
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder, model


def as_pickle(folder: Path, state: dict[str, torch.Tensor]) -> None:
    """The hub's file is a pickle with the older names of weight norm."""
    names = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for ours, theirs in names.items():
        state = {name.replace(ours, theirs): tensor for name, tensor in state.items()}
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink(missing_ok=True)


def voice(seconds: float = 1.0) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(int(seconds * 16_000)).astype(np.float32) * 0.1


@pytest.mark.parametrize("pickled", [False, True])
def test_equals_the_library(made: tuple[Path, Any], make_clip: MakeClip, pickled: bool) -> None:
    folder, model = made
    if pickled:
        as_pickle(folder, model.state_dict())
    samples = voice()
    normed = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    with torch.inference_mode():
        expected = model(torch.from_numpy(normed)[None]).embeddings[0].numpy()
    feature = WavLMBasePlusSV().extract(make_clip(samples, 16_000))
    np.testing.assert_allclose(feature, expected, atol=1e-5)  # type: ignore[arg-type]
    assert encoders.get("wavlm_base_plus_sv") is WavLMBasePlusSV


def test_a_part_of_a_model_is_refused(made: tuple[Path, Any], make_clip: MakeClip) -> None:
    """The library itself would go on with random parameters."""
    folder, model = made
    state = model.state_dict()
    as_pickle(folder, {name: tensor for name, tensor in state.items() if not name.startswith("objective.")})
    WavLMBasePlusSV().extract(make_clip(voice(), 16_000))
    for name, tensor in (("tdnn.2.kernel.weight", None), ("feature_extractor.bias", torch.zeros(3))):
        _model.cache_clear()
        changed = {k: v for k, v in state.items() if k != name}
        as_pickle(folder, changed if tensor is None else {**changed, name: tensor})
        with pytest.raises(MissingPrerequisite, match=name):
            WavLMBasePlusSV().extract(make_clip(voice(), 16_000))


def test_a_damaged_file_is_told(made: tuple[Path, Any], make_clip: MakeClip) -> None:
    folder, _ = made
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingPrerequisite, match="cannot be read"):
        WavLMBasePlusSV().extract(make_clip(voice(), 16_000))


def test_what_is_missing_is_told(made: tuple[Path, Any]) -> None:
    folder, _ = made
    WavLMBasePlusSV().check()
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingPrerequisite, match=r"lacks model.safetensors or pytorch_model.bin") as told:
        WavLMBasePlusSV().check()
    for part in ("CC BY-SA", "hf download microsoft/wavlm-base-plus-sv", str(folder)):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.zeros(16_000), "the audio is silent"), (voice(0.03), "0.030 s of audio is too short")],
)
def test_no_embedding(made: tuple[Path, Any], make_clip: MakeClip, samples: np.ndarray, reason: str) -> None:
    with pytest.raises(Undefined, match=reason):
        WavLMBasePlusSV().extract(make_clip(samples, 16_000))


def test_the_shortest_and_a_constant_clip_are_finite(made: tuple[Path, Any], make_clip: MakeClip) -> None:
    for samples in (voice(0.4), np.full(16_000, 0.3)):
        assert np.isfinite(WavLMBasePlusSV().extract(make_clip(samples, 16_000))).all()  # type: ignore[arg-type]


def test_signature(made: tuple[Path, Any]) -> None:
    folder, model = made
    first = WavLMBasePlusSV().signature()
    assert set(first["weights_sha256"]) == {"config.json", "preprocessor_config.json", "model.safetensors"}  # type: ignore[arg-type]
    with torch.no_grad():
        model.projector.bias += 1.0
    model.save_pretrained(folder)
    assert WavLMBasePlusSV().signature() != first
