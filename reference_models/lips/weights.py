"""What `vis_model.pth` and `vis_model.json` mean: two layouts of names and one kind of encoder, nothing lenient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from reference_models.config import VisualConfig
from reference_models.errors import CheckpointError, MissingCheckpoint

# The speech recogniser around the encoder, which lip-to-speech has no use for.
UNUSED = ("decoder.", "ctc.")
# Names of mpc001/Visual_Speech_Recognition_for_Multiple_Languages (e2e_asr_transformer.py), where the front end and the
# projection belong to the encoder -> names of mpc001/auto_avsr (e2e_asr_conformer.py), which are ours.
RENAMED = {"encoder.frontend.": "frontend.", "encoder.embed.0.": "proj_encoder."}
# What a conformer that we can build says of itself, by argument of that recogniser.
REQUIRED = {
    "transformer_input_layer": "conv3d",
    "transformer_encoder_attn_layer_type": "rel_mha",
    "macaron_style": True,
    "use_cnn_module": True,
}


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names for the tensors of a recogniser in either layout, without its decoder and CTC head.

    Every other name is kept, so that strict loading (`loading.load_into`) refuses what it does not know.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name.startswith(UNUSED):
            continue
        old = next((prefix for prefix in RENAMED if name.startswith(prefix)), None)
        new = name if old is None else RENAMED[old] + name.removeprefix(old)
        if new in ours:
            raise CheckpointError(f"the visual encoder's weights hold {new} twice, the second time as {name}")
        ours[new] = tensor
    return ours


def read_visual_config(path: str | Path) -> VisualConfig:
    """Sizes from a `vis_model.json`: ESPnet's arguments, alone or as the third of [idim, odim, arguments].

    Fails with `MissingCheckpoint` or `CheckpointError` (no JSON, an argument missing, an encoder of another kind).
    """
    path = Path(path)
    if not path.is_file():
        raise MissingCheckpoint(f"{path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
    arguments = content[2] if isinstance(content, list) and len(content) == 3 else content
    if not isinstance(arguments, dict):
        raise CheckpointError(f"{path}: holds neither ESPnet's arguments nor [idim, odim, arguments]")
    _check_kind(path, arguments)
    names = ("adim", "aheads", "eunits", "elayers", "cnn_module_kernel")
    sizes = {name: arguments.get(name) for name in names}
    wrong = [f"{name}={size!r}" for name, size in sizes.items() if type(size) is not int or size < 1]
    if wrong:
        raise CheckpointError(f"{path}: sizes must be whole numbers above 0, got {', '.join(wrong)}")
    dim, heads, inner, layers, kernel = (int(sizes[name] or 0) for name in names)
    if dim % heads or dim % 2 or kernel % 2 == 0:
        raise CheckpointError(f"{path}: no conformer has adim={dim}, aheads={heads}, cnn_module_kernel={kernel}")
    return VisualConfig(dim=dim, num_heads=heads, inner_dim=inner, num_layers=layers, conv_kernel=kernel)


def _check_kind(path: Path, arguments: dict[str, Any]) -> None:
    """Refuse the variants of that code base which have the same tensors but compute something else."""
    differing = [f"{name}={arguments.get(name)!r}" for name, value in REQUIRED.items() if arguments.get(name) != value]
    if arguments.get("rel_pos_type") is None:  # it then falls back to the old relative positions
        differing.append("rel_pos_type=None (the legacy relative positions)")
    if arguments.get("relu_type", "swish") != "swish":
        differing.append(f"relu_type={arguments['relu_type']!r}")
    if arguments.get("zero_triu"):
        differing.append("zero_triu=True")
    if differing:
        raise CheckpointError(f"{path}: describes another kind of visual encoder: {', '.join(differing)}")
