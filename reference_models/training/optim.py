"""AdamW, learning rates as functions of the step, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reference_models.training.sharding import local

Schedule = Literal["constant", "inverse_sqrt", "cosine"]


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule.

    lr: the highest; warmup: steps of linear rise; schedule: what follows; final: share of `lr` at the end (cosine)
    clip: largest norm of the gradient, 0 for any; ema: decay of the moving average of weights, 0 for none
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup: int = 32_000
    schedule: Schedule = "inverse_sqrt"
    final: float = 0.05
    clip: float = 1.0
    ema: float = 0.0


def lr_factor(config: OptimConfig, step: int, steps: int) -> float:
    """Share of `config.lr` at a step (from 0) of `steps`."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "inverse_sqrt":
        return math.sqrt(max(1, config.warmup) / max(1, step + 1))
    gone = (step - config.warmup) / max(1, steps - config.warmup)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))


def adamw(parameters: Iterable[nn.Parameter], config: OptimConfig) -> torch.optim.AdamW:
    """Matrices decay; embeddings do too, gains and biases do not."""
    trained = list(parameters)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


class MovingAverage:
    """Weights averaged over steps, in fp32: what is exported when a recipe asks for it."""

    def __init__(self, trained: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().float().clone() for name, tensor in trained.items()}

    @torch.no_grad()
    def update(self, trained: Mapping[str, Tensor], step: int) -> None:
        """After a step (from 0). Early steps count less, so that the average does not remember the start."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages = [local(tensor) for tensor in self.weights.values()]
        torch._foreach_lerp_(averages, [local(trained[name].detach()).float() for name in self.weights], 1 - decay)

    @torch.no_grad()
    def load(self, trained: Mapping[str, Tensor]) -> None:
        """Into the weights."""
        for name, tensor in trained.items():
            local(tensor).copy_(local(self.weights[name]))
