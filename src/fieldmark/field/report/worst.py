"""The worst mistakes of an evaluation, with the evidence that misled the recogniser."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fieldmark import pictures
from fieldmark.data.frame import read_frame
from fieldmark.data.masks import BACKGROUND, load_mask
from fieldmark.errors import PictureError
from fieldmark.field.explain import Question, draw_overlay, explain_picture
from fieldmark.field.explain.boxes import Drawn, colour_of, draw_boxes, said_boxes
from fieldmark.field.explain.overlay import AGAINST_COLOUR, FOR_COLOUR, outlined
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.types import Picture, Prediction, Sample

from .words import TASKS_WITH_CLASS_ANSWERS

LONG_SIDE = 480
NO_MISTAKE = 0.999  # mean IoU
MASKS_WORDS = (
    "The pictures whose masks overlap the truth least: the true outlines on the left in blue, what was said on the "
    "right in orange. Look at these first: some may have wrong masks rather than wrong answers."
)
BOXES_WORDS = (
    "The pictures whose boxes fit the truth least: the true boxes on the left, those found on the right. Look at these "
    "first: some may lack true boxes rather than have false ones."
)


@dataclass(frozen=True)
class Mistake:
    """A picture answered wrong; `overlay` is it with the evidence for the answer against the truth, where there is any.
    Of other tasks than to name a class `told` says what is wrong, and `words` what is shown at all."""

    path: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    picture: Picture
    overlay: Picture | None = None
    part: str = ""
    told: str = ""
    words: str = ""


def mistakes(recogniser: Recogniser, evaluation: Evaluation, most: int = 12) -> list[Mistake]:
    """The worst mistakes: most confident first, those of classes unknown to the recogniser last.

    A picture that can no longer be read is passed by. Of boxes: the pictures with the lowest F1, of masks: with
    the lowest IoU. Labels and numbers
    have none.
    """
    if recogniser.task.name == "detect":
        return _worst_boxes(recogniser, evaluation, most)
    if recogniser.task.name == "segment":
        return _worst_masks(recogniser, evaluation, most)
    if recogniser.task.name not in TASKS_WITH_CLASS_ANSWERS:
        return []
    known = set(recogniser.classes)
    pairs = zip(evaluation.samples, evaluation.predictions, strict=True)
    wrong = [(s, p) for s, p in pairs if s.labels and p.labels and p.label != s.label]
    wrong.sort(key=lambda pair: (pair[0].label not in known, -pair[1].labels[0].probability, pair[0].name))
    found: list[Mistake] = []
    for sample, prediction in wrong:
        if len(found) >= most:
            break
        try:
            found.append(_mistake(recogniser, sample, prediction, evaluation.split))
        except PictureError:
            continue
    return found


def _worst_boxes(recogniser: Recogniser, evaluation: Evaluation, most: int) -> list[Mistake]:
    """Those pictures whose boxes fit the truth least, the true boxes beside those found."""
    fits = recogniser.task.each(evaluation.samples, evaluation.outputs, recogniser.facts)
    found: list[Mistake] = []
    for i in np.argsort(fits, kind="stable"):
        if len(found) >= most or fits[i] >= 1:
            break
        sample, prediction = evaluation.samples[i], evaluation.predictions[i]
        try:
            image = pictures.decode(pictures.read_bytes(sample.path), (LONG_SIDE, LONG_SIDE))
            width = read_frame(sample.path).size_wh[0]
        except PictureError:
            continue
        image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        truth = (
            [
                Drawn((x0, y0, x1, y1), label, colour_of(label, recogniser.classes))
                for (x0, y0, x1, y1), label in zip(sample.boxes.xyxy.tolist(), sample.boxes.labels, strict=True)
            ]
            if sample.boxes is not None
            else []
        )
        said, scale = said_boxes(prediction, recogniser.classes), image.width / width
        told = f"{len(truth)} true boxes (left), {len(said)} found (right); F1 {fits[i]:.2f}."
        left, right = (np.asarray(draw_boxes(image, boxes, scale)) for boxes in (truth, said))
        found.append(Mistake(sample.name, "", "", 0.0, 0.0, left, right, evaluation.split, told, BOXES_WORDS))
    return found


def _worst_masks(recogniser: Recogniser, evaluation: Evaluation, most: int) -> list[Mistake]:
    """Those pictures whose masks overlap the truth least, the true outlines beside what was said."""
    each = recogniser.task.each(evaluation.samples, evaluation.outputs, recogniser.facts)
    found: list[Mistake] = []
    for i in np.argsort(each, kind="stable").tolist():
        if len(found) >= most or each[i] >= NO_MISTAKE:
            break
        sample, prediction = evaluation.samples[i], evaluation.predictions[i]
        try:
            image = pictures.decode(pictures.read_bytes(sample.path), (LONG_SIDE, LONG_SIDE))
            truth, said = load_mask(sample, recogniser.classes), prediction.mask
        except PictureError:
            continue
        image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
        left = np.asarray(outlined(image, truth, AGAINST_COLOUR))
        right = None if said is None else np.asarray(outlined(image, said, FOR_COLOUR))
        names = [
            ", ".join(n for n in known if n != BACKGROUND) or "nothing"
            for known in (sample.labels, prediction.extra["shares"])
        ]
        told = f"Truly {names[0]} (left), said {names[1]} (right); mean IoU {each[i]:.2f}."
        found.append(Mistake(sample.name, "", "", 0.0, 0.0, left, right, evaluation.split, told, MASKS_WORDS))
    return found


def _mistake(recogniser: Recogniser, sample: Sample, prediction: Prediction, part: str) -> Mistake:
    image = pictures.decode(pictures.read_bytes(sample.path), (LONG_SIDE, LONG_SIDE))
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    best = prediction.labels[0]
    of_truth = next((s.probability for s in prediction.labels if s.label == sample.label), 0.0)
    overlay = _overlay(recogniser, sample, best.label, image)
    shown = np.asarray(image)
    return Mistake(sample.name, sample.label, best.label, best.probability, of_truth, shown, overlay, part)


def _overlay(recogniser: Recogniser, sample: Sample, predicted: str, image: Image.Image) -> Picture | None:
    """The evidence drawn over `image`; None when the recogniser's network does not give what evidence needs."""
    if not set(OUTPUTS) <= set(recogniser.bundle.facts["outputs"]):
        return None
    against = sample.label if sample.label in recogniser.classes else None
    explained = explain_picture(recogniser, sample.path, Question(predicted, against))
    return np.asarray(draw_overlay(image, explained.evidence, recogniser.preprocess))
