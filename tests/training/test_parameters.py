"""Parameters as one tensor: training through it is training the module."""

import pytest
import torch
from torch import Tensor, nn

from mgral.training.parameters import clip_, flatten_parameters


def network() -> nn.Sequential:
    torch.manual_seed(0)
    # Without a bias before the normalisation: its gradient would be zero but for rounding, which Adam blows up.
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 2)
    )
    layers[4].bias.requires_grad_(False)
    return layers.to(memory_format=torch.channels_last)


def step(layers: nn.Module, parameters: list[nn.Parameter], images: Tensor) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        layers(images).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.01)
        optimizer.step()


def test_steps_of_the_one_tensor_are_steps_of_the_module():
    images = torch.randn(5, 3, 5, 5)
    one_by_one, flattened = network(), network()
    step(one_by_one, [p for p in one_by_one.parameters() if p.requires_grad], images)
    step(flattened, [flatten_parameters(flattened)], images)
    before = network().state_dict()
    for (name, expected), found in zip(one_by_one.named_parameters(), flattened.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
        assert torch.equal(found, before[name]) == (name == "4.bias")


def test_the_memory_format_stays():
    layers = network()
    flatten_parameters(layers)
    assert layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not layers[0].weight.is_contiguous()


@pytest.mark.parametrize("length", [0.0, 1.0, 5.0])
def test_gradients_are_clipped_as_torch_clips_them(length):
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = length * torch.tensor([0.6, -0.8])
    found = parameter.grad.clone()
    torch.nn.utils.clip_grad_norm_(parameter, 2.0)
    clip_(found, 2.0)
    torch.testing.assert_close(found, parameter.grad, rtol=0, atol=0)
