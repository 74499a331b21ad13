"""Networks that give class scores for every position: a backbone's features of four sizes, and a decoder that puts
them together at a quarter of the picture's side.

The decoders are those of segmentation-models-pytorch (U-Net, Ronneberger et al. 2015; FPN, Kirillov et al. 2019;
DeepLabV3+, Chen et al. 2018), narrow ones: all of them together cost less than the backbone.

N pictures, L classes, F features, h x w positions.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.errors import MissingExtraError, UsageError, unknown_name
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.levels import Levels, plan_levels
from fieldmark.workshop.models.network import BaseNetwork
from fieldmark.workshop.recipe import Recipe

STRIDES = (4, 8, 16, 32)  # pixels of the picture to one position of the features that decoders take
UNET_WIDTHS = (128, 64, 48)
FPN_WIDTH = 64
DEEPLAB_WIDTH = 96
ATROUS_RATES = (2, 4, 6)  # of features about ten positions wide
DROPOUT = 0.1


class UNet(nn.Module):
    """Each level upsampled and joined with the next larger one."""

    width = UNET_WIDTHS[-1]

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        decoder = _decoders("unet").UnetDecoder
        self.inner = decoder((0, *widths), UNET_WIDTHS, n_blocks=len(UNET_WIDTHS))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner([levels[0], *levels])  # type: ignore[no-any-return]  # the first is left out by the decoder


class FPN(nn.Module):
    """All levels at one width, added from the smallest on, and their sum."""

    width = FPN_WIDTH

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.inner = _decoders("fpn").FPNDecoder(list(widths), len(widths), FPN_WIDTH, FPN_WIDTH, DROPOUT)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner(list(levels))  # type: ignore[no-any-return]


class DeepLab(nn.Module):
    """The smallest level seen at several distances, upsampled and joined with the largest."""

    width = DEEPLAB_WIDTH

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        decoder = _decoders("deeplabv3").DeepLabV3PlusDecoder
        self.inner = decoder((0, 0, *widths), 5, DEEPLAB_WIDTH, ATROUS_RATES, 16, True, DROPOUT)
        factor = STRIDES[-1] // STRIDES[0]  # its own is that of a backbone whose last stage is dilated
        self.inner.up = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        return self.inner([levels[0], levels[0], *levels])  # type: ignore[no-any-return]  # it takes the third, the last


SEGMENTERS: Mapping[str, Callable[[Sequence[int]], nn.Module]] = {"unet": UNet, "fpn": FPN, "deeplabv3plus": DeepLab}


def _decoders(name: str) -> Any:
    try:
        return import_module(f"segmentation_models_pytorch.decoders.{name}.decoder")
    except ImportError as error:
        if not (error.name or "").startswith("segmentation_models_pytorch"):
            raise
        raise MissingExtraError("segmentation", "segment") from None


class SegmentNetwork(BaseNetwork):
    """Backbone, decoder and a linear map to `logits` [N, L, h, w], at a quarter of the input's side.

    UsageError for an unknown decoder, or a backbone that has no features at all `STRIDES`.
    """

    outputs = ("logits",)
    exact = False

    def __init__(self, backbone: Backbone, n_classes: int, decoder: str) -> None:
        super().__init__(backbone)
        if decoder not in SEGMENTERS:
            raise UsageError(unknown_name("segmenter", decoder, SEGMENTERS))
        if backbone.size % STRIDES[-1]:
            raise UsageError(f"segmentation needs pictures of a multiple of {STRIDES[-1]} px; set picture.size so")
        self.decoder_name = decoder
        self.levels = plan_levels(backbone, STRIDES)
        self.decoder = SEGMENTERS[decoder](self.levels.channels)
        width: Any = self.decoder.width
        self.head = nn.Conv2d(width, n_classes, 1)
        self.scene = nn.Linear(2 * self.levels.channels[-1], n_classes)

    def renew(self, recipe: Recipe) -> None:
        """Every class as likely at first."""
        for layer in (self.head, self.scene):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        return {"kind": "segmenter", "decoder": self.decoder_name}

    def trunk(self) -> nn.Module:
        return Levels(self.backbone.body, self.levels.indices)

    def read(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Logits [N, L, h, w] of the levels; to those of each position is added what the whole picture says of a class
        (as ParseNet, Liu et al. 2015), so that a defect's position needs less where the picture shows one."""
        coarsest = features[-1]
        scene = self.scene(torch.cat([coarsest.mean((2, 3)), coarsest.amax((2, 3))], 1))
        return (self.head(self.dropout(self.decoder(features))) + scene[:, :, None, None],)
