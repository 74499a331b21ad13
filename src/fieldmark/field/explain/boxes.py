"""Boxes drawn over a picture, and what each of them rests on: how much less likely it is where a part of the picture is
taken away (occlusion, Zeiler and Fergus 2014).

B boxes, h x w cells, L classes, P positions, M boxes kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fieldmark import pictures
from fieldmark.data.frame import read_frame
from fieldmark.errors import PictureError, UsageError, unknown_name
from fieldmark.field.evaluate.multilabel import sigmoid
from fieldmark.field.evaluate.overlap import overlap
from fieldmark.field.explain.evidence import Question
from fieldmark.field.explain.faithfulness import hidden
from fieldmark.field.explain.overlay import draw_overlay
from fieldmark.field.runtime.recogniser import NO_NUMBERS, Recogniser
from fieldmark.field.runtime.source import load_source
from fieldmark.field.runtime.stream import stream
from fieldmark.field.tasks.detect import Detect
from fieldmark.geometry import plain
from fieldmark.printing import visible
from fieldmark.types import Picture, Prediction

CELLS = 8  # a side, of the parts that are taken away
SAME = 0.5  # overlap of the box that is still the one asked about
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # Okabe and Ito 2008
TRUE_COLOUR = "#ffffff"
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """A box to draw: `words` above it, xyxy in pixels of the picture."""

    xyxy: tuple[float, float, float, float]
    words: str
    colour: str


def draw_boxes(image: Image.Image, boxes: Sequence[Drawn], scale: float = 1.0) -> Image.Image:
    """A copy of the picture with boxes, whose coordinates are multiplied by `scale`."""
    drawn = image.copy()
    pen = ImageDraw.Draw(drawn)
    line = max(2, round(min(image.size) / 200))
    font = ImageFont.load_default(max(10, round(min(image.size) / 32)))
    for box in boxes:
        x0, y0, x1, y1 = (v * scale for v in box.xyxy)
        pen.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline="black", width=line + 2)
        pen.rectangle((x0, y0, x1, y1), outline=box.colour, width=line)
        if words := visible(box.words):
            left, top, right, bottom = pen.textbbox((x0, y0), words, font=font, anchor="lb")
            down = max(0.0, -top)  # at the upper border the words stand inside
            pen.rectangle((left, top + down, right, bottom + down), fill=box.colour)
            pen.text((x0, y0 + down), words, fill="black", font=font, anchor="lb")
    return drawn


def said_boxes(prediction: Prediction, classes: Sequence[str]) -> list[Drawn]:
    """The boxes of a prediction, a colour a class."""
    return [
        Drawn(tuple(box["xyxy"]), f"{box['label']} {box['probability']:.0%}", colour_of(box["label"], classes))
        for box in prediction.extra["boxes"]
    ]


def colour_of(label: str, classes: Sequence[str]) -> str:
    """The colour of a class."""
    return COLOURS[classes.index(label) % len(COLOURS)] if label in classes else TRUE_COLOUR


def box_evidence(recogniser: Recogniser, picture: Picture, boxes: NDArray[np.floating], classes: list[int]) -> Array:
    """How much less likely each box [B, 4], in pixels of the network's input, is without each cell: differences of its
    score, [B, h, w]. PictureError where the network gives no numbers."""
    rows, frames = [], [picture, *hidden(picture, CELLS)]
    for seen in stream(recogniser.engine, frames, lambda frame: frame, recogniser.task.outputs):
        if not all(np.isfinite(values).all() for values in seen.outputs.values()):
            raise PictureError(NO_NUMBERS)
        rows.append(_scores(seen.outputs["logits"], seen.outputs["boxes"], boxes, classes))
    scores = np.stack(rows)  # [1 + h * w, B]
    return np.asarray((scores[0] - scores[1:]).T.reshape(len(boxes), CELLS, CELLS), np.float32)


def _scores(logits: Array, placed: Array, boxes: NDArray[np.floating], classes: list[int]) -> NDArray[np.float64]:
    """The best score for each box among the positions that still say the same one, [B]."""
    same = overlap(placed, boxes) >= SAME  # [P, B]
    return np.asarray(np.where(same, sigmoid(np.asarray(logits, np.float64))[:, classes], 0.0).max(0))


def explain_boxes(recogniser: Recogniser, path: Path, question: Question) -> tuple[Image.Image, dict[str, Any]]:
    """The picture with its boxes and what the asked one rests on, and a row: its `label` and `probability`, and all
    `boxes`. Asked is the most likely box, or that of the question's class. PictureError when the picture cannot be
    used."""
    if question.against is not None:
        raise UsageError("--against is for recognisers that name one class a picture; leave it out")
    if question.label is not None and question.label not in recogniser.classes:
        raise UsageError(unknown_name("class", question.label, recogniser.classes))
    assert isinstance(recogniser.task, Detect)
    data = pictures.read_bytes(path)
    image, prediction = pictures.decode(data), recogniser.predict(data)
    if prediction.error is not None:
        raise PictureError(prediction.error)
    boxes = [b for b in prediction.extra["boxes"] if question.label in (None, b["label"])]
    drawn, said = image, {"label": None, "probability": None}
    if boxes:
        asked = max(boxes, key=lambda box: box["probability"])
        where = plain(read_frame(data).size_wh, recogniser.preprocess)
        placed = where.boxes(np.array([asked["xyxy"]]))
        picture = load_source(data, recogniser.preprocess)
        evidence = box_evidence(recogniser, picture, placed, [recogniser.classes.index(asked["label"])])[0]
        drawn = draw_overlay(image, evidence, recogniser.preprocess)
        said = {key: asked[key] for key in said}
    return draw_boxes(drawn, said_boxes(prediction, recogniser.classes)), {**said, **prediction.extra}
