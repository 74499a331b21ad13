"""What a region rests on: parts of the picture are hidden in turn, and its class is watched over the region (Zeiler &
Fergus 2014, for many positions at once). G x G cells, L classes, h x w positions of the network's answer.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldmark.data.masks import BACKGROUND
from fieldmark.errors import PictureError
from fieldmark.field.evaluate.classmap import decide, softmax
from fieldmark.field.runtime.recogniser import NO_NUMBERS, Recogniser, Source, load_source
from fieldmark.types import Picture

from .faithfulness import blurred

GRID = 12
LOGITS = "logits"
Array = NDArray[np.float32]


def region_evidence(
    recogniser: Recogniser, source: Source, chosen: int | None, against: int | None = None
) -> tuple[int, Array]:
    """A class, and how much each cell [G, G] of the network's input adds to its log odds, mean over the positions where
    it is said: what they lose when the cell is hidden.

    The class is `chosen`, or the largest thing there; log odds are against class `against`, or all others. Where it is
    nowhere said, the surest tenth of a percent of positions are watched. PictureError when the picture cannot be used.
    """
    picture = load_source(source, recogniser.preprocess)
    vague, edges = blurred(picture), np.linspace(0, 1, GRID + 1)
    frames = [picture, *(_hidden(picture, vague, edges, cell) for cell in range(GRID * GRID))]
    answers = [seen.outputs[LOGITS] for seen in recogniser.run(frames, (LOGITS,))]
    if not all(np.isfinite(a).all() for a in answers):
        raise PictureError(NO_NUMBERS)
    background = recogniser.classes[0] == BACKGROUND
    said = decide(softmax(answers[0]), background)
    c = _largest(said, answers[0], background) if chosen is None else chosen
    odds = _odds(answers[0], c, against)
    region = said == c if (said == c).any() else odds >= np.quantile(odds, 0.999)
    whole = float(odds[region].mean())
    lost = [whole - float(_odds(a, c, against)[region].mean()) for a in answers[1:]]
    return c, np.array(lost, np.float32).reshape(GRID, GRID)


def _hidden(picture: Picture, vague: Picture, edges: NDArray[np.float64], cell: int) -> Picture:
    """The picture with one cell blurred away."""
    height, width = picture.shape[:2]
    row, column = divmod(cell, GRID)
    top, bottom = (round(height * v) for v in edges[row : row + 2])
    left, right = (round(width * v) for v in edges[column : column + 2])
    found = picture.copy()
    found[top:bottom, left:right] = vague[top:bottom, left:right]
    return found


def _odds(logits: Array, c: int, against: int | None) -> Array:
    """Log odds [h, w] of class c, against another or all others."""
    if against is not None:
        return np.asarray(logits[c] - logits[against], np.float32)
    others = np.delete(logits, c, 0)
    top = others.max(0)
    return np.asarray(logits[c] - top - np.log(np.exp(others - top).sum(0)), np.float32)


def _largest(said: NDArray[np.uint8], logits: Array, background: bool) -> int:
    """The class of most positions, the background only where nothing else is said."""
    counts = np.bincount(said.ravel(), minlength=len(logits))
    first = int(background)
    return int(counts[first:].argmax()) + first if counts[first:].any() else int(logits.max((1, 2))[first:].argmax()) + first
