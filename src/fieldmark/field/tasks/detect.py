"""Object detection: boxes, each with its class and how likely it is right.

N pictures, L classes, P positions, M boxes kept of a picture at most, B boxes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, boxed
from fieldmark.errors import DataError
from fieldmark.field.evaluate import detection as metrics
from fieldmark.field.evaluate.multilabel import sigmoid
from fieldmark.field.evaluate.overlap import overlap, suppress
from fieldmark.geometry import Geometry
from fieldmark.types import Prediction, Sample, Score

from .base import Guess, One, Outputs, TaskFacts
from .classify import UNSURE_BELOW

KEPT = "found"
MOST = metrics.MOST_FOUND
CANDIDATES = 500  # of a picture before suppression
LEAST = 0.01  # score
MOST_OVERLAP = 0.6  # of two boxes of a class that are of two things
ALIKE = 0.8  # overlap of two boxes that say the same
TINY = 1e-6
DIGITS = 1


class Detect:
    """The network gives every position's logits and box; the best of each thing are kept. `labels` has each class with
    the best of its boxes, `boxes` those shown: more likely right than the bundle's threshold; "unsure" where one of
    these is less likely right than `unsure_below`."""

    name = "detect"
    outputs = ("logits", "boxes")
    headline = "map50"
    fewest_classes = 1
    located = True
    least_alike = 0.97  # a box whose chance is at the threshold may be shown or not

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        return ()  # a table of boxes has rows of its own

    def select(self, index: Index) -> Index:
        return boxed(index)

    def check(self, samples: Sequence[Sample]) -> None:
        if not any(s.boxes is not None and len(s.boxes.labels) for s in samples):
            raise DataError("no picture of this data has a box; give a COCO, VOC or YOLO set or a table of boxes")

    def unfit(self, outputs: Outputs, n_classes: int) -> str:
        logits, boxes = outputs.get("logits"), outputs.get("boxes")
        if logits is None or boxes is None:
            return ""
        fits = logits.ndim == boxes.ndim == 3 and logits.shape[:2] == boxes.shape[:2]
        fits = fits and (logits.shape[2], boxes.shape[2]) == (n_classes, 4)
        return "" if fits else f"does not give a box and a logit for each of {n_classes} classes at every position"

    def keep(self, outputs: One, geometry: Geometry | None, facts: TaskFacts) -> One:
        """`found` [M, 6]: (x0, y0, x1, y1, score, class), best first, in pixels of the picture; rows of score 0 fill
        it up."""
        assert geometry is not None
        return {KEPT: found_boxes(outputs["logits"], outputs["boxes"], geometry)}

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        below, found = facts.thresholds.get("unsure_below", UNSURE_BELOW), []
        for path, rows in zip(paths, outputs[KEPT], strict=True):
            rows, chance = _rows(rows), probability(_rows(rows)[:, 4], facts)
            best = [chance[rows[:, 5] == c].max(initial=0.0) for c in range(len(facts.classes))]
            order = np.argsort(-np.array(best), kind="stable")
            labels = tuple(Score(facts.classes[c], float(best[c])) for c in order)
            shown = chance >= facts.thresholds.get("shown_from", UNSURE_BELOW)
            boxes = [_said(row, float(p), facts) for row, p in zip(rows[shown], chance[shown], strict=True)]
            unsure = bool((chance[shown] < below).any())
            found.append(Prediction(path, labels, unsure=unsure, extra={"boxes": boxes}))
        return found

    def truths(self, samples: Sequence[Sample], classes: Sequence[str]) -> list[NDArray[np.float64]]:
        """Of each sample its true boxes, [B, 5] with the class's number."""
        number = {name: i for i, name in enumerate(classes)}
        return [truth_rows(s, number) for s in samples]

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        unknown = sorted({label for s in samples for label in s.labels} - set(facts.classes))
        classes = [*facts.classes, *unknown]
        found, truth = [_rows(rows) for rows in outputs[KEPT]], self.truths(samples, classes)
        precisions = metrics.coco_precisions(found, truth, len(classes))
        there = np.isfinite(precisions[0])
        shown = [self._shown(rows, facts) for rows in found]
        matches, told = metrics.match(found, truth, len(classes)), metrics.match(shown, truth, len(classes), (0.5,))
        right, n_true = told.right[:, 0], told.true.sum(0)
        result: dict[str, Any] = {
            "n": len(samples),
            "boxes": int(n_true.sum()),
            "map50": float(precisions[0][there].mean()) if there.any() else 0.0,
            "map50_ci": metrics.map50_interval(matches),
            "map": float(precisions[:, there].mean()) if there.any() else 0.0,
            "precision": _share(right.sum(), len(right)),
            "recall": _share(right.sum(), n_true.sum()),
            "errors": metrics.error_kinds(shown, truth),
        }
        result["per_class"] = {}
        for c, name in enumerate(classes):
            mine = told.label == c
            result["per_class"][name] = {
                "n": int(n_true[c]),
                "ap50": _number(precisions[0][c]),
                "ap": _number(precisions[:, c].mean()),
                "precision": _share(right[mine].sum(), mine.sum()),
                "recall": _share(right[mine].sum(), n_true[c]),
            }
        return result | ({"unknown_classes": unknown} if unknown else {})

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """F1 of the boxes shown for each picture at half overlap; 1 where truth and answer are both empty."""
        classes = [*facts.classes, *sorted({label for s in samples for label in s.labels} - set(facts.classes))]
        shown = [self._shown(_rows(rows), facts) for rows in outputs[KEPT]]
        told = metrics.match(shown, self.truths(samples, classes), len(classes), (0.5,))
        n = len(samples)
        right = np.bincount(told.picture[told.right[:, 0]], minlength=n)
        either = np.bincount(told.picture, minlength=n) + told.true.sum(1)
        return np.where(either > 0, 2 * right / np.maximum(either, 1), 1.0)

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        return Guess("map50", 0.0, "showing no box at all")

    def alike(self, exact: Outputs, fast: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """The share of boxes shown by one that the other shows as well, in the same place and of the same class."""
        shares = []
        size = (10**6, 10**6)  # of no picture: the network's own pixels, not cut
        here = Geometry(size, size, (1, 0, 0, 0, 1, 0))
        for i in range(len(exact["logits"])):
            one, other = (
                self._shown(_rows(found_boxes(form["logits"][i], form["boxes"][i], here)), facts)
                for form in (exact, fast)
            )
            same = (overlap(one[:, :4], other[:, :4]) >= ALIKE) & (one[:, 5][:, None] == other[:, 5][None])
            either = len(one) + len(other)
            shares.append((same.any(1).sum() + same.any(0).sum()) / either if either else 1.0)
        return np.array(shares, np.float64)

    def _shown(self, rows: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.floating]:
        return rows[probability(rows[:, 4], facts) >= facts.thresholds.get("shown_from", UNSURE_BELOW)]


def found_boxes(
    logits: NDArray[np.floating], boxes: NDArray[np.floating], geometry: Geometry, most: int = MOST
) -> NDArray[np.float32]:
    """The best boxes of one picture, [M, 6], of logits [P, L] and boxes [P, 4] in the view; each position may name any
    number of classes."""
    flat = np.asarray(logits, np.float64).ravel()
    order = np.flatnonzero(flat >= np.log(LEAST / (1 - LEAST)))
    order = order[np.argsort(-flat[order], kind="stable")[:CANDIDATES]]
    places, classes = order // logits.shape[1], order % logits.shape[1]
    scores, placed = sigmoid(flat[order]), geometry.boxes_back(boxes[places])
    kept = suppress(placed, scores, classes, MOST_OVERLAP)[:most]
    found = np.zeros((most, 6), np.float32)
    found[: len(kept)] = np.column_stack([placed[kept], scores[kept], classes[kept]])
    return found


def probability(scores: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
    """How likely a box of this score is right: a line on its logit, fitted on validation (Platt 1999)."""
    p = np.clip(np.asarray(scores, np.float64), TINY, 1 - TINY)
    return sigmoid(np.log(p / (1 - p)) / facts.temperature + facts.offset)


def truth_rows(sample: Sample, number: dict[str, int]) -> NDArray[np.float64]:
    """The true boxes of a sample, [B, 5] with the class's number."""
    if sample.boxes is None:
        return np.zeros((0, 5))
    return np.column_stack([sample.boxes.xyxy, [number[label] for label in sample.boxes.labels]]).reshape(-1, 5)


def _rows(found: NDArray[np.floating]) -> NDArray[np.floating]:
    """The rows of a picture that hold a box."""
    return found[found[:, 4] > 0]


def _said(row: NDArray[np.floating], chance: float, facts: TaskFacts) -> dict[str, Any]:
    corners = [round(float(v), DIGITS) for v in row[:4]]
    return {"label": facts.classes[int(row[5])], "probability": round(chance, 6), "xyxy": corners}


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
