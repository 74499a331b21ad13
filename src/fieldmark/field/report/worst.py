"""The worst mistakes of an evaluation, with the evidence that misled the recogniser."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from fieldmark import pictures
from fieldmark.errors import PictureError
from fieldmark.field.explain import Question, draw_overlay, explain_picture
from fieldmark.field.runtime.evaluation import Evaluation
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.types import Picture, Prediction, Sample

from .words import TASKS_WITH_CLASS_ANSWERS

LONG_SIDE = 480


@dataclass(frozen=True)
class Mistake:
    """A picture named wrong; `overlay` is it with the evidence for the answer against the truth, where there is any."""

    path: str
    truth: str
    predicted: str
    probability: float
    probability_of_truth: float
    picture: Picture
    overlay: Picture | None = None
    part: str = ""


def mistakes(recogniser: Recogniser, evaluation: Evaluation, most: int = 12) -> list[Mistake]:
    """The worst mistakes: most confident first, those of classes unknown to the recogniser last.

    A picture that can no longer be read is passed by. Other tasks than `classify` have none.
    """
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
