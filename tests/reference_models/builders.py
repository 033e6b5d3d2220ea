"""Official configurations (as the golden JSON files spell them) to ours, and replayed randomness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reference_models.acoustic import S2A
from reference_models.config import Adapter, Attention, S2AConfig, Stage1Config, TransformerConfig
from reference_models.stage1 import Stage1

M = TypeVar("M", bound=nn.Module)


class Replay:
    """Recorded uniform draws, in their order; `constant` instead when the recording has none."""

    def __init__(self, draws: list[Tensor], constant: float | None = None) -> None:
        self.draws = list(draws)
        self.constant = constant

    def _next(self, shape: tuple[int, ...]) -> Tensor:
        if self.constant is not None:
            return torch.full(shape, self.constant)
        drawn = self.draws.pop(0)
        assert drawn.shape == shape
        return drawn

    def tokens(self, ids: Tensor | None, shape: tuple[int, int, int]) -> Tensor:
        full = self._next(shape)
        return full if ids is None else full.gather(2, ids)

    def positions(self, shape: tuple[int, int]) -> Tensor:
        return self._next(shape)

    def fork(self, part: int) -> Replay:
        return self


def transformer_config(config: dict[str, Any], attention: Attention = "sdpa") -> TransformerConfig:
    return TransformerConfig(config["hidden_size"], config["num_layers"], config["num_heads"], attention=attention)


def stage1(config: dict[str, Any], adapter: Adapter, phones: bool, attention: Attention = "sdpa") -> Stage1:
    return Stage1(
        Stage1Config(
            transformer_config(config, attention),
            codebook_size=config["cond_codebook_size"],
            adapter=adapter,
            condition_dim=config.get("ft_cond_dim", 1024),
            phones=phones,
            phone_vocab=config.get("phone_vocab_rows", 1024),
            prompt_dropout=config["cfg_scale"],
        )
    ).eval()


def s2a(config: dict[str, Any], attention: Attention = "sdpa") -> S2A:
    return S2A(
        S2AConfig(
            transformer_config(config, attention),
            num_quantizers=config["num_quantizer"],
            codebook_size=config["codebook_size"],
            semantic_size=config["cond_codebook_size"],
            first_layer=config["predict_layer_1"],
            prompt_dropout=config["cfg_scale"],
        )
    ).eval()


def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Exactly the tensors that the model has, out of a file that may hold those of its variants."""
    names = set(model.state_dict())
    model.load_state_dict({k: v for k, v in weights.items() if k in names}, strict=True)


def tiny_stage1(adapter: Adapter = "gated", phones: bool = True, seed: int = 0) -> Stage1:
    """A small model whose weights are large enough for its tokens to depend on everything that goes in."""
    torch.manual_seed(seed)
    model = Stage1(Stage1Config(TransformerConfig(32, 2, 4), 64, adapter, 12, phones, 40)).eval()
    return stir(model)


def tiny_s2a(first_layer: bool, seed: int = 0) -> S2A:
    """As `tiny_stage1`: 4 codebooks, of which `first_layer` models know the first only."""
    torch.manual_seed(seed)
    config = S2AConfig(TransformerConfig(32, 2, 4), 4, 40, 64)
    return stir(S2A(replace(config, num_quantizers=1, first_layer=True) if first_layer else config).eval())


def stir(model: M) -> M:
    """Give every parameter a noticeable random value."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1.5 / max(1, parameter.shape[-1] if parameter.ndim > 1 else 4) ** 0.5)
    return model
