"""Boxes found against true boxes: average precision, its interval over pictures, and what kinds of errors there are.

N pictures, L classes, D boxes found in all pictures, B boxes of one picture, T overlaps that count as found, R
resamples. A row of found boxes is (x0, y0, x1, y1, score, class), of true boxes (x0, y0, x1, y1, class).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import MissingExtraError

from .overlap import overlap

OVERLAPS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))  # COCO's
RECALLS = np.linspace(0, 1, 101)
HALF, LITTLE = 0.5, 0.1  # overlaps: of a box that is right, and of one that has anything to do with a true one
RESAMPLES = 500
MOST_FOUND = 300  # boxes a picture
ERRORS = ("class", "localisation", "both", "duplicate", "background", "missed")
Found = NDArray[np.floating]  # [B, 6]
Truth = NDArray[np.floating]  # [B, 5]


@dataclass(frozen=True)
class Matches:
    """Every box found, with its picture, class and score, [D], and whether it is right at each overlap, [D, T]; `true`
    boxes by picture and class, [N, L]."""

    picture: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    true: NDArray[np.int64]


def match(
    found: Sequence[Found], truth: Sequence[Truth], n_classes: int, overlaps: Sequence[float] = OVERLAPS
) -> Matches:
    """Each box found goes, best score first, to the true one of its class that it overlaps most of those left."""
    n, bounds = len(truth), np.array(overlaps)
    true = np.zeros((n, n_classes), np.int64)
    rows: list[NDArray[np.float64]] = []
    rights: list[NDArray[np.bool_]] = []
    for i, (boxes, known) in enumerate(zip(found, truth, strict=True)):
        np.add.at(true[i], known[:, 4].astype(int), 1)
        boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
        right = np.zeros((len(boxes), len(bounds)), bool)
        for c in np.unique(boxes[:, 5]):
            mine, theirs = np.flatnonzero(boxes[:, 5] == c), known[known[:, 4] == c]
            right[mine] = _assigned(overlap(boxes[mine, :4], theirs[:, :4]), bounds)
        rows.append(np.column_stack([np.full(len(boxes), i), boxes[:, 5], boxes[:, 4]]))
        rights.append(right)
    table = np.concatenate(rows) if rows else np.zeros((0, 3))
    kinds = table[:, :2].astype(np.int64)
    right = np.concatenate(rights) if rights else np.zeros((0, len(bounds)), bool)
    return Matches(kinds[:, 0], kinds[:, 1], table[:, 2], right, true)


def _assigned(shared: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which found boxes (rows, best first) get a true one (columns) at each bound, [rows, T]."""
    right = np.zeros((len(shared), len(bounds)), bool)
    if not shared.shape[1]:
        return right
    free = np.ones((len(bounds), shared.shape[1]), bool)
    for i, row in enumerate(shared):
        left = np.where(free, row[None], -1.0)  # [T, B]
        best = left.argmax(1)
        right[i] = left.max(1) >= np.minimum(bounds, 1 - 1e-10)
        free[right[i], best[right[i]]] = False
    return right


def average_precision(found: Matches, which: int = 0) -> NDArray[np.float64]:
    """Of every class at overlap number `which`, [L]; NaN for a class without a true box."""
    return np.asarray(_precisions(found, which, np.ones((1, len(found.true))))[0])


def _precisions(found: Matches, which: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision [R, L], by COCO's 101 points, where pictures count `weights` [R, N] times."""
    result = np.full((len(weights), found.true.shape[1]), np.nan)
    for c in range(found.true.shape[1]):
        mine = np.flatnonzero(found.label == c)
        mine = mine[np.argsort(-found.score[mine], kind="stable")]
        there = weights @ found.true[:, c]  # [R]
        counts = weights[:, found.picture[mine]]  # [R, D]
        right = np.cumsum(counts * found.right[mine, which], 1)
        said = np.cumsum(counts, 1)
        precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
        precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        for r in np.flatnonzero(there > 0):
            places = np.searchsorted(right[r] / there[r], RECALLS, side="left")
            result[r, c] = np.where(places < len(mine), np.append(precision[r], 0)[places], 0).mean()
    return result


def mean_precision(found: Matches) -> dict[str, float]:
    """`map50` and `map`, the means over classes with true boxes at half overlap and over all overlaps."""
    by_overlap = [average_precision(found, t) for t in range(found.right.shape[1])]
    known = np.isfinite(by_overlap[0])
    if not known.any():
        return {"map50": 0.0, "map": 0.0}
    return {"map50": float(by_overlap[0][known].mean()), "map": float(np.mean([p[known].mean() for p in by_overlap]))}


def map50_interval(found: Matches, seed: int = 0) -> list[float] | None:
    """The 95 % interval of `map50` over resampled pictures; None without a true box."""
    n = len(found.true)
    if not found.true.any():
        return None
    rng = np.random.default_rng(seed)
    weights = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(RESAMPLES)]).astype(np.float64)
    by_class = _precisions(found, 0, weights)
    means = [row[np.isfinite(row)].mean() for row in by_class if np.isfinite(row).any()]
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def best_threshold(found: Matches) -> float:
    """The score from which boxes are best shown: highest F1 over all classes at half overlap; 0.5 without any."""
    order = np.argsort(-found.score, kind="stable")
    right = np.cumsum(found.right[order, 0])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + max(1, int(found.true.sum())))
    if not len(f1) or not f1.max() > 0:
        return 0.5
    best = int(f1.argmax())
    after = found.score[order[best + 1]] if best + 1 < len(order) else 0.0
    return float((found.score[order[best]] + after) / 2)


def error_kinds(found: Sequence[Found], truth: Sequence[Truth]) -> dict[str, int]:
    """How many of the boxes found are wrong, and why, and how many true ones are missed (Bolya et al. 2020).

    "class": on a true box of another class; "localisation": beside one of its own; "both"; "duplicate": on one that a
    better box has; "background": on nothing; "missed": true boxes that no right, class or localisation one stands for.
    """
    counts = dict.fromkeys(ERRORS, 0)
    for boxes, known in zip(found, truth, strict=True):
        boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
        shared = overlap(boxes[:, :4], known[:, :4])
        same = boxes[:, 5][:, None] == known[:, 4][None]
        covered = np.zeros(len(known), bool)
        taken = np.zeros(len(known), bool)
        for i in range(len(boxes)):
            own, other = np.where(same[i], shared[i], 0.0), np.where(same[i], 0.0, shared[i])
            free = np.where(taken, 0.0, own)
            if free.max(initial=0.0) >= HALF:
                taken[free.argmax()] = True
                continue
            kind, at = _kind(own, other)
            counts[kind] += 1
            if kind in ("class", "localisation"):
                covered[at] = True
        counts["missed"] += int((~taken & ~covered).sum())
    return counts


def _kind(own: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[str, int]:
    """Why a box is wrong, and the true box that it should have been, by its overlaps with those of its class and with
    the others, [B] each."""
    mine, theirs = own.max(initial=0.0), other.max(initial=0.0)
    if mine >= HALF:
        return "duplicate", int(own.argmax())
    if theirs >= HALF:
        return "class", int(other.argmax())
    if mine >= LITTLE:
        return "localisation", int(own.argmax())
    return ("both", int(other.argmax())) if theirs >= LITTLE else ("background", -1)


def coco_precisions(found: Sequence[Found], truth: Sequence[Truth], n_classes: int) -> NDArray[np.float64]:
    """Average precision by COCO's own rules, [T, L] for `OVERLAPS`; NaN for a class without a true box. Raises
    MissingExtraError where faster-coco-eval is not installed."""
    COCO, COCOeval = coco_library()  # noqa: N806 - classes
    true, said = _documents(found, truth, n_classes)
    if not said:
        there = np.isin(np.arange(n_classes), [row["category_id"] for row in true["annotations"]])
        return np.where(there, 0.0, np.nan)[None].repeat(len(OVERLAPS), 0)
    known = COCO(true)
    evaluation = COCOeval(known, known.loadRes(said), "bbox", print_function=_quiet)
    evaluation.params.maxDets = [1, 10, MOST_FOUND]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # [T, 101, L] of all areas
    return np.where((precision > -1).any(1), precision.mean(1), np.nan)


def coco_library() -> tuple[Any, Any]:
    """faster-coco-eval's COCO and COCOeval; MissingExtraError when it is not installed."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError:
        raise MissingExtraError("scoring boxes", "detect") from None
    return COCO, COCOeval_faster


def _quiet(*words: Any) -> None:
    """What the library would print."""


def _documents(
    found: Sequence[Found], truth: Sequence[Truth], n_classes: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The truth as a COCO document, and the boxes found as COCO results."""
    annotations: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for i, (boxes, known) in enumerate(zip(found, truth, strict=True)):
        for row in known:
            box = _xywh(row)
            common = {"image_id": i, "category_id": int(row[4]), "bbox": box}
            annotations.append({**common, "id": len(annotations) + 1, "area": box[2] * box[3], "iscrowd": 0})
        said += [
            {"image_id": i, "category_id": int(row[5]), "bbox": _xywh(row), "score": float(row[4])} for row in boxes
        ]
    images = [{"id": i} for i in range(len(truth))]
    categories = [{"id": c, "name": str(c)} for c in range(n_classes)]
    return {"images": images, "annotations": annotations, "categories": categories}, said


def _xywh(row: NDArray[np.floating]) -> list[float]:
    x0, y0, x1, y1 = (float(v) for v in row[:4])
    return [x0, y0, x1 - x0, y1 - y0]
