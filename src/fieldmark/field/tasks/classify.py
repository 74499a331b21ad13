"""Single-label classification: one of L classes a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.evaluate.classification import groups_of, scores, softmax
from fieldmark.field.evaluate.intervals import mean_interval
from fieldmark.types import Prediction, Sample, Score

from .base import Outputs, TaskFacts

UNSURE_BELOW = 0.5  # more likely wrong than right, by the recogniser's own calibrated probability


class Classify:
    """Softmax over calibrated logits; "unsure" where the best probability is below the bundle's threshold."""

    name = "classify"
    outputs = ("logits",)

    def probabilities(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """Calibrated probabilities [N, L]."""
        return softmax(outputs["logits"] / facts.temperature)

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        below = facts.thresholds.get("unsure_below", UNSURE_BELOW)
        found = []
        for path, row in zip(paths, self.probabilities(outputs, facts), strict=True):
            order = np.argsort(-row, kind="stable")
            labels = tuple(Score(facts.classes[c], float(row[c])) for c in order)
            found.append(Prediction(path, labels, unsure=bool(row[order[0]] < below)))
        return found

    def targets(self, samples: Sequence[Sample], facts: TaskFacts) -> NDArray[np.int64]:
        """Class numbers [N]; -1 for a class that the recogniser does not know."""
        number = {name: i for i, name in enumerate(facts.classes)}
        return np.array([number.get(s.label, -1) for s in samples], np.int64)

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        p = self.probabilities(outputs, facts)
        targets = self.targets(samples, facts)
        result = {"n": len(samples), **scores(p, targets, facts.classes)}
        unknown = sorted({s.label for s in samples} - set(facts.classes))
        if unknown:
            result["unknown_classes"] = unknown
        if facts.coarse_of:
            right = self._coarse_correct(samples, p, facts)
            result["coarse_accuracy"] = float(right.mean())
            result["coarse_accuracy_ci"] = mean_interval(right)
        below = facts.thresholds.get("unsure_below", UNSURE_BELOW)
        sure = p.max(1) >= below
        result["unsure"] = float(1 - sure.mean())
        result["accuracy_when_sure"] = float((p.argmax(1) == targets)[sure].mean()) if sure.any() else None
        return result

    def _coarse_correct(
        self, samples: Sequence[Sample], probabilities: NDArray[np.float64], facts: TaskFacts
    ) -> NDArray[np.bool_]:
        """Whether the coarse class with the largest summed probability is the true one, [N]."""
        names, group_of = groups_of(facts.classes, facts.coarse_of)
        best = (probabilities @ np.eye(len(names))[group_of]).argmax(1)
        truth = [s.coarse if s.coarse is not None else facts.coarse_of.get(s.label, s.label) for s in samples]
        return np.array([names[b] == t for b, t in zip(best, truth, strict=True)])
