"""Which position of a detector answers for which true box.

P positions of all levels together, B true boxes of a picture, xyxy in pixels of the view.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.evaluate.overlap import area, overlap

NEAREST = 9  # positions of each level that a box may choose from
SIDE = 8.0  # strides: of the square that stands for a position


def positions(view_wh: tuple[int, int], strides: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Middles [P, 2] of the cells of all levels as xy in pixels, in a network's order, and the number of its level for
    each, [P]."""
    found, level = [], []
    for i, stride in enumerate(strides):
        w, h = (-(-side // stride) for side in view_wh)
        down, across = np.mgrid[:h, :w] + 0.5
        found.append(np.stack([across.ravel(), down.ravel()], 1) * stride)
        level.append(np.full(h * w, i, np.int64))
    return np.concatenate(found), np.concatenate(level)


def assign(
    boxes: NDArray[np.floating], middles: NDArray[np.floating], level: NDArray[np.int64], strides: Sequence[int]
) -> NDArray[np.int64]:
    """The number of the box that each position answers for, [P]; -1 for none (ATSS, Zhang et al. 2020).

    Of the nearest positions of each level, those stand for a box whose square overlaps it more than their mean by a
    standard deviation, and whose middle lies in it; one that several claim goes to the box it overlaps most. A box that
    gets none that way gets the nearest of all.
    """
    answer = np.full(len(middles), -1, np.int64)
    if not len(boxes):
        return answer
    far = np.linalg.norm(middles[:, None] - (boxes[None, :, :2] + boxes[None, :, 2:]) / 2, axis=2)  # [P, B]
    half = SIDE / 2 * np.array(strides, np.float64)[level][:, None]
    shared = overlap(np.concatenate([middles - half, middles + half], 1), boxes)  # [P, B]
    chosen = np.zeros(shared.shape, bool)
    for i in range(len(strides)):
        mine = np.flatnonzero(level == i)
        nearest = np.argsort(far[mine], axis=0, kind="stable")[:NEAREST]
        np.put_along_axis(chosen, mine[nearest], True, axis=0)
    known = np.where(chosen, shared, np.nan)
    enough = shared >= np.nanmean(known, 0) + np.nanstd(known, 0)
    inside = (middles[:, None] > boxes[None, :, :2]).all(2) & (middles[:, None] < boxes[None, :, 2:]).all(2)
    claims = np.where(chosen & enough & inside, shared, -1.0)
    lonely = np.flatnonzero(claims.max(0) < 0)
    claims[far[:, lonely].argmin(0), lonely] = 2.0
    claimed = claims.max(1) >= 0
    answer[claimed] = claims[claimed].argmax(1)
    return answer


def seen_in(boxes: NDArray[np.floating], view_wh: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes [B, 4] cut to a view of this size, and the share of each that is left, [B]."""
    cut = np.clip(np.asarray(boxes, np.float64), 0, np.tile(view_wh, 2))
    before = area(boxes)
    return cut, np.divide(area(cut), before, out=np.zeros(len(cut)), where=before > 0)
