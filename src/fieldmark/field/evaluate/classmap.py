"""From class scores on a coarse grid to a class for every pixel of the picture. L classes, h x w positions, H x W
pixels.

Scores are enlarged before anything is decided, so that boundaries are finer than the grid.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Scores = NDArray[np.floating]
Box = tuple[float, float, float, float]  # xyxy
BAND_VALUES = 500_000  # enlarged scores at a time: larger arrays are twice as slow
HALF = 0.5


class ClassMap(NamedTuple):
    """What is said of a picture: the class number of every pixel, uint8 [H, W]; `pixels` [L], how many are of each
    class; `sure` [L], the sum of their probabilities for it; `hoped` [L], the sum over all pixels."""

    numbers: NDArray[np.uint8]
    pixels: NDArray[np.float64]
    sure: NDArray[np.float64]
    hoped: NDArray[np.float64]


def enlarged(scores: Scores, size_wh: tuple[int, int], box: Box) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Bands [L, rows, W] of scores [L, h, w] at the picture's size, each with its first row; bilinear, with positions
    at the middle of their cells. `box` is the part of the grid that the picture covers."""
    layers = [Image.fromarray(np.ascontiguousarray(layer, np.float32)) for layer in scores]
    (width, height), (left, top, right, bottom) = size_wh, box
    rows = max(1, BAND_VALUES // (len(layers) * width))
    for first in range(0, height, rows):
        last = min(height, first + rows)
        upper, lower = (top + (bottom - top) * y / height for y in (first, last))
        part = (left, max(upper, top), right, min(lower, bottom))
        wanted = (width, last - first)
        yield first, np.stack([np.asarray(x.resize(wanted, Image.Resampling.BILINEAR, box=part)) for x in layers])


def softmax(scores: Scores) -> NDArray[np.float32]:
    """Probabilities [L, ...] of scores [L, ...]."""
    powers = np.exp(np.asarray(scores, np.float32) - scores.max(0))
    return np.asarray(powers / powers.sum(0), np.float32)


def decide(probabilities: NDArray[np.float32], background: bool) -> NDArray[np.uint8]:
    """The class numbers [...] of probabilities [L, ...]: the most probable one. With `background`, the first class is
    said where all others together are not more probable, so that doubt between two things is none whether there is
    one."""
    if not background:
        return np.asarray(probabilities.argmax(0), np.uint8)
    numbers, best = np.ones(probabilities.shape[1:], np.uint8), probabilities[1].copy()
    for c, p in enumerate(probabilities[2:], start=2):  # a third of the time of argmax over the first axis
        numbers[p > best] = c
        np.maximum(best, p, out=best)
    numbers[probabilities[0] >= HALF] = 0
    return numbers


def class_map(scores: Scores, size_wh: tuple[int, int], box: Box, background: bool) -> ClassMap:
    """The classes of a picture's pixels from scores [L, h, w], of which it covers `box` (xyxy, in positions)."""
    n, (width, height) = len(scores), size_wh
    numbers = np.empty((height, width), np.uint8)
    sums = np.zeros((3, n))
    for first, band in enlarged(scores, size_wh, box):
        p = softmax(band)
        said = decide(p, background)
        numbers[first : first + len(said)] = said
        sums[0] += np.bincount(said.ravel(), minlength=n)
        chosen = np.take_along_axis(p, said[None].astype(np.int64), 0)[0]
        sums[1] += np.bincount(said.ravel(), chosen.ravel(), minlength=n)
        sums[2] += p.sum((1, 2), dtype=np.float64)
    return ClassMap(numbers, *sums)


def expected_iou(found: ClassMap) -> NDArray[np.float64]:
    """The IoU [L] that the probabilities promise for what is said: the sum of those of a class where it is said, over
    its pixels and the probabilities elsewhere; NaN for a class that is not said."""
    union = found.pixels + found.hoped - found.sure
    said = found.pixels > 0
    return np.asarray(np.divide(found.sure, union, out=np.full(len(union), np.nan), where=said), np.float64)


def evidence(scores: Scores, background: bool) -> NDArray[np.float64]:
    """How surely something of each class is in the picture: its largest probability [L] on the grid of scores
    [L, h, w]; of the background, what the others leave."""
    p = softmax(scores)
    found: NDArray[np.float64] = p.reshape(len(p), -1).max(1).astype(np.float64)
    if background:
        found[0] = p[0].min()
    return found
