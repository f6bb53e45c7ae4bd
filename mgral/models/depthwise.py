"""Depthwise convolutions whose backward pass is fast on a processor.

torch leaves convolutions to oneDNN, which has fast code for most, but slow loops for two gradients of depthwise
convolutions: that of weights wider than three, and in bfloat16 that of the input at stride two. Without these loops
an EfficientNet-Lite0 trains twice as fast in bfloat16; see docs/decisions/047-fine-tuning-on-two-cores.md.
"""

from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn

FAST_WIDTH = 3
"""Width of depthwise weights whose gradient oneDNN computes fast; their height does not matter."""


class Depthwise(nn.Conv2d):
    """A depthwise convolution with the weights of another, and the same results."""

    def __init__(self, like: nn.Conv2d) -> None:
        """Take a convolution that `is_depthwise`."""
        channels, size, stride, padding = like.in_channels, like.kernel_size, like.stride, like.padding
        # On the device `meta` no weights are drawn, as they are there already.
        super().__init__(channels, channels, size, stride, padding, groups=channels, bias=False, device="meta")  # type: ignore[arg-type]
        self.weight = like.weight
        self._same = isinstance(like, Conv2dSame)

    def forward(self, values: Tensor) -> Tensor:
        """Convolve values [B, C, H, W]."""
        padding = self.padding
        if self._same:  # TensorFlow's padding: the end may get one more than the start
            values, padding = pad_same(values, list(self.kernel_size), list(self.stride)), (0, 0)
        if values.device.type != "cpu":
            return F.conv2d(values, self.weight, None, self.stride, padding, 1, self.groups)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            values, weight = values.to(dtype), weight.to(dtype)
        result: Tensor = _Convolve.apply(values, weight, self.stride, padding)
        return result


def is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a module is a depthwise convolution that `Depthwise` can replace."""
    return (
        isinstance(module, nn.Conv2d)
        and type(module) in (nn.Conv2d, Conv2dSame)  # others may make something of their weights first
        and module.groups == module.in_channels == module.out_channels > 1
        and (module.bias is None and not isinstance(module.padding, str) and module.padding_mode == "zeros")
        and (module.dilation == (1, 1) and module.kernel_size[1] >= FAST_WIDTH)
    )


def use_fast_depthwise(network: nn.Module) -> None:
    """Replace the depthwise convolutions of a network by `Depthwise`, in place; the weights keep their names."""
    for name, module in network.named_children():
        if is_depthwise(module):
            setattr(network, name, Depthwise(module))
        else:
            use_fast_depthwise(module)


class _Convolve(torch.autograd.Function):
    """A depthwise convolution by oneDNN, its gradients by the parts of oneDNN that are fast."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(values, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(values, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        values, weight = ctx.saved_tensors
        needs_values, needs_weight = ctx.needs_input_grad[:2]
        return (
            _values_gradient(gradient, values, weight, ctx.stride, ctx.padding) if needs_values else None,
            _weight_gradient(gradient, values, weight, ctx.stride, ctx.padding) if needs_weight else None,
            None,
            None,
        )


def _values_gradient(
    gradient: Tensor, values: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    dtype = torch.float32 if max(stride) > 1 else values.dtype
    like = torch.empty_like(values, dtype=dtype)  # whose size and layout are wanted, not its values
    wanted = [True, False, False]
    return _backward(gradient.to(dtype), like, weight.to(dtype), stride, padding, wanted)[0].to(values.dtype)


def _weight_gradient(
    gradient: Tensor, values: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return the gradient of the weights, computed for `FAST_WIDTH` of their columns at a time.

    If a map has fewer rows than the weights, its rows are padded first: oneDNN is slow if it has to pad them.
    """
    width, row_padding = weight.shape[3], padding[0] if values.shape[2] < weight.shape[2] else 0
    if width == FAST_WIDTH and row_padding == 0:
        return _backward(gradient, values, weight, stride, padding, [False, True, False])[1]
    padded = F.pad(values, (padding[1], padding[1], row_padding, row_padding))
    part_width = (gradient.shape[3] - 1) * stride[1] + FAST_WIDTH
    weight_gradient = torch.empty_like(weight)
    for start in (*range(0, width - FAST_WIDTH, FAST_WIDTH), width - FAST_WIDTH):
        part = padded[..., start : start + part_width]
        columns = weight[..., start : start + FAST_WIDTH]
        weight_gradient[..., start : start + FAST_WIDTH] = _backward(
            gradient, part, columns, stride, (padding[0] - row_padding, 0), [False, True, False]
        )[1]
    return weight_gradient


def _backward(
    gradient: Tensor,
    values: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, values, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return gradients
