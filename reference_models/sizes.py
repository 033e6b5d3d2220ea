"""Models of other sizes than the official ones: tiny ones, and those that a `*.config.json` describes.

Heads and strides cannot be read off tensors, so weights of another size, say `model.safetensors`, come with a
`model.config.json`: the fields of the model's configuration (`reference_models.config`) that differ from the official
one, as in {"transformer": {"hidden_size": 512, "num_layers": 8, "num_heads": 8}}. (One `config.json` a folder would not
do: some folders hold several models, and w2v-BERT's holds a `config.json` of transformers.)
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

from reference_models.config import (
    AcousticCodecConfig,
    Attention,
    BackboneConfig,
    FeaturesConfig,
    S2AConfig,
    SemanticCodecConfig,
    Stage1Config,
    TransformerConfig,
    VisualConfig,
)
from reference_models.errors import CheckpointError

Size: TypeAlias = Literal["tiny", "mini", "full"]
Config: TypeAlias = Stage1Config | S2AConfig | SemanticCodecConfig | AcousticCodecConfig | FeaturesConfig | VisualConfig
C = TypeVar("C", bound=Config)
Masked = TypeVar("Masked", Stage1Config, S2AConfig)

TINY_TRANSFORMER = TransformerConfig(hidden_size=64, num_layers=2, num_heads=4)
TINY_FEATURES = FeaturesConfig(
    hidden_size=32, num_layers=3, layer=2, num_heads=4, inner_dim=64, left_context=8, right_context=4
)
TINY_VISUAL = VisualConfig(dim=24, num_heads=4, inner_dim=48, num_layers=2, widths=(4, 4, 8, 8))

# The mini family: what a laptop trains and runs (`reference_models.mini`).
MINI_STAGE1 = TransformerConfig(hidden_size=160, num_layers=5, num_heads=4, mlp_ratio=2)
MINI_FIRST = TransformerConfig(hidden_size=160, num_layers=3, num_heads=4, mlp_ratio=2)
MINI_FINE = TransformerConfig(hidden_size=128, num_layers=3, num_heads=4, mlp_ratio=2)
MINI_FEATURES = FeaturesConfig(
    hidden_size=96, num_layers=3, layer=3, num_heads=4, inner_dim=192, left_context=16, right_context=8, conv_kernel=15
)
MINI_VISUAL = VisualConfig(dim=64, num_heads=4, inner_dim=128, num_layers=2, conv_kernel=15, widths=(8, 12, 16, 24))
MINI_SEMANTIC = SemanticCodecConfig(MINI_FEATURES.hidden_size, 256, 8, BackboneConfig(96, 192, 2))
MINI_ACOUSTIC = AcousticCodecConfig(16, (8, 5, 4, 3), 64, 4, 256, 8, BackboneConfig(160, 480, 5))
MINI_PHONES = 384  # rows of the phone table: 363 phones, and the last row for padding


def sized(config: C, size: Size) -> C:
    """The configuration itself (full), or of a family whose members fit together: tiny (official codebooks) or mini."""
    if size == "full":
        return config
    return cast(C, _tiny(config) if size == "tiny" else _mini(config))


def _tiny(config: Config) -> Config:
    match config:
        case Stage1Config():
            return _stage1(config, TINY_TRANSFORMER, TINY_FEATURES, TINY_VISUAL)
        case S2AConfig():
            return dataclasses.replace(config, transformer=TINY_TRANSFORMER)
        case SemanticCodecConfig():
            backbone = BackboneConfig(16, 32, 2)
            return dataclasses.replace(config, feature_dim=TINY_FEATURES.hidden_size, backbone=backbone)
        case AcousticCodecConfig():
            return dataclasses.replace(config, channels=4, latent_dim=16, backbone=BackboneConfig(32, 64, 2))
        case FeaturesConfig():
            return TINY_FEATURES
        case VisualConfig():
            return TINY_VISUAL


def _mini(config: Config) -> Config:
    match config:
        case Stage1Config():
            small = _stage1(config, MINI_STAGE1, MINI_FEATURES, MINI_VISUAL)
            return dataclasses.replace(small, codebook_size=MINI_SEMANTIC.codebook_size, phone_vocab=MINI_PHONES)
        case S2AConfig():
            return dataclasses.replace(
                config,
                transformer=MINI_FIRST if config.first_layer else MINI_FINE,
                num_quantizers=1 if config.first_layer else MINI_ACOUSTIC.num_quantizers,
                codebook_size=MINI_ACOUSTIC.codebook_size,
                semantic_size=MINI_SEMANTIC.codebook_size,
            )
        case SemanticCodecConfig():
            return MINI_SEMANTIC
        case AcousticCodecConfig():
            return MINI_ACOUSTIC
        case FeaturesConfig():
            return MINI_FEATURES
        case VisualConfig():
            return MINI_VISUAL


def _stage1(
    config: Stage1Config, transformer: TransformerConfig, features: FeaturesConfig, visual: VisualConfig
) -> Stage1Config:
    widths = {"none": config.condition_dim, "gated": features.hidden_size, "plain": visual.dim}
    return dataclasses.replace(config, transformer=transformer, condition_dim=widths[config.adapter])


def with_attention(config: Masked, attention: Attention) -> Masked:
    """The same model, computing attention in that way."""
    return dataclasses.replace(config, transformer=dataclasses.replace(config.transformer, attention=attention))


def config_beside(weights: Path, official: C) -> C:
    """`official`, changed by the `*.config.json` of `weights` if there is one.

    Errors: CheckpointError for unknown fields and impossible values
    """
    path = config_path(weights)
    if not path.is_file():
        return official
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return cast(C, _override(official, given, str(path)))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def config_path(weights: Path) -> Path:
    """Where the configuration of `weights` stands: model.safetensors -> model.config.json."""
    return weights.with_suffix(".config.json")


def write_config(weights: Path, config: Config, official: Config) -> None:
    """Describe what `weights` have other than the official ones; write nothing where that is nothing."""
    differing = _differing(config, official)
    if differing:
        text = json.dumps(differing, indent=2) + "\n"
        config_path(weights).write_text(text, encoding="utf-8")


def _differing(config: Any, official: Any) -> dict[str, Any]:
    pairs = [(f.name, getattr(config, f.name), getattr(official, f.name)) for f in dataclasses.fields(config)]
    return {
        name: _differing(ours, theirs) if dataclasses.is_dataclass(ours) else ours
        for name, ours, theirs in pairs
        if ours != theirs
    }


def _override(config: Any, given: Any, where: str) -> Any:
    kinds = get_type_hints(type(config))
    if not isinstance(given, dict):
        raise CheckpointError(f"{where} must be an object with fields of {type(config).__name__}")
    unknown = sorted(given.keys() - kinds.keys())
    if unknown:
        raise CheckpointError(
            f"{where}: {type(config).__name__} has no field '{unknown[0]}'", fix=f"its fields: {', '.join(kinds)}"
        )
    changes = {name: _value(getattr(config, name), kinds[name], v, f"{where}: {name}") for name, v in given.items()}
    return dataclasses.replace(config, **changes)


def _value(official: Any, kind: Any, given: Any, where: str) -> Any:
    if dataclasses.is_dataclass(official):
        return _override(official, given, where)
    if get_origin(kind) is Literal:
        fits = given in get_args(kind)
    elif isinstance(official, tuple):
        fits = isinstance(given, list) and all(type(v) is int and v > 0 for v in given) and len(given) > 0
        given = tuple(given) if fits else given
    elif isinstance(official, float):
        fits = type(given) in (int, float) and math.isfinite(given)
    else:
        fits = type(given) is type(official) and (isinstance(given, bool) or given > 0)
    if not fits:
        raise CheckpointError(f"{where} cannot be {given!r} (official: {official!r})")
    return given
