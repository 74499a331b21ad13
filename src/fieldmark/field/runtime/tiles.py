"""Pictures much larger than the network's input: seen in overlapping parts, whose answers become one.

L classes; a tile has n x n positions of the network's answer, the picture H x W of them.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark.geometry import Box, Geometry
from fieldmark.pictures import resize_window
from fieldmark.types import Preprocess

from .engine import Engine

OVERLAP = 0.25  # of a tile's side, at least
LOGITS = "logits"


class Tiling(NamedTuple):
    """How a picture is cut: its positions (width, height), the first of each column and row of tiles, and the pixels
    to one position."""

    grid_wh: tuple[int, int]
    columns: tuple[int, ...]
    rows: tuple[int, ...]
    cell: float


def tiling(size_wh: tuple[int, int], tile: int, n: int) -> Tiling:
    """Tiles of `tile` pixels and n positions a side, evenly spread over the picture, at whole positions of it."""
    cell = tile / n
    (width, columns), (height, rows) = (_spread(side, cell, n) for side in size_wh)
    return Tiling((width, height), columns, rows, cell)


def _spread(side: int, cell: float, n: int) -> tuple[int, tuple[int, ...]]:
    total = max(n, int(np.ceil(side / cell)))
    spare = total - n
    count = 1 + int(np.ceil(spare / ((1 - OVERLAP) * n)))
    return total, tuple(round(spare * i / max(1, count - 1)) for i in range(count))


def see_tiles(engine: Engine, image: Image.Image, preprocess: Preprocess) -> tuple[NDArray[np.float32], Geometry]:
    """Scores [L, H, W] of a picture from its tiles, and where they lie. Where tiles overlap, each counts by how far its
    border is."""
    blank = np.zeros((1, *preprocess.size_wh[::-1], 3), np.uint8)
    n = engine.run(blank, (LOGITS,))[LOGITS].shape[-1]
    cut = tiling(image.size, preprocess.tile, n)
    width, height = cut.grid_wh
    hat = np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)).astype(np.float32)
    weight = hat[:, None] * hat
    total, found = np.zeros((height, width), np.float32), np.zeros((0, height, width), np.float32)
    places = [(x, y) for y in cut.rows for x in cut.columns]
    for (x, y), logits in zip(places, _answers(engine, image, preprocess, cut, places), strict=True):
        if not len(found):
            found = np.zeros((len(logits), height, width), np.float32)
        found[:, y : y + n, x : x + n] += weight * logits
        total[y : y + n, x : x + n] += weight
    seen = (0.0, 0.0, width * cut.cell, height * cut.cell)
    return found / total, Geometry.of_box(image.size, cut.grid_wh, seen)


def _answers(
    engine: Engine, image: Image.Image, preprocess: Preprocess, cut: Tiling, places: list[tuple[int, int]]
) -> Iterator[NDArray[np.float32]]:
    """Scores [L, n, n] of each tile."""
    for start in range(0, len(places), engine.micro_batch):
        boxes = [_box(place, preprocess.tile, cut.cell) for place in places[start : start + engine.micro_batch]]
        views = np.stack([resize_window(image, preprocess, box) for box in boxes])
        yield from engine.run(views, (LOGITS,))[LOGITS]


def _box(place: tuple[int, int], tile: int, cell: float) -> Box:
    left, top = (cell * p for p in place)
    return left, top, left + tile, top + tile
