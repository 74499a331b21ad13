"""Quick depthwise gradients are torch's own."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

import tests.training  # noqa: F401 - one thread for torch
from fieldmark.workshop.models.depthwise import input_gradient, quick_depthwise, weight_gradient


@given(
    st.sampled_from([3, 4, 5, 6, 7, 9]),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(9, 16),
    st.integers(9, 16),
    st.integers(1, 11),
    st.integers(1, 5),
)
@settings(deadline=None, max_examples=40)
def test_gradients_are_torchs_for_any_shape(k, stride, padding, height, width, n, channels):
    padding = min(padding, k - 1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, channels, height, width, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(channels, 1, k, k, generator=generator, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(x, weight, None, stride, padding, 1, channels)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    out.backward(grad)
    found = input_gradient(x.detach(), weight.detach(), grad, stride, padding)
    torch.testing.assert_close(found, x.grad)
    single = weight_gradient(x.detach(), weight.detach(), grad, stride, padding)
    torch.testing.assert_close(single, weight.grad, rtol=1e-4, atol=1e-4)  # summed in float32


CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(6, 6, 5, padding=2, groups=6),
    "strided": lambda: nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6, bias=False),
    "same": lambda: Conv2dSame(6, 6, 5, stride=2, groups=6, bias=False),
    "same by name": lambda: nn.Conv2d(6, 6, 7, padding="same", groups=6),
    "unpadded": lambda: nn.Conv2d(6, 6, 7, groups=6),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("side", [13, 14])
def test_a_module_gives_and_learns_the_same_within_the_context(name, side):
    torch.manual_seed(0)
    conv = CONVOLUTIONS[name]()
    x = torch.randn(9, 6, side, side + 1, requires_grad=True)

    def gradients():
        x.grad = None
        conv.zero_grad()
        out = conv(x)
        (out * torch.arange(out.numel()).reshape(out.shape).sin()).sum().backward()
        return [out.detach(), x.grad.clone(), *(p.grad.clone() for p in conv.parameters())]

    expected = gradients()
    with quick_depthwise(conv):
        assert "forward" in vars(conv)
        found = gradients()
    assert "forward" not in vars(conv)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 3, groups=6),
        nn.Conv2d(6, 12, 5, groups=6),
        nn.Conv2d(6, 6, 5),
        nn.Conv2d(6, 6, (5, 3), groups=6),
        nn.Conv2d(6, 6, 5, dilation=2, groups=6),
        nn.Conv2d(6, 6, 5, groups=6, padding=2, padding_mode="circular"),
    ],
)
def test_other_convolutions_are_left_alone(conv):
    with quick_depthwise(nn.Sequential(conv)):
        assert "forward" not in vars(conv)


def test_under_autocast_it_computes_in_bfloat16():
    conv = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    with quick_depthwise(conv), torch.autocast("cpu", torch.bfloat16):
        out = conv(torch.randn(2, 4, 9, 9))
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert conv.weight.grad.dtype == torch.float32
