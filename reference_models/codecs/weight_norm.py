"""Convolutions with weight normalisation, under the key names of the official files (`weight_g`, `weight_v`).

torch's own `parametrizations.weight_norm` writes other names, and its older function is deprecated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.loading import unfilled


class WeightNormConv1d(nn.Module):
    """A 1-d convolution whose filters are `weight_g * weight_v / |weight_v|`, the norm taken per output channel."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, *, stride: int = 1, dilation: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        initial = nn.Conv1d(in_dim, out_dim, kernel).weight.detach()  # (out, in, kernel)
        self.weight_v = nn.Parameter(initial)
        self.weight_g = nn.Parameter(initial.norm(dim=(1, 2), keepdim=True))  # (out, 1, 1)
        self.bias = nn.Parameter(torch.zeros(out_dim))
        self.stride, self.dilation, self.padding = stride, dilation, padding

    @property
    def weight(self) -> Tensor:
        """The filters (out, in, kernel)."""
        # torch's own kernel, as the release: the same formula in two steps moves the encoder's latents by 2e-5
        return torch._weight_norm(self.weight_v, self.weight_g, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, T) to (B, out, T')."""
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)

    def folded(self) -> nn.Conv1d:
        """The same convolution with its filters computed once."""
        out_dim, in_dim, kernel = self.weight_v.shape
        with unfilled():  # the filters come from here, so none are drawn
            plain = nn.Conv1d(in_dim, out_dim, kernel, self.stride, self.padding, self.dilation)
        plain.weight = nn.Parameter(self.weight.detach(), requires_grad=self.weight_v.requires_grad)
        plain.bias = nn.Parameter(self.bias.detach(), requires_grad=self.bias.requires_grad)
        return plain


def fold_weight_norm(module: nn.Module) -> None:
    """Replace, in place, every weight-normed convolution below `module` by a plain one: for inference.

    Call it after the official weights are loaded: the folded module has `weight` where they have two tensors.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, WeightNormConv1d):
            setattr(module, name, child.folded())
        else:
            fold_weight_norm(child)
