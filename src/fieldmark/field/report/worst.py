"""The worst mistakes of an evaluation, with the evidence that misled the recogniser, or what it outlined."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from fieldmark import pictures
from fieldmark.data.masks import BACKGROUND, load_mask
from fieldmark.errors import PictureError
from fieldmark.field.explain import Question, draw_overlay, explain_picture
from fieldmark.field.explain.overlay import AGAINST_COLOUR as TRUE
from fieldmark.field.explain.overlay import FOR_COLOUR as SAID
from fieldmark.field.explain.overlay import outlined
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.recogniser import NO_NUMBERS, Recogniser
from fieldmark.types import Picture, Prediction, Sample

from .words import TASKS_WITH_CLASS_ANSWERS

LONG_SIDE = 480
NO_MISTAKE = 0.999  # mean IoU


@dataclass(frozen=True)
class Mistake:
    """A picture named wrong; `overlay` is it with the evidence for the answer against the truth, where there is any.
    Where pixels were named, `picture` has the outlines of what was said, `overlay` those of the truth, and `overlap` is
    their mean IoU."""

    path: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    picture: Picture
    overlay: Picture | None = None
    part: str = ""
    overlap: float | None = None


def mistakes(recogniser: Recogniser, evaluation: Evaluation, most: int = 12) -> list[Mistake]:
    """The worst mistakes: most confident first, those of classes unknown to the recogniser last.

    A picture that can no longer be read is passed by. Where pixels are named, those of the least overlap come first;
    other tasks than these and `classify` have none.
    """
    if recogniser.task.name == "segment":
        return _least_overlaps(recogniser, evaluation, most)
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


def _least_overlaps(recogniser: Recogniser, evaluation: Evaluation, most: int) -> list[Mistake]:
    each = recogniser.task.each(evaluation.samples, evaluation.outputs, recogniser.facts)
    found: list[Mistake] = []
    for i in np.argsort(each, kind="stable").tolist():
        if len(found) >= most or each[i] >= NO_MISTAKE:
            break
        try:
            found.append(_overlap(recogniser, evaluation.samples[i], evaluation.predictions[i], float(each[i])))
        except PictureError:
            continue
    return [replace(mistake, part=evaluation.split) for mistake in found]


def _overlap(recogniser: Recogniser, sample: Sample, prediction: Prediction, iou: float) -> Mistake:
    image, truth, said = _shown(sample), load_mask(sample, recogniser.classes), prediction.mask
    if said is None:
        raise PictureError(NO_NUMBERS)
    names = [
        ", ".join(n for n in known if n != BACKGROUND) or BACKGROUND for known in (sample.labels, _names(prediction))
    ]
    ours, theirs = (np.asarray(outlined(image, numbers, c)) for numbers, c in ((said, SAID), (truth, TRUE)))
    return Mistake(sample.name, names[0], names[1], 0.0, 0.0, ours, theirs, overlap=iou)


def _names(prediction: Prediction) -> Sequence[str]:
    return tuple(prediction.extra["shares"])


def _shown(sample: Sample) -> Image.Image:
    image = pictures.decode(pictures.read_bytes(sample.path), (LONG_SIDE, LONG_SIDE))
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return image


def _mistake(recogniser: Recogniser, sample: Sample, prediction: Prediction, part: str) -> Mistake:
    image = _shown(sample)
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
