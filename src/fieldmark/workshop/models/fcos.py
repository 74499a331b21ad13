"""An anchor-free one-stage detector (FCOS, Tian et al. 2019) with a light pyramid (Lin et al. 2017) of depthwise
separable convolutions on a pretrained backbone.

N pictures, L classes, P positions of all levels together, C channels, h x w positions of a level.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss

from fieldmark.workshop.models.assign import assign, positions
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.boxes import STRIDES, BoxNetwork, Pyramid, Truth, separable
from fieldmark.workshop.recipe import Recipe

CHANNELS = 96
TOWER = 2  # convolutions before each answer
PRIOR = 0.01  # of a position to show any class, at the beginning
REACH = 4.0  # of a box's side from its position, in strides, at the beginning
MOST_EXPONENT = 5.0
BOX_WEIGHT = 2.0
Boxes = NDArray[np.float32]


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


class Encoded(NamedTuple):
    """Of every position: the class of its box, [N, P], L for none; its box, [N, P, 4]; whether it is asked, [N, P]."""

    label: Tensor
    box: Tensor
    asked: Tensor


class Fcos(BoxNetwork):
    """For every position the logits of its classes and the box around what it shows. Quality focal loss (Li et al.
    2020): a position's score is to be how well its box fits; GIoU loss of the box (Rezatofighi et al. 2019)."""

    kind = "fcos"

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        self.n_classes, self.gamma = n_classes, Recipe().loss.gamma
        self.pyramid = Pyramid(self.plan.channels, CHANNELS)
        self.naming = Tower(CHANNELS, n_classes, len(STRIDES))
        self.placing = Tower(CHANNELS, 4, len(STRIDES))
        nn.init.constant_(self.naming.answer.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        self._positions: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.int64]]] = {}

    def renew(self, recipe: Recipe) -> None:
        self.gamma = recipe.loss.gamma

    def read(self, features: Any) -> tuple[Tensor, Tensor]:
        logits, boxes = [], []
        for level, x in enumerate(self.pyramid(list(features))):
            x = self.dropout(x)
            logits.append(self.naming(x, level).flatten(2).transpose(1, 2).float())
            sides = self.placing(x, level).flatten(2).transpose(1, 2).float()
            sides = self.plan.strides[level] * REACH * sides.clamp(-MOST_EXPONENT, MOST_EXPONENT).exp()
            middles = centres(x.shape[2], x.shape[3], self.plan.strides[level]).to(sides)
            boxes.append(torch.cat([middles - sides[..., :2], middles + sides[..., 2:]], -1))
        return torch.cat(logits, 1), torch.cat(boxes, 1)

    def loss(self, features: Sequence[Tensor], truth: Truth) -> Tensor:
        height, width = (STRIDES[0] * side for side in features[0].shape[2:])
        return self.compare(self.read(features), self.encode(truth, (width, height)))

    def encode(self, truth: Truth, view_wh: tuple[int, int]) -> Encoded:
        """What every position of views of this size is to say."""
        if view_wh not in self._positions:
            self._positions[view_wh] = positions(view_wh, STRIDES)
        views = [[tensor.cpu().numpy() for tensor in part] for part in truth]
        places = self._positions[view_wh]
        rows = [self._encode_one(box, c, doubtful, places) for box, c, doubtful in zip(*views, strict=True)]
        label, box, asked = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        device = truth.boxes[0].device
        return Encoded(label.to(device), box.to(device), asked.to(device))

    def _encode_one(
        self,
        boxes: Boxes,
        classes: NDArray[np.int64],
        doubtful: Boxes,
        places: tuple[NDArray[np.float64], NDArray[np.int64]],
    ) -> tuple[NDArray[Any], ...]:
        middles, level = places
        answer = assign(boxes, middles, level, STRIDES)
        label = np.full(len(middles), self.n_classes, np.int64)
        box = np.zeros((len(middles), 4), np.float32)
        there = answer >= 0
        label[there], box[there] = classes[answer[there]], boxes[answer[there]]
        within = (middles[:, None] >= doubtful[None, :, :2]) & (middles[:, None] <= doubtful[None, :, 2:])
        return label, box, there | ~np.any(within.all(2), axis=1)

    def compare(self, outputs: Sequence[Tensor], encoded: Encoded) -> Tensor:
        """The loss of logits [N, P, L] and boxes [N, P, 4]."""
        logits, boxes = outputs
        there = encoded.label < self.n_classes
        count = there.sum().clamp(min=1)
        said, true = boxes[there], encoded.box[there]
        quality = _overlap(said.detach(), true)
        wanted = torch.zeros_like(logits)
        wanted[there] = F.one_hot(encoded.label[there], self.n_classes) * quality[:, None]
        chance = logits.sigmoid()
        focus = (wanted - chance).abs() ** self.gamma
        naming = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * focus
        naming = (naming.sum(2) * encoded.asked).sum() / count
        placing: Tensor = generalized_box_iou_loss(said, true, reduction="sum") / count
        return naming + BOX_WEIGHT * placing

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"channels": CHANNELS}


def centres(h: int, w: int, stride: int) -> Tensor:
    """The middles of h x w cells in pixels, [h * w, 2] as xy, row by row."""
    down, across = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return (torch.stack([across, down], -1).reshape(-1, 2) + 0.5) * stride


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [B, 4] with their partners, [B]."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return shared / union.clamp(min=1e-6)
