"""Single-label classification: one of L classes a picture. N pictures."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.data.index import Index, check_named
from fieldmark.errors import DataError
from fieldmark.field.evaluate.classification import groups_of, scores, softmax, two_class_scores
from fieldmark.types import Prediction, Sample, Score

from .base import Guess, OnLogits, Outputs, TaskFacts

UNSURE_BELOW = 0.5  # more likely wrong than right, by the recogniser's own calibrated probability
TINY = 1e-12


class Classify(OnLogits):
    """Softmax over calibrated logits; "unsure" where the best probability is below the bundle's threshold.

    Of two classes the positive one is said from the bundle's operating point on, where it has one: the answer is then
    as sure as if both probabilities were weighed so that this point is the middle.

    With two levels the coarse class is the one with the largest sum of its classes' probabilities; where the most
    probable class is of another one, the answer is unsure: a sure class implies its coarse one.
    """

    name = "classify"
    headline = "accuracy"
    fewest_classes = 2

    def select(self, index: Index) -> Index:
        check_named(index)
        return index

    def columns(self, facts: TaskFacts) -> tuple[str, ...]:
        return ("coarse", "coarse_probability") if facts.coarse_of else ()

    def check(self, samples: Sequence[Sample]) -> None:
        wrong = next((s for s in samples if len(s.labels) != 1), None)
        if wrong is not None:
            raise DataError(
                f"{wrong.name} has {len(wrong.labels)} labels, but this recogniser names one class a picture; give a "
                "table whose column label holds one"
            )

    def strength(self, outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """Calibrated probabilities [N, L]."""
        return softmax(outputs["logits"] / facts.temperature)

    def predict(self, paths: Sequence[str], outputs: Outputs, facts: TaskFacts) -> list[Prediction]:
        p, found = self.strength(outputs, facts), []
        weighed = _weighed(p, facts)
        sure, coarse = _sure(p, facts), _coarse(p, facts)
        for number, path in enumerate(paths):
            order = np.argsort(-weighed[number], kind="stable")
            labels = tuple(Score(facts.classes[c], float(p[number, c])) for c in order)
            extra = dict(zip(self.columns(facts), coarse[number], strict=True)) if coarse else {}
            found.append(Prediction(path, labels, unsure=not sure[number], extra=extra))
        return found

    def targets(self, samples: Sequence[Sample], facts: TaskFacts) -> NDArray[np.int64]:
        """Class numbers [N]; -1 for a class that the recogniser does not know."""
        number = {name: i for i, name in enumerate(facts.classes)}
        return np.array([number.get(s.label, -1) for s in samples], np.int64)

    def score(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> dict[str, Any]:
        p = self.strength(outputs, facts)
        targets, weighed = self.targets(samples, facts), _weighed(p, facts)
        result = {"n": len(samples), **scores(p, targets, facts.classes, weighed.argmax(1))}
        if len(facts.classes) == 2:
            positive, at = operating_point(facts)
            result |= two_class_scores(p[:, positive], targets, positive, at) | {"positive": facts.classes[positive]}
        unknown = sorted({s.label for s in samples} - set(facts.classes))
        if unknown:
            result["unknown_classes"] = unknown
        if facts.coarse_of:
            result |= _coarse_scores(samples, p, facts)
        sure = _sure(p, facts)
        result["unsure"] = float(1 - sure.mean())
        result["accuracy_when_sure"] = float((weighed.argmax(1) == targets)[sure].mean()) if sure.any() else None
        return result

    def each(self, samples: Sequence[Sample], outputs: Outputs, facts: TaskFacts) -> NDArray[np.float64]:
        """1 for a picture named right, 0 for one named wrong."""
        said = _weighed(self.strength(outputs, facts), facts).argmax(1)
        return np.asarray(said == self.targets(samples, facts), np.float64)

    def guess(self, samples: Sequence[Sample], facts: TaskFacts) -> Guess:
        share = max(Counter(s.label for s in samples).values()) / len(samples)
        return Guess("accuracy", share, f"always naming the most frequent class ({share:.0%})")

    def margins(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.float64]:
        """The best minus the second-best logit."""
        moved = np.asarray(logits, np.float64) + facts.temperature * np.log(_weights(facts))
        best = np.partition(moved, -2, axis=1)[:, -2:]
        return np.asarray(best[:, 1] - best[:, 0])

    def decisions(self, logits: NDArray[np.floating], facts: TaskFacts) -> NDArray[np.int64]:
        return np.asarray((logits + facts.temperature * np.log(_weights(facts))).argmax(1))


def operating_point(facts: TaskFacts) -> tuple[int, float]:
    """The number of the positive one of two classes, the second unless the bundle names one, and the probability from
    which it is said."""
    positive = facts.classes.index(facts.positive) if facts.positive in facts.classes else 1
    return positive, facts.thresholds.get("positive_at", 0.5)


def _weights(facts: TaskFacts) -> NDArray[np.float64]:
    """What each class's probability counts in a decision, [L]."""
    weights = np.ones(len(facts.classes))
    if len(facts.classes) == 2:
        positive, at = operating_point(facts)
        weights[positive], weights[1 - positive] = max(1 - at, TINY), max(at, TINY)
    return weights


def _weighed(probabilities: NDArray[np.float64], facts: TaskFacts) -> NDArray[np.float64]:
    """Probabilities [N, L] after weighing, summing to one."""
    weighed = probabilities * _weights(facts)
    return np.asarray(weighed / weighed.sum(1, keepdims=True))


def _sure(probabilities: NDArray[np.float64], facts: TaskFacts) -> NDArray[np.bool_]:
    """Which of [N, L] are sure enough, and of the coarse class that is the most probable one as well."""
    weighed = _weighed(probabilities, facts)
    sure = weighed.max(1) >= facts.thresholds.get("unsure_below", UNSURE_BELOW)
    if facts.coarse_of:
        group_of = groups_of(facts.classes, facts.coarse_of)[1]
        sure &= group_of[weighed.argmax(1)] == _sums(probabilities, facts).argmax(1)
    return np.asarray(sure)


def _sums(probabilities: NDArray[np.float64], facts: TaskFacts) -> NDArray[np.float64]:
    """The probability of each coarse class, [N, groups]."""
    names, group_of = groups_of(facts.classes, facts.coarse_of)
    return np.asarray(probabilities @ np.eye(len(names))[group_of])


def _coarse(probabilities: NDArray[np.float64], facts: TaskFacts) -> list[tuple[str, float]]:
    """The most probable coarse class of each picture and its probability; nothing for one level."""
    if not facts.coarse_of:
        return []
    names, sums = groups_of(facts.classes, facts.coarse_of)[0], _sums(probabilities, facts)
    return [(names[best], round(float(row[best]), 6)) for row, best in zip(sums, sums.argmax(1), strict=True)]


def _coarse_scores(samples: Sequence[Sample], probabilities: NDArray[np.float64], facts: TaskFacts) -> dict[str, Any]:
    """Accuracy of the most probable coarse class, and precision, recall and F1 of each of them."""
    names = groups_of(facts.classes, facts.coarse_of)[0]
    truth = [s.coarse if s.coarse is not None else facts.coarse_of.get(s.label, s.label) for s in samples]
    targets = np.array([names.index(name) if name in names else -1 for name in truth], np.int64)
    found = scores(_sums(probabilities, facts), targets, tuple(names))
    kept = {"coarse_accuracy": "accuracy", "coarse_accuracy_ci": "accuracy_ci", "per_coarse_class": "per_class"}
    return {key: found[name] for key, name in kept.items()}
