"""The ConvNeXt stack against a formulation step by step."""

import torch

from reference_models.codecs.backbone import ConvNeXtBackbone
from reference_models.config import BackboneConfig


def conv7(x, weight, bias):
    """(T, in) to (T, out), zero beyond both ends; weight (out, in, 7)."""
    padded = torch.cat([x.new_zeros(3, x.shape[1]), x, x.new_zeros(3, x.shape[1])])
    return torch.stack([torch.einsum("ki,oik->o", padded[t : t + 7], weight) + bias for t in range(len(x))])


def norm(x, layer):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.weight + layer.bias


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def test_equals_the_formulas():
    torch.manual_seed(0)
    net = ConvNeXtBackbone(6, BackboneConfig(dim=8, inner_dim=16, num_layers=2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        x = torch.randn(9, 6)
        y = norm(conv7(x, net.embed.weight, net.embed.bias), net.norm)
        for block in net.convnext:
            depthwise = torch.diag_embed(block.dwconv.weight[:, 0].T).permute(1, 2, 0)  # (C, C, 7)
            z = norm(conv7(y, depthwise, block.dwconv.bias), block.norm)
            z = gelu(z @ block.pwconv1.weight.T + block.pwconv1.bias) @ block.pwconv2.weight.T + block.pwconv2.bias
            y = y + block.gamma * z
        expected = norm(y, net.final_layer_norm)
        assert torch.allclose(net(x[None])[0], expected, atol=1e-4)


def test_initial_scale_of_a_layer_is_one_over_their_number():
    net = ConvNeXtBackbone(6, BackboneConfig(8, 16, 5))
    assert all(torch.equal(block.gamma, torch.full((8,), 0.2)) for block in net.convnext)
    assert net.embed.bias.abs().max() == 0
