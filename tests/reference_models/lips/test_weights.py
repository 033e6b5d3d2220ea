from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reference_models.config import VisualConfig
from reference_models.errors import CheckpointError, MissingCheckpoint
from reference_models.lips import VisualEncoder, encoder_weights, read_visual_config
from reference_models.loading import load_into
from reference_models.sizes import config_beside, config_path, write_config
from tests.reference_models.lips.formulas import SMALL, random_encoder

ARGUMENTS: dict[str, Any] = {
    "adim": 24,
    "aheads": 3,
    "eunits": 40,
    "elayers": 2,
    "cnn_module_kernel": 5,
    "transformer_input_layer": "conv3d",
    "transformer_encoder_attn_layer_type": "rel_mha",
    "rel_pos_type": "latest",
    "macaron_style": True,
    "use_cnn_module": 1,
    "dunits": 99,
}


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """A small recogniser under the names of auto_avsr."""
    recogniser = random_encoder().state_dict()
    recogniser |= {"decoder.embed.0.weight": torch.zeros(7, 24), "ctc.ctc_lo.bias": torch.zeros(7)}
    return recogniser


def loaded(weights: dict[str, Tensor]) -> VisualEncoder:
    """As `checkpoints` loads them."""
    encoder = VisualEncoder(SMALL)
    load_into(encoder, encoder_weights(weights), "vis_model.pth")
    return encoder.eval()


def older(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same under the names of the older code base."""
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith("frontend."):
            name = "encoder." + name
        elif name.startswith("proj_encoder."):
            name = name.replace("proj_encoder", "encoder.embed.0")
        renamed[name] = tensor
    return renamed


@torch.inference_mode()
def test_both_layouts_load(weights: dict[str, Tensor]) -> None:
    x = torch.randn(1, 3, 88, 88)
    expected = random_encoder()(x)
    assert any(name.startswith("encoder.frontend.trunk") for name in older(weights))
    for layout in (weights, older(weights)):
        assert torch.equal(loaded(layout)(x), expected)


@torch.inference_mode()
def test_narrower_encoders_say_so_beside_their_weights(tmp_path: Path) -> None:
    narrow, path = dataclasses.replace(SMALL, widths=(4, 6, 8, 10)), tmp_path / "vis_model.pth"
    write_config(path, narrow, VisualConfig())
    assert config_beside(path, VisualConfig()) == narrow
    encoder = random_encoder(narrow)
    stages = [encoder.state_dict()[f"frontend.trunk.layer{i}.1.conv2.weight"].shape[:2] for i in (1, 2, 3, 4)]
    assert stages == [(4, 4), (6, 6), (8, 8), (10, 10)] and encoder.proj_encoder.in_features == 10
    assert encoder(torch.randn(1, 3, 88, 88)).shape == (1, 3, 24)
    for widths in ("[4, 6, 8]", "[4, 6, 8, 0]", "[4, 6, 8, 10.5]", "4"):
        config_path(path).write_text(f'{{"widths": {widths}}}')
        with pytest.raises(CheckpointError, match="widths"):
            config_beside(path, VisualConfig())


def test_only_the_recogniser_is_skipped(weights: dict[str, Tensor]) -> None:
    ours = encoder_weights(older(weights) | {"surprise": torch.zeros(1)})
    assert set(ours) == set(random_encoder().state_dict()) | {"surprise"}


def test_other_tensors_are_refused(weights: dict[str, Tensor]) -> None:
    name = "encoder.encoders.1.self_attn.pos_bias_u"
    statistic = "frontend.trunk.layer1.0.bn1.running_var"
    with pytest.raises(CheckpointError, match=statistic):
        loaded({k: v for k, v in weights.items() if k != statistic})
    for extra in ("surprise", "encoder.encoders.2.norm_ff.weight", "frontend.trunk.layer1.0.relu1.weight"):
        with pytest.raises(CheckpointError, match=extra):
            loaded(weights | {extra: torch.zeros(64)})
    with pytest.raises(CheckpointError, match=name):
        loaded(weights | {name: torch.zeros(3, 9)})
    with pytest.raises(CheckpointError, match=r"proj_encoder\.bias twice"):
        loaded(weights | {"encoder.embed.0.bias": torch.zeros(24)})


@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: [80, 5049, a]])
def test_sizes_are_read(tmp_path: Path, wrap: Any) -> None:
    path = tmp_path / "vis_model.json"
    path.write_text(json.dumps(wrap(ARGUMENTS)))
    assert read_visual_config(path) == SMALL
    full = {"adim": 768, "aheads": 12, "eunits": 3072, "elayers": 12, "cnn_module_kernel": 31}
    path.write_text(json.dumps(wrap(ARGUMENTS | full)))
    assert read_visual_config(path) == VisualConfig()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rel_pos_type": None}, "legacy relative positions"),
        ({"transformer_encoder_attn_layer_type": "legacy_rel_mha"}, "legacy_rel_mha"),
        ({"transformer_input_layer": "conv1d"}, "conv1d"),
        ({"macaron_style": False}, "macaron_style"),
        ({"use_cnn_module": False}, "use_cnn_module"),
        ({"relu_type": "prelu"}, "prelu"),
        ({"zero_triu": True}, "zero_triu"),
        ({"adim": "24"}, "adim='24'"),
        ({"elayers": 0}, "elayers=0"),
        ({"eunits": None}, "eunits=None"),
        ({"aheads": 5}, "aheads=5"),
        ({"cnn_module_kernel": 4}, "cnn_module_kernel=4"),
    ],
)
def test_other_encoders_are_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    path = tmp_path / "vis_model.json"
    path.write_text(json.dumps(ARGUMENTS | change))
    with pytest.raises(CheckpointError, match=reason):
        read_visual_config(path)


def test_unreadable_configurations_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vis_model.json"
    with pytest.raises(MissingCheckpoint, match="no such file"):
        read_visual_config(path)
    for content, reason in [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "neither"),
        (b"3", "neither"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=reason):
            read_visual_config(path)
