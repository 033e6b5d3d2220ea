"""Frame-level conditions: noisy speech, a mixture, source speech or lips as vectors that are added to tokens.

Source: paper §3.4, `Amphion:models/tts/metis/metis_model.py` (SimpleAdapter), `metis.py` (video2semantic).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.config import Stage1Config
from reference_models.transformer import mlp


class GatedAdapter(nn.Module):
    """Linear, SiLU, Linear, times one learned gate that starts at 0: fine-tuning starts from the pre-trained model."""

    def __init__(self, condition_dim: int, width: int) -> None:
        super().__init__()
        self.in_linear = nn.Linear(condition_dim, 4 * width)
        self.out_linear = nn.Linear(4 * width, width)
        self.gate_scale = nn.Parameter(torch.zeros(1))

    def forward(self, condition: Tensor) -> Tensor:
        """(B, T, condition_dim) -> (B, T, width)."""
        return self.out_linear(F.silu(self.in_linear(condition))) * self.gate_scale  # type: ignore[no-any-return]


def make_adapter(config: Stage1Config) -> nn.Module:
    """The adapter that `config` names: zero-gated, or the plain MLP of lip to speech."""
    build = GatedAdapter if config.adapter == "gated" else mlp
    return build(config.condition_dim, config.transformer.hidden_size)


def to_token_rate(features: Tensor, factor: int = 2) -> Tensor:
    """Linear interpolation in time: (T, C) at 25 Hz -> (factor * T, C) at 50 Hz."""
    return F.interpolate(features.T[None], scale_factor=factor, mode="linear", align_corners=False)[0].T


def behind_prompt(features: Tensor, prompt_frames: int) -> Tensor:
    """Zeros for the prompt's frames, then the features: (T, C) -> (prompt_frames + T, C)."""
    return torch.cat([features.new_zeros(prompt_frames, features.shape[1]), features])
