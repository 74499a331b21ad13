"""One-stage detectors of torchvision's parts that move anchors: SSDLite (Liu et al. 2016; Sandler et al. 2018) and
RetinaNet (Lin et al. 2017).

N pictures, L classes, P anchors of all levels together, A anchors of a position, B boxes, C channels.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import box_iou

from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.boxes import STRIDES, BoxNetwork, Coarser, Pyramid, Truth, log_odds

STEPS = (*STRIDES, 64, 128)  # strides, of the coarser levels too
SSD_CHANNELS = 128  # of the two coarser levels
SSD_RATIOS = (2, 3)
SSD_SCALES = (0.1, 0.95)  # the smallest and the largest default box, as shares of the input's sides
RETINA_CHANNELS = 64
GROUPS = 8  # of channels that are normalised together
ANCHOR = 3.0  # strides, the side of an anchor
OCTAVES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)


class Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """Anchors in float32 and at exact strides, whatever the input's sides and the features' precision."""

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__(tuple(tuple(ANCHOR * step * s for s in scales) for step in STEPS), (RATIOS,) * len(STEPS))

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors [P, 4] for every picture."""
        self.set_cell_anchors(torch.float32, feature_maps[0].device)
        sizes = [[int(side) for side in f.shape[2:]] for f in feature_maps]
        found = torch.cat(self.grid_anchors(sizes, [[step, step] for step in STEPS]))
        return [found] * len(image_list.image_sizes)


def images_of(levels: Sequence[Tensor], count: int = 1) -> ImageList:
    """What torchvision's parts ask of `count` pictures that these levels are of: their sizes."""
    first = levels[0]
    height, width = (STRIDES[0] * int(side) for side in first.shape[2:])
    return ImageList(torch.empty(1, 1, height, width, device=first.device), [(height, width)] * count)


def targets_of(truth: Truth, first: int) -> list[dict[str, Tensor]]:
    """The truth as torchvision takes it, the classes numbered from `first` on."""
    return [{"boxes": b, "labels": c + first} for b, c in zip(truth.boxes, truth.labels, strict=True)]


class Channels(nn.Identity):
    """Stands for the backbone in torchvision's detectors, whose levels come from ours."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


class _Anchored(BoxNetwork):
    """`inner` is torchvision's detector, of which head, anchors, matching and loss are used."""

    inner: Any

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What the head reads, a tensor for each of `STEPS`."""
        raise NotImplementedError

    def said(self, features: Sequence[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """The head's outputs, [N, P, ...], and the anchors [P, 4]."""
        levels = [self.dropout(level) for level in self.levels(features)]
        anchors = self.inner.anchor_generator(images_of(levels), [level[:1, :1].float() for level in levels])[0]
        return {name: value.float() for name, value in self.inner.head(levels).items()}, anchors

    def placed(self, moves: Tensor, anchors: Tensor) -> Tensor:
        """Boxes [N, P, 4] of what the head says about the anchors."""
        several = anchors.expand(moves.shape[0], -1, -1).reshape(-1, 4)
        found: Tensor = self.inner.box_coder.decode_single(moves.reshape(-1, 4), several)
        return found.reshape(moves.shape)


class SsdLite(_Anchored):
    """Softmax over background and classes at every default box; cross-entropy on all boxes that match and three times
    as many of the worst others, smooth L1 of the moves."""

    kind = "ssdlite"

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        channels = [*self.plan.channels, SSD_CHANNELS, SSD_CHANNELS]
        self.coarser = Coarser(self.plan.channels[-1], SSD_CHANNELS)
        low, high = SSD_SCALES
        boxes = DefaultBoxGenerator([list(SSD_RATIOS)] * len(STEPS), low, high, steps=list(STEPS))
        head = SSDLiteHead(channels, boxes.num_anchors_per_location(), 1 + n_classes, nn.BatchNorm2d)
        self.inner = SSD(nn.Identity(), boxes, (backbone.size, backbone.size), 1 + n_classes, head=head)

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        return self.coarser(features)  # type: ignore[no-any-return]

    def read(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        said, anchors = self.said(features)
        return log_odds(said["cls_logits"]), self.placed(said["bbox_regression"], anchors)

    def loss(self, features: Sequence[Tensor], truth: Truth) -> Tensor:
        said, anchors = self.said(features)
        matched = [self.inner.proposal_matcher(box_iou(b, anchors)) if len(b) else _none(anchors) for b in truth.boxes]
        losses = self.inner.compute_loss(targets_of(truth, 1), said, [anchors] * len(matched), matched)
        return torch.stack(list(losses.values())).sum()


class Retina(_Anchored):
    """A sigmoid for every class at every anchor of a pyramid; focal loss, L1 of the moves."""

    kind = "retinanet"

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        self.pyramid = Pyramid(self.plan.channels, RETINA_CHANNELS)
        self.coarser = Coarser(RETINA_CHANNELS, RETINA_CHANNELS)
        anchors = Anchors(OCTAVES)
        norm = partial(nn.GroupNorm, GROUPS)
        head = RetinaNetHead(RETINA_CHANNELS, anchors.num_anchors_per_location()[0], n_classes, norm)
        self.inner = RetinaNet(Channels(RETINA_CHANNELS), n_classes, anchor_generator=anchors, head=head)

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        return self.coarser(self.pyramid(list(features)))  # type: ignore[no-any-return]

    def read(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        said, anchors = self.said(features)
        return said["cls_logits"], self.placed(said["bbox_regression"], anchors)

    def loss(self, features: Sequence[Tensor], truth: Truth) -> Tensor:
        said, anchors = self.said(features)
        losses = self.inner.compute_loss(targets_of(truth, 0), said, [anchors] * len(truth.boxes))
        return torch.stack(list(losses.values())).sum()

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"channels": RETINA_CHANNELS}


def _none(anchors: Tensor) -> Tensor:
    """No box for any anchor, [P]."""
    return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
