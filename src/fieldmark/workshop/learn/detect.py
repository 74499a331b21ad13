"""Object detection in the workshop: boxes of views, and what validation decides.

N pictures, L classes, M boxes kept of a picture, B boxes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index
from fieldmark.errors import DataError, UsageError
from fieldmark.field.evaluate import detection as metrics
from fieldmark.field.evaluate.calibration import fit_platt
from fieldmark.field.tasks.detect import found_boxes, truth_rows
from fieldmark.geometry import Geometry, plain
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn.base import Kept, Views
from fieldmark.workshop.learn.classify import check_classes
from fieldmark.workshop.models import Backbone, BaseNetwork
from fieldmark.workshop.models.assign import seen_in
from fieldmark.workshop.models.boxes import Truth
from fieldmark.workshop.models.detector import make_detector
from fieldmark.workshop.recipe import Recipe

LOSSES = ("quality-focal",)
LEAST_SHARE = 0.35  # of a box that a view must show for it to be learned; what shows less is neither there nor not
LEAST_SIDE = 2.0  # pixels of the view
MOST_VALIDATED = 100  # boxes of a picture
LEAST_SCORE = 0.01  # of boxes that calibration looks at


class Detect:
    """Boxes by the recipe's detector, which owns its loss; validation by mean average precision over all overlaps."""

    name = "detect"
    located = True
    notes: tuple[str, ...] = ()

    def __init__(self, classes: Sequence[str], recipe: Recipe) -> None:
        self.classes, self.recipe = tuple(classes), recipe
        self.number = {name: i for i, name in enumerate(self.classes)}

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "Detect":
        """For this data; DataError when no training picture has a box, UsageError for another detector's loss,
        MissingExtraError when none can be scored."""
        metrics.coco_library()  # missed now, not when all is learned
        detector = recipe.model.detector
        if recipe.loss.name != "auto" and detector != "fcos":
            raise UsageError(f"loss.name is for model.detector=fcos; {detector} has a loss of its own; leave it out")
        classes = check_classes(index)
        if not classes:
            raise DataError("no training picture has a box; move some into the training part")
        return cls(classes, recipe)

    def network(self, backbone: Backbone) -> BaseNetwork:
        return make_detector(self.recipe.model.detector, backbone, len(self.classes))

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

    def encode(self, targets: NDArray[Any], views: Views = ()) -> Truth:
        rows = [self._encode_one(known, view) for known, view in zip(targets, views, strict=True)]
        return Truth(*(list(part) for part in zip(*rows, strict=True)))

    def _encode_one(self, known: NDArray[np.float64], view: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        cut, share = seen_in(view.boxes(known[:, :4]), view.view_wh)
        learned = (share >= LEAST_SHARE) & (cut[:, 2:] - cut[:, :2] >= LEAST_SIDE).all(1)
        boxes = torch.from_numpy(cut.astype(np.float32))
        return boxes[learned], torch.from_numpy(known[learned, 4].astype(np.int64)), boxes[~learned]

    def loss(self, outputs: Sequence[Tensor], encoded: Truth) -> Tensor:
        """The network's own."""
        return outputs[0]

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
