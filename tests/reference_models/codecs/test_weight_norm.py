"""Weight-normed convolutions: torch's own (deprecated) function is the oracle."""

import warnings

import torch
from torch import nn

from reference_models.codecs.weight_norm import WeightNormConv1d, fold_weight_norm


def ours_and_torch():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nn.utils.weight_norm(nn.Conv1d(4, 6, 5, stride=2, padding=4, dilation=2))
    with torch.no_grad():
        theirs.weight_g.mul_(torch.rand_like(theirs.weight_g) + 0.5)
    ours = WeightNormConv1d(4, 6, 5, stride=2, padding=4, dilation=2)
    ours.load_state_dict(theirs.state_dict())  # strict: the old key names
    return ours, theirs


def test_equals_torch_weight_norm():
    ours, theirs = ours_and_torch()
    x = torch.randn(2, 4, 33)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)


def test_starts_with_gain_equal_to_the_norm():
    conv = WeightNormConv1d(4, 6, 5)
    assert torch.allclose(conv.weight, conv.weight_v)


def test_gradients_equal_those_of_torch():
    ours, theirs = ours_and_torch()
    x = torch.randn(2, 4, 33)
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    assert torch.allclose(ours.weight_g.grad, theirs.weight_g.grad, rtol=1e-4, atol=1e-5)
    assert torch.allclose(ours.weight_v.grad, theirs.weight_v.grad, rtol=1e-4, atol=1e-5)


def test_folding_replaces_every_convolution_and_changes_no_output():
    ours, _ = ours_and_torch()
    net = nn.Sequential(ours, nn.Sequential(WeightNormConv1d(6, 2, 1))).eval()
    x = torch.randn(1, 4, 20)
    before = net(x)
    fold_weight_norm(net)
    assert not any(isinstance(part, WeightNormConv1d) for part in net.modules())
    assert torch.equal(net(x), before)
    assert sorted(net.state_dict()) == ["0.bias", "0.weight", "1.0.bias", "1.0.weight"]
    assert all(tensor.device.type == "cpu" for tensor in net.state_dict().values())
