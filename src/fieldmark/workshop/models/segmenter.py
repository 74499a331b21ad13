"""A backbone's features of several sizes, and the decoders that put them together to class scores of every position.

The decoders are those of segmentation-models-pytorch (U-Net, Ronneberger et al. 2015; FPN, Kirillov et al. 2019;
DeepLabV3+, Chen et al. 2018), narrow ones: they end at a quarter of the picture's side, and cost about as much as the
backbone.

N pictures, L classes, F features, h x w positions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from fieldmark.errors import MissingExtraError, UsageError, unknown_name
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.cut import Cuttable, trace_body

STRIDES = (4, 8, 16, 32)  # pixels of the picture to one position of the features that decoders take
UNET_WIDTHS = (128, 64, 48)
FPN_WIDTH = 64
DEEPLAB_WIDTH = 96
ATROUS_RATES = (2, 4, 6)  # of features about ten positions wide
DROPOUT = 0.1


def trace_levels(backbone: Backbone) -> tuple[Cuttable, tuple[int, ...]]:
    """The backbone as a graph that gives the last features of each of `STRIDES`, [N, F, h, w], and their F.

    UsageError for one that cannot be traced or has no such features.
    """
    root, graph = trace_body(backbone)
    info = {row["reduction"]: row for row in getattr(backbone.body, "feature_info", ()) or ()}
    nodes = list(graph.nodes)
    found = [_last_of(nodes, info[s]["module"]) for s in STRIDES if s in info]
    if len(found) < len(STRIDES) or None in found:
        raise UsageError(
            f"backbone {backbone.name} gives no features at strides {', '.join(map(str, STRIDES))}; choose a "
            "convolutional one, such as tf_efficientnet_lite0 or resnet18"
        )
    output = nodes[-1]
    output.args = (tuple(found),)
    graph.eliminate_dead_code()
    return Cuttable.of(root, graph), tuple(int(info[s]["num_chs"]) for s in STRIDES)


def _last_of(nodes: Sequence[fx.Node], module: str) -> fx.Node | None:
    """The last node of a part of the body, by timm's name of it."""
    names = [str(node.target).removeprefix("body.") for node in nodes]
    inside = [i for i, name in enumerate(names) if nodes[i].op == "call_module" and f"{name}.".startswith(f"{module}.")]
    return nodes[inside[-1]] if inside else None


class UNet(nn.Module):
    """Each level upsampled and joined with the next larger one."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        decoder = _decoders("unet.decoder").UnetDecoder
        self.inner = decoder((0, *widths), UNET_WIDTHS, n_blocks=len(UNET_WIDTHS))
        self.width = UNET_WIDTHS[-1]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner([levels[0], *levels])  # type: ignore[no-any-return]  # the first is read for its size alone


class FPN(nn.Module):
    """All levels at one width, added from the smallest on, and their sum."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        decoder = _decoders("fpn.decoder").FPNDecoder
        self.inner = decoder(list(widths), len(widths), FPN_WIDTH, FPN_WIDTH, DROPOUT)
        self.width = FPN_WIDTH

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner(list(levels))  # type: ignore[no-any-return]


class DeepLab(nn.Module):
    """The smallest level seen at several distances, upsampled and joined with the largest."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        decoder = _decoders("deeplabv3.decoder").DeepLabV3PlusDecoder
        self.inner = decoder((0, 0, *widths), 5, DEEPLAB_WIDTH, ATROUS_RATES, 16, True, DROPOUT)
        factor = STRIDES[-1] // STRIDES[0]  # the decoder's own is for a backbone whose last stage is dilated
        self.inner.up = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
        self.width = DEEPLAB_WIDTH

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner([levels[0], levels[0], *levels])  # type: ignore[no-any-return]  # the third and the last


SEGMENTERS: Mapping[str, Callable[[Sequence[int]], Any]] = {"unet": UNet, "fpn": FPN, "deeplabv3plus": DeepLab}


def _decoders(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"segmentation_models_pytorch.decoders.{name}")
    except ImportError as error:
        if not (error.name or "").startswith("segmentation_models_pytorch"):
            raise
        raise MissingExtraError("segmentation", "segment") from None


def make_decoder(name: str, widths: Sequence[int]) -> Any:
    """The decoder of this name for levels with so many features; it has a `width`. UsageError for an unknown one."""
    if name not in SEGMENTERS:
        raise UsageError(unknown_name("segmenter", name, SEGMENTERS))
    return SEGMENTERS[name](widths)
