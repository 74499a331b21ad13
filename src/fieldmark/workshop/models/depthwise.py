"""Depthwise convolutions whose backward pass is quick on CPU.

torch's kernels for CPU are quick for 3 x 3 windows, but the weight gradient of larger ones, and in bfloat16 the input
gradient of strided ones, fall back to code 10 to 90 times slower: 85 % of a training step of an EfficientNet. Here the
weight gradient of a k x k window is put together from 3 x 3 ones of the shifted input, and the input gradient of a
strided window is a plain convolution of the gradient spread out with zeros. Forward is torch's own.

N pictures, C channels, H x W positions in, h x w out, k x k window.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 3  # the window for which torch's kernels are quick
CHUNK_PICTURES = 8  # whose shifted copies stay in the processor's cache


@contextlib.contextmanager
def quick_depthwise(module: nn.Module) -> Iterator[None]:
    """Within this context the depthwise convolutions of `module` on CPU have the quick backward pass."""
    chosen = [part for part in module.modules() if isinstance(part, nn.Conv2d) and _is_slow(part)]
    for part in chosen:
        part.forward = partial(_forward, part)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for part in chosen:
            del part.forward


def _is_slow(part: nn.Conv2d) -> bool:
    """Whether `part` is a depthwise convolution whose backward pass is slow: a large window on CPU."""
    return (
        part.weight.device.type == "cpu"
        and part.groups == part.in_channels == part.out_channels
        and part.kernel_size[0] == part.kernel_size[1] > WINDOW
        and part.stride[0] == part.stride[1]
        and part.dilation == (1, 1)
        and part.padding_mode == "zeros"
    )


def _forward(conv: nn.Conv2d, x: Tensor) -> Tensor:
    weight, bias = conv.weight, conv.bias
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    left, right, top, bottom = _padding(conv, x.shape[2], x.shape[3])
    if left != right or top != bottom or left != top:
        x, left = F.pad(x, (left, right, top, bottom)), 0
    out: Tensor = _Depthwise.apply(x, weight, conv.stride[0], left)
    return out if bias is None else out + bias[:, None, None]


def _padding(conv: nn.Conv2d, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top and bottom; TensorFlow's "same" is what timm's Conv2dSame pads by itself."""
    k, stride = conv.kernel_size[0], conv.stride[0]
    if type(conv).__name__ == "Conv2dSame":
        across, down = (max(0, (-(-n // stride) - 1) * stride + k - n) for n in (width, height))
        return across // 2, across - across // 2, down // 2, down - down // 2
    if conv.padding == "same":
        return (k - 1) // 2, k // 2, (k - 1) // 2, k // 2
    p = 0 if isinstance(conv.padding, str) else int(conv.padding[0])
    return p, p, p, p


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        of_x = input_gradient(x, weight, grad, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = weight_gradient(x, weight, grad, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None, None


def input_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> Tensor:
    """Gradient [N, C, H, W] of x, from that of the output [N, C, h, w]; weight [C, 1, k, k]."""
    n, c, height, width = x.shape
    k = weight.shape[-1]
    if stride > 1:
        spread = grad.new_zeros((n, c, height + 2 * padding - k + 1, width + 2 * padding - k + 1))
        spread = spread.to(memory_format=torch.channels_last)
        spread[:, :, ::stride, ::stride] = grad
        grad = spread
    return F.conv2d(grad, weight.flip(2, 3), None, 1, k - 1 - padding, 1, c)


def weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int) -> Tensor:
    """Gradient [C, 1, k, k] of the weight, k >= 3."""
    k, (height, width) = weight.shape[-1], grad.shape[2:]
    starts = sorted({*range(0, k - WINDOW + 1, WINDOW), k - WINDOW})
    small = weight[:, :, :WINDOW, :WINDOW].contiguous()  # only its shape matters
    total = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
    for some, some_grad in zip(torch.split(x, CHUNK_PICTURES), torch.split(grad, CHUNK_PICTURES), strict=True):
        padded = F.pad(some, (padding,) * 4)
        part = torch.empty_like(total)
        for top in starts:
            rows = slice(top, top + stride * (height - 1) + WINDOW)
            for left in starts:
                columns = slice(left, left + stride * (width - 1) + WINDOW)
                shifted = padded[:, :, rows, columns].contiguous(memory_format=torch.channels_last)
                found = _convolution_weight_gradient(shifted, small, some_grad, stride)
                part[:, :, top : top + WINDOW, left : left + WINDOW] = found
        total += part
    return total.to(weight.dtype)


def _convolution_weight_gradient(x: Tensor, weight: Tensor, grad: Tensor, stride: int) -> Tensor:
    strides, none, one = [stride, stride], [0, 0], [1, 1]
    found = torch.ops.aten.convolution_backward(
        grad, x, weight, None, strides, none, one, False, none, x.shape[1], [False, True, False]
    )
    gradient: Tensor = found[1]
    return gradient
