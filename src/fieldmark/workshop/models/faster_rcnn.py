"""Faster R-CNN (Ren et al. 2015) of torchvision's parts: proposals, the features in each, and what they show.

N pictures, L classes, M proposals of a picture, P anchors of all levels together, C channels.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image, nms, roi_align
from torchvision.ops.poolers import initLevelMapper

from fieldmark.workshop.models.anchored import RATIOS, Anchors, Channels, images_of, targets_of
from fieldmark.workshop.models.backbone import Backbone
from fieldmark.workshop.models.boxes import STRIDES, BoxNetwork, Coarser, Pyramid, Truth, log_odds

CHANNELS = 96
HIDDEN = 256  # of the two layers that read a proposal
GRID = 7  # a side of a proposal's features
SAMPLES = 2  # a side of a cell of that grid
PROPOSED = 200  # proposals that are looked at in prediction
OF_A_LEVEL = 200  # before suppression
MOST_OVERLAP = 0.7  # of two proposals
TRAINED = 128  # proposals of a picture that are learned from, a quarter of them true


class FloatHead(RPNHead):  # type: ignore[misc]  # torchvision has no types
    """Its answers in float32: places in pixels need it."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, moves = super().forward(x)
        return [t.float() for t in logits], [t.float() for t in moves]


class FasterRcnn(BoxNetwork):
    """The `PROPOSED` best proposals of a picture: the log-odds of their classes, and the box that the most likely of
    these gives them. `inner` is torchvision's network, whose parts and losses are used as they are; only prediction is
    put together anew, with as many proposals for every picture and any number of pictures at a time."""

    kind = "faster-rcnn"
    ordered = False

    def __init__(self, backbone: Backbone, n_classes: int) -> None:
        super().__init__(backbone)
        self.pyramid = Pyramid(self.plan.channels, CHANNELS)
        self.coarser = Coarser(CHANNELS, CHANNELS)
        pool = MultiScaleRoIAlign([str(i) for i in range(len(STRIDES))], GRID, SAMPLES)
        pool.scales = [1 / stride for stride in STRIDES]
        bits = [stride.bit_length() - 1 for stride in STRIDES]
        pool.map_levels = initLevelMapper(bits[0], bits[-1], pool.canonical_scale, pool.canonical_level)
        self.inner = FasterRCNN(
            Channels(CHANNELS),
            rpn_anchor_generator=Anchors((1.0,)),
            rpn_head=FloatHead(CHANNELS, len(RATIOS)),
            rpn_pre_nms_top_n_train=OF_A_LEVEL,
            rpn_post_nms_top_n_train=2 * PROPOSED,
            rpn_nms_thresh=MOST_OVERLAP,
            box_roi_pool=pool,
            box_head=TwoMLPHead(CHANNELS * GRID**2, HIDDEN),
            box_predictor=FastRCNNPredictor(HIDDEN, 1 + n_classes),
            box_batch_size_per_image=TRAINED,
        )

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """What proposals are made from, [N, C, h, w] each, the first three for reading them too."""
        return [self.dropout(x) for x in self.coarser(self.pyramid(list(features)))]

    def read(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        levels = self.levels(features)
        proposed = self.propose(levels)
        heads = self.inner.roi_heads
        logits, moves = heads.box_predictor(heads.box_head(self.pooled(levels[: len(STRIDES)], proposed)))
        odds = log_odds(logits.float())
        moved = heads.box_coder.decode_single(moves.float(), proposed.reshape(-1, 4)).unflatten(1, (-1, 4))
        best = 1 + odds.argmax(1)[:, None, None]  # the first is the background's
        boxes = moved.gather(1, best.expand(-1, 1, 4)).reshape(proposed.shape)
        return odds.reshape(*proposed.shape[:2], -1), boxes

    def propose(self, levels: Sequence[Tensor]) -> Tensor:
        """The most likely things of each picture, [N, M, 4], first those that no better one overlaps."""
        images, n = images_of(levels), levels[0].shape[0]
        size = images.image_sizes[0]
        likely, moves = self.inner.rpn.head(levels)
        chosen, start = [], 0
        for level in likely:
            count = int(level[0].numel())
            best = level.permute(0, 2, 3, 1).flatten(1).topk(min(OF_A_LEVEL, count)).indices
            chosen.append(best + start)
            start += count
        places = torch.cat(chosen, 1)
        flat, moves = concat_box_prediction_layers(likely, moves)
        score = flat.reshape(n, -1).gather(1, places).sigmoid()
        anchors = self.inner.rpn.anchor_generator(images, levels)[0]
        spread = places[..., None].expand(-1, -1, 4)
        boxes: Tensor = self.inner.rpn.box_coder.decode_single(
            moves.reshape(n, -1, 4).gather(1, spread).reshape(-1, 4), anchors[places.reshape(-1)]
        )
        boxes = clip_boxes_to_image(boxes, size).reshape(n, -1, 4)
        kept = _suppress(boxes, score, max(size))
        dropped = torch.ones_like(score).reshape(-1).scatter(0, kept, 0.0).reshape(score.shape)
        best = (score - dropped).topk(min(PROPOSED, score.shape[1])).indices
        return boxes.gather(1, best[..., None].expand(-1, -1, 4))

    def pooled(self, levels: Sequence[Tensor], proposed: Tensor) -> Tensor:
        """The features in each proposal, [N * M, C, GRID, GRID], of the level for its size: what torchvision's
        MultiScaleRoIAlign gives, for any number of pictures."""
        pool, (n, m) = self.inner.roi_heads.box_roi_pool, proposed.shape[:2]
        flat = proposed.reshape(-1, 4)
        picture = torch.arange(n, device=flat.device)[:, None].expand(n, m).reshape(-1, 1)
        rows = torch.cat([picture.to(flat), flat], 1)
        mine = pool.map_levels([flat])[:, None, None, None]
        found = torch.zeros(())
        for i, (level, scale) in enumerate(zip(levels, pool.scales, strict=True)):
            here: Tensor = roi_align(level.float(), rows, pool.output_size, scale, pool.sampling_ratio)
            found = torch.where(mine == i, here, found.to(here))
        return found

    def loss(self, features: Sequence[Tensor], truth: Truth) -> Tensor:
        levels = self.levels(features)
        images, targets = images_of(levels, len(truth.boxes)), targets_of(truth, 1)
        named = OrderedDict((str(i), level.float()) for i, level in enumerate(levels))
        proposed, first = self.inner.rpn(images, named, targets)
        _, second = self.inner.roi_heads(named, proposed, images.image_sizes, targets)
        return torch.stack([*first.values(), *second.values()]).sum()

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"channels": CHANNELS, "proposals": PROPOSED}


def _suppress(boxes: Tensor, score: Tensor, side: int) -> Tensor:
    """The places of proposals that no better one of their picture overlaps, among all [N * P], of boxes [N, P, 4]
    within `side` and scores [N, P]."""
    n, places = boxes.shape[:2]
    picture = torch.arange(n, device=boxes.device)[:, None].expand(n, places)
    flat, scores = boxes.reshape(-1, 4), score.reshape(-1)
    if not torch.onnx.is_in_onnx_export():
        return batched_nms(flat, scores, picture.reshape(-1), MOST_OVERLAP)  # type: ignore[no-any-return]
    beside = boxes + picture[..., None] * (1.0 + side)  # one suppression for any number of pictures, side by side
    return nms(beside.reshape(-1, 4), scores, MOST_OVERLAP)  # type: ignore[no-any-return]
