"""What a region rests on: parts of the picture are hidden in turn, and its class is watched over the region (Zeiler &
Fergus 2014, for many positions at once). G x G cells, L classes, h x w positions of the network's answer.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.masks import BACKGROUND
from fieldmark.errors import PictureError, UsageError
from fieldmark.field.evaluate.classmap import decide, softmax
from fieldmark.field.explain.evidence import Explanation, Question
from fieldmark.field.explain.faithfulness import blurred
from fieldmark.field.runtime.recogniser import NO_NUMBERS, Recogniser, Source, load_source, whole_image
from fieldmark.types import Picture

GRID = 12
LOGITS = "logits"
SUREST = 0.999  # quantile of positions that are watched where a class is nowhere said
Array = NDArray[np.float32]


def explain_region(recogniser: Recogniser, source: Source, question: Question) -> Explanation:
    """What the class asked about, or the largest thing in the picture, rests on: evidence [G, G] is the log odds that
    its region loses, on average over its positions, when a cell of the network's input is hidden. They are odds
    against `question.against`, or all other classes. PictureError when the picture cannot be used, UsageError when it
    is seen in tiles."""
    if recogniser.preprocess.tiles(whole_image(source).size):
        raise UsageError(
            "explain looks at whole pictures, and this one is seen in tiles; cut out the part you ask about"
        )
    picture = load_source(source, recogniser.preprocess)
    prediction = recogniser.predict(source)
    frames = [picture, *hidden(picture)]
    answers = [seen.outputs.get(LOGITS) for seen in recogniser.run(frames, (LOGITS,))]
    known = [answer for answer in answers if answer is not None]
    if prediction.error is not None or len(known) < len(frames):
        raise PictureError(prediction.error or NO_NUMBERS)
    classes = recogniser.classes
    label = question.label or next(s.label for s in prediction.labels if s.label != question.against)
    question.class_weights(classes, classes.index(label))  # UsageError for what cannot be asked
    c, against = classes.index(label), None if question.against is None else classes.index(question.against)
    odds = log_odds(known[0], c, against)
    said = decide(softmax(known[0]), classes[0] == BACKGROUND) == c
    region = said if said.any() else odds >= np.quantile(odds, SUREST)
    whole = float(odds[region].mean())
    lost = [whole - float(log_odds(answer, c, against)[region].mean()) for answer in known[1:]]
    return Explanation(prediction, label, question.against, np.array(lost, np.float32).reshape(GRID, GRID))


def hidden(picture: Picture) -> list[Picture]:
    """The picture G * G times, each with another cell blurred away, row by row."""
    vague = blurred(picture)
    downs, acrosses = (np.linspace(0, side, GRID + 1).round().astype(int) for side in picture.shape[:2])
    found = []
    for top, bottom in pairwise(downs):
        for left, right in pairwise(acrosses):
            one = picture.copy()
            one[top:bottom, left:right] = vague[top:bottom, left:right]
            found.append(one)
    return found


def log_odds(logits: Array, c: int, against: int | None) -> Array:
    """Log odds [h, w] of class c, against another or all others, of logits [L, h, w]."""
    if against is not None:
        return np.asarray(logits[c] - logits[against], np.float32)
    others = np.delete(logits, c, 0)
    top = others.max(0)
    return np.asarray(logits[c] - top - np.log(np.exp(others - top).sum(0)), np.float32)
