"""What all detectors share: their outputs, the truth that they learn from, and a light pyramid of features.

N pictures, L classes, P positions (places, anchors or proposals), B boxes, C channels, h x w positions of a level.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation

from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.levels import Levels, plan_levels
from fieldmark.workshop.models.network import BaseNetwork

OUTPUTS = ("logits", "boxes")
STRIDES = (8, 16, 32)
WINDOW = 5


class Truth(NamedTuple):
    """Of each view: its true boxes [B, 4], xyxy in its pixels, their classes [B], and boxes of which it shows too
    little to be learned, [B, 4]."""

    boxes: list[Tensor]
    labels: list[Tensor]
    doubtful: list[Tensor]

    def to(self, device: Any) -> "Truth":
        return Truth(*([tensor.to(device) for tensor in part] for part in self))


class BoxNetwork(BaseNetwork):
    """Every position's logits [N, P, L], the log-odds of each class, and box [N, P, 4], xyxy in pixels of the input.

    A detector overrides `read` and `loss`, which is its own: it knows which position answers for which true box.
    """

    outputs = OUTPUTS
    exact = False
    kind: str

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.plan = plan_levels(backbone, STRIDES)

    def trunk(self) -> nn.Module:
        return Levels(self.backbone.body, self.plan.indices)

    def learn(self, features: Any, truth: Truth) -> tuple[Tensor]:
        return (self.loss(features, truth),)

    def loss(self, features: Sequence[Tensor], truth: Truth) -> Tensor:
        """The loss of the trunk's levels; a scalar."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "strides": list(self.plan.strides)}


def separable(channels: int, window: int = WINDOW) -> nn.Sequential:
    """A depthwise and a pointwise convolution, without a norm."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    )


class Pyramid(nn.Module):
    """Features of every level, [N, C, h, w] each, with what coarser levels know added to the finer ones (Lin et al.
    2017)."""

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


class Coarser(nn.Module):
    """The levels, and two more, each of half the side of the one before it."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(
                Conv2dNormActivation(c, channels, 1, activation_layer=nn.ReLU6),
                Conv2dNormActivation(channels, channels, 3, 2, groups=channels, activation_layer=nn.ReLU6),
                Conv2dNormActivation(channels, channels, 1, activation_layer=nn.ReLU6),
            )
            for c in (channels_in, channels)
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        found = list(levels)
        for step in self.steps:
            found.append(step(found[-1]))
        return found


def log_odds(logits: Tensor) -> Tensor:
    """Log-odds [..., L] of each class against all else, of softmax logits [..., 1 + L] whose first is the
    background."""
    chance = logits.log_softmax(-1)
    sure = chance > -0.693147  # more likely than not: one class at most, whose rest is summed without it
    rest = logits.masked_fill(sure, -torch.inf).logsumexp(-1, keepdim=True)
    odds = torch.where(sure, logits - rest, chance - torch.log1p(-chance.exp().clamp(max=0.5)))
    return odds[..., 1:]
