"""Boxes as annotations give them become boxes that can be learned from. Letter in shapes: B boxes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldmark.types import Boxes

MAX_BOXES = 10_000  # a picture
ROUNDING = 1.0  # pixels: formats that count from 1, and tools that round, go so far beyond the border


def mend(
    xyxy: NDArray[np.float64], labels: Sequence[str], size_wh: tuple[int, int]
) -> tuple[Boxes, list[tuple[int, str]]]:
    """Boxes [B, 4] with swapped corners put right and cut to a picture of this size, and what was wrong with which.

    Those with a coordinate that is no number, without area, or outside the picture are left out. What reaches up to
    ROUNDING beyond the border is cut without a word.
    """
    given = np.asarray(xyxy, np.float64).reshape(-1, 4)
    low, high = np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])
    cut = np.concatenate([np.clip(low, 0, size_wh), np.clip(high, 0, size_wh)], 1).astype(np.float32)
    kept = np.isfinite(given).all(1) & (cut[:, :2] < cut[:, 2:]).all(1)
    swapped = kept & (low != given[:, :2]).any(1)
    beyond = kept & ((low < -ROUNDING).any(1) | (high > np.add(size_wh, ROUNDING)).any(1))
    problems = [(int(i), _why(given[i], low[i], high[i])) for i in np.flatnonzero(~kept)]
    problems += [(int(i), "its corners were swapped; put right") for i in np.flatnonzero(swapped)]
    problems += [(int(i), "it reaches beyond the picture; cut to it") for i in np.flatnonzero(beyond)]
    return Boxes(cut[kept], tuple(labels[int(i)] for i in np.flatnonzero(kept))), sorted(problems)


def _why(given: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> str:
    if not np.isfinite(given).all():
        return "a coordinate is no number; left out"
    return "it has no area; left out" if (low == high).any() else "it lies outside the picture; left out"
