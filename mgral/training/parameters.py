"""All trainable parameters of a detector as one tensor, and all their gradients as another."""

import torch
from torch import Tensor, nn


def flatten_parameters(module: nn.Module) -> nn.Parameter:
    """Gather trainable parameters, and zero gradients for them, into one parameter of which they become views.

    A small detector has dozens of parameters of a few hundred values: clearing, clipping and stepping them one by one
    costs more in calls than in arithmetic. The module must stay on its device afterwards, and gradients must be
    cleared in place (`zero_grad(set_to_none=False)`), or the views are lost.

    Returns
    -------
    [P] of the module's type and on its device, with its gradient; each part keeps the memory format of its parameter.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    sizes = [parameter.numel() for parameter in parameters]
    flat = nn.Parameter(parameters[0].new_empty(sum(sizes)))
    flat.grad = torch.zeros_like(flat)
    for parameter, values, gradients in zip(
        parameters, torch.split(flat.data, sizes), torch.split(flat.grad, sizes), strict=True
    ):
        view, gradient = (part.as_strided(parameter.shape, parameter.stride()) for part in (values, gradients))
        view.copy_(parameter.data)
        parameter.data, parameter.grad = view, gradient
    return flat


def clip_(gradients: Tensor, norm: float) -> None:
    """Shorten gradients [P] to a norm, as torch's `clip_grad_norm_` does in more calls."""
    gradients.mul_((norm / (gradients.norm() + 1e-6)).clamp(max=1))
