"""Multi-label classification: any number of L labels a picture, each decided by itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import DataError
from fieldmark.field.evaluate import multilabel as metrics
from fieldmark.field.evaluate.multilabel import sigmoid
from fieldmark.types import Prediction, Sample, Score

from .base import Guess, OnLogits, Outputs, TaskFacts
from .classify import UNSURE_BELOW

TINY = 1e-9


class MultiLabel(OnLogits):
    """A sigmoid for every label; `present` are those at or above their thresholds, fitted on validation; "unsure"
    where the whole set of labels is less likely right than the bundle's threshold, were the labels independent."""

    name = "multilabel"
    headline = "map"
    fewest_classes = 1

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        return ("present",)

    def check(self, samples: Sequence[Sample]) -> None:
        if not any(s.labels for s in samples):
            raise DataError("no picture of this data has a label; give a table with the column labels")

    def strength(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """Calibrated probabilities [N, L]."""
        return sigmoid(outputs["logits"] / facts.temperature)

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        below = facts.thresholds.get("unsure_below", UNSURE_BELOW)
        bounds, found = thresholds(facts), []
        for path, row in zip(paths, self.strength(outputs, facts), strict=True):
            order = np.argsort(-row, kind="stable")
            labels = tuple(Score(facts.classes[c], float(row[c])) for c in order)
            present = [facts.classes[c] for c in order if row[c] >= bounds[c]]
            certain = np.where(row >= bounds, row, 1 - row).prod()
            found.append(Prediction(path, labels, unsure=bool(certain < below), extra={"present": present}))
        return found

    def targets(self, samples: Sequence[Sample], facts: TaskFacts) -> NDArray[np.bool_]:
        """Which labels each picture has, [N, L]; those that the recogniser does not know are left out."""
        number = {name: i for i, name in enumerate(facts.classes)}
        found = np.zeros((len(samples), len(facts.classes)), bool)
        for row, sample in zip(found, samples, strict=True):
            row[[number[label] for label in sample.labels if label in number]] = True
        return found

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        p, truth = self.strength(outputs, facts), self.targets(samples, facts)
        result = {"n": len(samples), **metrics.scores(p, p >= thresholds(facts), truth, facts.classes)}
        unknown = sorted({label for s in samples for label in s.labels} - set(facts.classes))
        if unknown:
            result["unknown_classes"] = unknown
        return result

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """F1 of each picture's set of labels; 1 where truth and answer are both empty."""
        said = self.strength(outputs, facts) >= thresholds(facts)
        truth = self.targets(samples, facts)
        either = said.sum(1) + truth.sum(1)
        return np.where(either > 0, 2 * (said & truth).sum(1) / np.maximum(either, 1), 1.0)

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        """Pictures ranked by chance have each label's own share as its average precision."""
        shares = self.targets(samples, facts).mean(0)
        score = float(shares[shares > 0].mean()) if shares.any() else 0.0
        return Guess("map", score, f"a ranking by chance (mean average precision {score:.2f})")

    def margins(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
        return np.asarray(np.abs(logits - _bounds(facts)).min(1), np.float64)

    def decisions(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.bool_]:
        return np.asarray(logits >= _bounds(facts))


def thresholds(facts: TaskFacts) -> NDArray[np.float64]:
    """The probability [L] from which a label is said."""
    return np.array(facts.label_thresholds or [0.5] * len(facts.classes))


def _bounds(facts: TaskFacts) -> NDArray[np.float64]:
    """The thresholds as logits [L]."""
    p = np.clip(thresholds(facts), TINY, 1 - TINY)
    return facts.temperature * np.log(p / (1 - p))
