"""What a region rests on: parts of the picture are hidden in turn, and its class is watched over the region (Zeiler &
Fergus 2014, for many positions at once). G x G cells, L classes, h x w positions of the network's answer.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fieldmark.data.masks import BACKGROUND
from fieldmark.errors import PictureError
from fieldmark.field.evaluate.classmap import decide, softmax
from fieldmark.field.explain.evidence import Explanation, Question
from fieldmark.field.explain.faithfulness import hidden
from fieldmark.field.runtime.recogniser import NO_NUMBERS, Recogniser
from fieldmark.field.runtime.source import Source, load_source, whole_image
from fieldmark.pictures import resize_window

GRID = 12
PARTS = 8  # of a tile's side, to which its place is chosen
LOGITS = "logits"
SUREST = 0.999  # quantile of positions that are watched where a class is nowhere said
Array = NDArray[np.float32]


def explain_region(recogniser: Recogniser, source: Source, question: Question) -> Explanation:
    """What the class asked about, or the largest thing in the picture, rests on: evidence [G, G] is the log odds that
    its region loses, on average over its positions, when a cell of the network's input is hidden. They are odds
    against `question.against`, or all other classes. Of a picture that is seen in tiles, it is the tile with the most
    of the class. PictureError when the picture cannot be used, UsageError for unknown classes."""
    preprocess, classes, box = recogniser.preprocess, recogniser.classes, None
    question.check(classes)
    prediction = recogniser.predict(source)
    numbers = prediction.mask
    if numbers is None:
        raise PictureError(prediction.error or NO_NUMBERS)
    label = question.label or next(s.label for s in prediction.labels if s.label != question.against)
    c, against = classes.index(label), None if question.against is None else classes.index(question.against)
    if preprocess.tiles(numbers.shape[::-1]):
        box = fullest(numbers == c, preprocess.tile)
        picture = resize_window(whole_image(source), preprocess, box)
    else:
        picture = load_source(source, preprocess)
    frames = [picture, *hidden(picture, GRID)]
    answers = [seen.outputs.get(LOGITS) for seen in recogniser.run(frames, (LOGITS,))]
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(frames):
        raise PictureError(NO_NUMBERS)
    odds = log_odds(known[0], c, against)
    said = decide(softmax(known[0]), classes[0] == BACKGROUND) == c
    region = said if said.any() else odds >= np.quantile(odds, SUREST)
    whole = float(odds[region].mean())
    lost = [whole - float(log_odds(answer, c, against)[region].mean()) for answer in known[1:]]
    evidence = np.array(lost, np.float32).reshape(GRID, GRID)
    return Explanation(prediction, label, question.against, evidence, box=box)


def fullest(shown: NDArray[np.bool_], side: int) -> tuple[int, int, int, int]:
    """The square of `side` pixels, xyxy, in which most is shown of a picture [H, W], to within an eighth of a side; it
    reaches beyond a picture that is smaller."""
    step = max(1, side // PARTS)
    rows = np.add.reduceat(shown, range(0, shown.shape[0], step), 0, np.int64)
    sums = np.add.reduceat(rows, range(0, shown.shape[1], step), 1)
    padded = np.pad(sums, (0, PARTS - 1))
    within = sliding_window_view(padded, (PARTS, PARTS)).sum((2, 3))
    corner = np.unravel_index(within.argmax(), within.shape)
    top, left = (max(0, min(step * int(i), n - side)) for i, n in zip(corner, shown.shape, strict=True))
    return left, top, left + side, top + side


def log_odds(logits: Array, c: int, against: int | None) -> Array:
    """Log odds [h, w] of class c, against another or all others, of logits [L, h, w]."""
    if against is not None:
        return np.asarray(logits[c] - logits[against], np.float32)
    others = np.delete(logits, c, 0)
    top = others.max(0)
    return np.asarray(logits[c] - top - np.log(np.exp(others - top).sum(0)), np.float32)
