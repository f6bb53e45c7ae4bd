"""Depthwise convolutions: the same results and gradients as torch's own, and the same bytes again."""

import pytest
import timm
import torch
from timm.layers import Conv2dSame, StdConv2d
from torch import nn

from mgral.models.depthwise import Depthwise, is_depthwise, use_fast_depthwise


def values_and_gradients(convolution, values, kind):
    values = values.clone().requires_grad_()
    convolution.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        found = convolution(values)
    (found.float() * torch.linspace(-1, 1, found.shape[3])).sum().backward()
    return found.detach(), values.grad, convolution.weight.grad


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [3, 5, 7, (5, 4)])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("rows", [14, 3])
def test_results_and_gradients_are_those_of_torch(rows, same, size, stride, kind):
    torch.manual_seed(0)
    one = Conv2dSame if same else nn.Conv2d
    plain = one(16, 16, size, stride, 0 if same else 2, groups=16, bias=False)
    fast = Depthwise(plain)
    values = torch.randn(3, 16, rows, 11).contiguous(memory_format=torch.channels_last)
    exact = values_and_gradients(plain, values, torch.float32)
    found = values_and_gradients(fast, values, kind)
    assert torch.equal(found[0], values_and_gradients(plain, values, kind)[0])
    tolerance = 1e-5 if kind == torch.float32 else 0.02
    for one, other in zip(found, exact, strict=True):
        assert (one.float() - other).abs().max() <= tolerance * other.abs().max()
    assert found[1].dtype == found[2].dtype == torch.float32


def test_a_network_keeps_its_names_and_results():
    plain = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    fast = timm.create_model("tf_efficientnet_lite0", features_only=True).eval()
    wanted = [name for name, module in fast.named_modules() if is_depthwise(module)]
    assert len(wanted) == 16
    use_fast_depthwise(fast)
    assert [name for name, module in fast.named_modules() if isinstance(module, Depthwise)] == wanted
    assert list(fast.state_dict()) == list(plain.state_dict())
    fast.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 48)
    for found, expected in zip(fast(images), plain(images), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(8, 8, 3, groups=4, bias=False),
        nn.Conv2d(8, 16, 3, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 3, groups=8, bias=False, dilation=2),
        nn.Conv2d(8, 8, 3, groups=8, bias=False, padding="same"),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False, padding_mode="reflect"),
        nn.Conv2d(1, 1, 3, bias=False),
        StdConv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 8, 1, groups=8, bias=False),
    ],
)
def test_other_convolutions_stay_as_they_are(other):
    network = nn.Sequential(other)
    use_fast_depthwise(network)
    assert network[0] is other
