"""Class evidence for one picture: how much each position adds to a logit."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import PictureError, UsageError, unknown_name
from fieldmark.field.runtime.evidence import OUTPUTS
from fieldmark.field.runtime.recogniser import Recogniser
from fieldmark.field.runtime.source import Source, name_of
from fieldmark.types import Prediction

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """What is asked: why `label` (None: the one that is said, or would be but for `against`), or why it rather than
    `against`."""

    label: str | None = None
    against: str | None = None

    def check(self, classes: tuple[str, ...]) -> None:
        """UsageError for unknown or equal classes."""
        self.class_weights(classes, 0 if self.against != classes[0] else -1)

    def class_weights(self, classes: tuple[str, ...], best: int) -> NDArray[np.float32]:
        """Weights [L] whose product with the logits is what to explain; UsageError for unknown or equal classes."""
        for name in (self.label, self.against):
            if name is not None and name not in classes:
                raise UsageError(unknown_name("class", name, classes))
        chosen = best if self.label is None else classes.index(self.label)
        weights = np.zeros(len(classes), np.float32)
        weights[chosen] += 1
        if self.against is not None:
            other = classes.index(self.against)
            if other == chosen:
                raise UsageError(f"--against names the class itself ({self.against!r}); name another one")
            weights[other] -= 1
        return weights


@dataclass(frozen=True)
class Explanation:
    """The answer for one picture: its prediction, the class asked about, evidence [h, w] and, where the network has
    it, attention [K, h, w]; `box`: the part of the picture, xyxy in pixels, that they are of (None: all). `occlusion`:
    what covering each position would take from the answer, in logits [h, w], where the bundle can foresee it."""

    prediction: Prediction
    label: str
    against: str | None
    evidence: Array
    attention: Array = field(default_factory=lambda: np.zeros((0, 0, 0), np.float32))
    box: tuple[int, int, int, int] | None = None
    occlusion: Array | None = None

    @property
    def telling(self) -> Array:
        """Where the answer comes from, [h, w]: `occlusion`, else the evidence; without a question about classes."""
        return self.evidence if self.occlusion is None else self.occlusion


def explain_picture(recogniser: Recogniser, source: Source, question: Question = Question()) -> Explanation:
    """Explain one picture; PictureError when it cannot be used, UsageError for unknown classes. The prediction is that
    of `predict`; of two glances, the evidence is that of the first."""
    seen = next(recogniser.run([source], OUTPUTS, workers=1))
    if seen.error is not None:
        raise PictureError(seen.error)
    outputs = {name: values[None] for name, values in seen.outputs.items()}
    prediction = recogniser.task.predict([name_of(source)], outputs, recogniser.facts)[0]
    said = [s.label for s in prediction.labels if s.label != question.against]
    best = recogniser.classes.index(said[0]) if said else 0
    weights = question.class_weights(recogniser.classes, best) @ recogniser.head_weights
    evidence = recogniser.evidence(seen.outputs, weights)
    label = question.label or recogniser.classes[best]
    foreseen = recogniser.occlusion.foresee(seen.outputs["features"]) if recogniser.occlusion is not None else None
    return Explanation(prediction, label, question.against, evidence, seen.outputs["attention"], occlusion=foreseen)
