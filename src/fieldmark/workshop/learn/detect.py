"""Object detection in the workshop: boxes of views, the loss of a dense detector, and what validation decides.

N pictures, P positions of all levels together, L classes, M boxes kept of a picture, B boxes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.field.evaluate import detection as metrics
from fieldmark.field.evaluate.calibration import fit_platt
from fieldmark.field.tasks.detect import found_boxes, truth_rows
from fieldmark.geometry import plain
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn.assign import assign, positions, seen_in
from fieldmark.workshop.learn.base import Kept, Views
from fieldmark.workshop.learn.classify import check_classes
from fieldmark.workshop.models import Backbone, BaseNetwork
from fieldmark.workshop.models.detector import STRIDES, Detector
from fieldmark.workshop.recipe import Recipe

LOSSES = ("quality-focal",)
BOX_WEIGHT = 2.0
LEAST_SHARE = 0.35  # of a box that a view must show for it to be learned; what shows less is neither there nor not
LEAST_SIDE = 2.0  # pixels of the view
MOST_VALIDATED = 100  # boxes of a picture
LEAST_SCORE = 0.01  # of boxes that calibration looks at


class Encoded(NamedTuple):
    """Of every position: the class of its box, [N, P], L for none; its box, [N, P, 4]; whether it is asked, [N, P]."""

    label: Tensor
    box: Tensor
    asked: Tensor

    def to(self, device: Any) -> "Encoded":
        return Encoded(*(part.to(device) for part in self))


class Detect:
    """Quality focal loss (Li et al. 2020): a position's score is to be how well its box fits; GIoU loss of the box
    (Rezatofighi et al. 2019). Validation by mean average precision over all overlaps."""

    name = "detect"
    located = True
    notes: tuple[str, ...] = ()

    def __init__(self, classes: Sequence[str], recipe: Recipe) -> None:
        self.classes, self.recipe = tuple(classes), recipe
        self.number = {name: i for i, name in enumerate(self.classes)}
        self._positions: dict[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.int64]]] = {}

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "Detect":
        """For this data; DataError when no training picture has a box, MissingExtraError when none can be scored."""
        metrics.coco_library()  # missed now, not when all is learned
        classes = check_classes(index)
        if not classes:
            raise DataError("no training picture has a box; move some into the training part")
        return cls(classes, recipe)

    def network(self, backbone: Backbone) -> BaseNetwork:
        return Detector(backbone, len(self.classes))

    def targets(self, samples: Sequence[Sample]) -> NDArray[Any]:
        """True boxes [B, 5] of each sample with the class's number, as objects [N]."""
        found = np.empty(len(samples), object)
        found[:] = [truth_rows(s, self.number) for s in samples]
        return found

    def stored(self, samples: Sequence[Sample], preprocess: Preprocess) -> NDArray[np.float32]:
        """One row a box: the number of its picture, its class, and x0, y0, x1, y1 in the network's input."""
        from fieldmark.data.frame import read_frame

        rows = [np.zeros((0, 6))]
        for i, sample in enumerate(samples):
            known = truth_rows(sample, self.number)
            placed = plain(read_frame(sample.path).size_wh, preprocess).boxes(known[:, :4])
            rows.append(np.column_stack([np.full(len(known), i), known[:, 4], placed]))
        return np.concatenate(rows).astype(np.float32)

    def encode(self, targets: NDArray[Any], views: Views = ()) -> Encoded:
        rows = [self._encode_one(known, view) for known, view in zip(targets, views, strict=True)]
        label, box, asked = (np.stack(part) for part in zip(*rows, strict=True))
        return Encoded(torch.from_numpy(label), torch.from_numpy(box), torch.from_numpy(asked))

    def _encode_one(self, known: NDArray[np.float64], view: Any) -> tuple[NDArray[Any], ...]:
        wh = view.view_wh
        if wh not in self._positions:
            self._positions[wh] = positions(wh, STRIDES)
        middles, level = self._positions[wh]
        cut, share = seen_in(view.boxes(known[:, :4]), wh)
        large = (cut[:, 2:] - cut[:, :2] >= LEAST_SIDE).all(1)
        learned = (share >= LEAST_SHARE) & large
        boxes, classes = cut[learned], known[learned, 4]
        answer = assign(boxes, middles, level, STRIDES)
        label = np.full(len(middles), len(self.classes), np.int64)
        box = np.zeros((len(middles), 4), np.float32)
        there = answer >= 0
        label[there], box[there] = classes[answer[there]].astype(np.int64), boxes[answer[there]]
        doubtful = cut[~learned]
        within = (middles[:, None] >= doubtful[None, :, :2]) & (middles[:, None] <= doubtful[None, :, 2:])
        return label, box, there | ~np.any(within.all(2), axis=1)

    def loss(self, outputs: Sequence[Tensor], encoded: Encoded) -> Tensor:
        logits, boxes = outputs[0].float(), outputs[1].float()
        there = encoded.label < len(self.classes)
        count = there.sum().clamp(min=1)
        said, true = boxes[there], encoded.box[there]
        quality = _overlap(said.detach(), true)
        wanted = torch.zeros_like(logits)
        wanted[there] = F.one_hot(encoded.label[there], len(self.classes)) * quality[:, None]
        chance = logits.sigmoid()
        focus = (wanted - chance).abs() ** self.recipe.loss.gamma
        naming = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * focus
        naming = (naming.sum(2) * encoded.asked).sum() / count
        placing: Tensor = generalized_box_iou_loss(said, true, reduction="sum") / count
        return naming + BOX_WEIGHT * placing

    def weights(self, targets: NDArray[Any]) -> None:
        return None

    def keep(self, outputs: Sequence[Tensor], targets: NDArray[Any], views: Views) -> Kept:
        """The best boxes of each picture in its own pixels, [N, M, 6]."""
        logits, boxes = (part.float().cpu().numpy() for part in outputs[:2])
        rows = [found_boxes(*one, MOST_VALIDATED) for one in zip(logits, boxes, views, strict=True)]
        return np.stack(rows)

    def score(self, kept: Kept, targets: NDArray[Any]) -> dict[str, float]:
        """Mean average precision over all overlaps as the score to raise."""
        found = metrics.match(_rows(kept), list(targets), len(self.classes))
        scores = metrics.mean_precision(found)
        spread = float(np.sqrt(max(scores["map"] * (1 - scores["map"]), 0.0) / max(1, len(kept))))
        return {"score": scores["map"], "error": spread, **scores}

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """A higher score."""
        return new["score"] > old["score"]

    def settle(self, kept: Kept, targets: NDArray[Any]) -> dict[str, Any]:
        """How likely a box of a score is right, and from when on boxes are shown: the best F1."""
        found = metrics.match(_rows(kept), list(targets), len(self.classes), (metrics.HALF,))
        slope, offset = _line(found)
        chance = 1 / (1 + np.exp(-(slope * _logit(found.score) + offset)))
        calibrated = metrics.Matches(found.picture, found.label, chance, found.right, found.true)
        shown = metrics.best_threshold(calibrated) if len(targets) else 0.5
        return {
            "calibration": {"temperature": 1 / slope, "offset": offset},
            "thresholds": {"unsure_below": self.recipe.decide.unsure_below, "shown_from": round(shown, 6)},
        }


def _line(found: metrics.Matches) -> tuple[float, float]:
    """Slope and offset on the logit of a score (Platt 1999); of nothing, the score itself."""
    looked = found.score >= LEAST_SCORE
    right = found.right[looked, 0]
    if not right.any() or right.all():
        return 1.0, 0.0
    slope, offset = fit_platt(_logit(found.score[looked])[:, None], right[:, None])
    return (float(slope[0]), float(offset[0])) if slope[0] > 0 else (1.0, 0.0)


def _logit(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def _rows(kept: Kept) -> list[NDArray[np.floating]]:
    """The rows that hold a box, a table for each picture."""
    return [rows[rows[:, 4] > 0] for rows in kept]


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [B, 4] with their partners, [B]."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return shared / union.clamp(min=1e-6)
