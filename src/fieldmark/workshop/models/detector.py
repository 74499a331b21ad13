"""An anchor-free one-stage detector (FCOS, Tian et al. 2019) with a light pyramid (Lin et al. 2017) of depthwise
separable convolutions on a pretrained backbone.

N pictures, L classes, P positions of all levels together, C channels, h x w positions of a level.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.levels import Levels, plan_levels
from fieldmark.workshop.models.network import BaseNetwork

OUTPUTS = ("logits", "boxes")
STRIDES = (8, 16, 32)
CHANNELS = 96
WINDOW = 5
TOWER = 2  # convolutions before each answer
PRIOR = 0.01  # of a position to show any class, at the beginning
REACH = 4.0  # of a box's side from its position, in strides, at the beginning
MOST_EXPONENT = 5.0


def separable(channels: int, window: int = WINDOW) -> nn.Sequential:
    """A depthwise and a pointwise convolution, without a norm."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    )


class Pyramid(nn.Module):
    """Features of every level, [N, C, h, w] each, with what coarser levels know added to the finer ones."""

    def __init__(self, channels_in: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, channels, 1, bias=False), nn.BatchNorm2d(channels)) for c in channels_in
        )
        self.smooth = nn.ModuleList(
            nn.Sequential(separable(channels), nn.BatchNorm2d(channels), nn.SiLU()) for _ in channels_in
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        above: Tensor | None = None
        for i in reversed(range(len(features))):
            here = self.lateral[i](features[i])
            if above is not None:
                here = here + F.interpolate(above, size=here.shape[2:], mode="nearest")
            above = self.smooth[i](here)
            found.insert(0, above)
        return found


class Tower(nn.Module):
    """Convolutions that all levels share, with norms of their own (as Lyu et al. 2022), and an answer [N, A, h, w]."""

    def __init__(self, channels: int, answers: int, levels: int) -> None:
        super().__init__()
        self.mix = nn.ModuleList(separable(channels) for _ in range(TOWER))
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(TOWER)) for _ in range(levels))
        self.answer = nn.Conv2d(channels, answers, 1)
        nn.init.normal_(self.answer.weight, std=0.01)
        nn.init.zeros_(self.answer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, level: int) -> Tensor:
        norms = self.norms[level]
        for i, mix in enumerate(self.mix):
            x = F.silu(norms[i](mix(x)))  # type: ignore[index]
        found: Tensor = self.answer(x)
        return found


class Detector(BaseNetwork):
    """For every position the logits of its classes and the box around what it shows."""

    outputs = OUTPUTS
    exact = False

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        self.plan = plan_levels(backbone, STRIDES)
        self.pyramid = Pyramid(self.plan.channels, CHANNELS)
        self.naming = Tower(CHANNELS, n_classes, len(STRIDES))
        self.placing = Tower(CHANNELS, 4, len(STRIDES))
        nn.init.constant_(self.naming.answer.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]

    def trunk(self) -> nn.Module:
        return Levels(self.backbone.body, self.plan.indices)

    def read(self, features: Any) -> tuple[Tensor, Tensor]:
        """Logits [N, P, L] and boxes [N, P, 4], xyxy in pixels of the input, of the trunk's levels."""
        logits, boxes = [], []
        for level, x in enumerate(self.pyramid(list(features))):
            x = self.dropout(x)
            logits.append(self.naming(x, level).flatten(2).transpose(1, 2).float())
            sides = self.placing(x, level).flatten(2).transpose(1, 2).float()
            sides = self.plan.strides[level] * REACH * sides.clamp(-MOST_EXPONENT, MOST_EXPONENT).exp()
            middles = centres(x.shape[2], x.shape[3], self.plan.strides[level]).to(sides)
            boxes.append(torch.cat([middles - sides[..., :2], middles + sides[..., 2:]], -1))
        return torch.cat(logits, 1), torch.cat(boxes, 1)

    def describe(self) -> dict[str, Any]:
        return {"kind": "fcos", "strides": list(self.plan.strides), "channels": CHANNELS}


def centres(h: int, w: int, stride: int) -> Tensor:
    """The middles of h x w cells in pixels, [h * w, 2] as xy, row by row."""
    down, across = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return (torch.stack([across, down], -1).reshape(-1, 2) + 0.5) * stride
