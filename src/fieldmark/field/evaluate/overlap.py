"""Boxes against boxes: overlap, and one of many that say the same. A, B boxes, xyxy."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating]  # [B, 4]
TOGETHER = 64  # best boxes that are compared with the others at a time; most others are soon gone


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Areas [B]; 0 for a box that is inside out."""
    sides = np.maximum(np.asarray(boxes[..., 2:], np.float64) - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def shared_area(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """The area that each of A shares with each of B, [A, B]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    across = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    down = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.asarray(np.maximum(across, 0) * np.maximum(down, 0))


def overlap(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of each of A with each of B, [A, B]."""
    shared = shared_area(a, b)
    union = area(a)[:, None] + area(b)[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: Boxes, scores: NDArray[np.floating], classes: NDArray[np.integer], most: float) -> NDArray[np.intp]:
    """The places of those that overlap no better one of their class by more than `most`, best first (greedy
    non-maximum suppression)."""
    order = np.argsort(-scores, kind="stable")
    alive = np.ones(len(order), bool)
    for c in np.unique(classes):
        mine = np.flatnonzero(classes[order] == c)
        while len(mine):
            left, best = np.ones(len(mine), bool), mine[:TOGETHER]
            rivals = overlap(boxes[order[best]], boxes[order[mine]]) > most
            for i in range(len(best)):
                if left[i]:
                    left[i + 1 :] &= ~rivals[i, i + 1 :]
            alive[mine[~left]] = False
            mine = mine[TOGETHER:][left[TOGETHER:]]
    return np.asarray(order[alive])
