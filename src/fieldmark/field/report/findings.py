"""What a report says of an evaluation of class answers, as numbers: confusions, coverage, classes worst first.

N pictures; the answers are read from predictions, so the numbers are those that a user of the recogniser sees.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.evaluate.classification import confusion
from fieldmark.field.runtime.evaluation import Evaluation

MOST_MATRIX_CLASSES = 40
FEWER_MATRIX_CLASSES = 30
COVERAGE_POINTS = 200


@dataclass(frozen=True)
class Answers:
    """Truth and first answer of N pictures; `confidence` and `correct` are [N]."""

    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]


@dataclass(frozen=True)
class Pair:
    """How often pictures of one class were named as one other."""

    truth: str
    predicted: str
    count: int
    of: int  # pictures of class `truth`
    back: int  # pictures of class `predicted` named `truth`


@dataclass(frozen=True)
class Matrix:
    """Counts [L, L] of the classes `names`, row = truth, column = answer; `totals` [L] pictures of each class.

    `left_out` classes are not among them.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    totals: NDArray[np.int64]
    left_out: int


def answers(evaluation: Evaluation) -> Answers:
    """The first answers of an evaluation; pictures without an answer or without a label are left out."""
    rows = [
        (sample.label, prediction.labels[0])
        for sample, prediction in zip(evaluation.samples, evaluation.predictions, strict=True)
        if sample.labels and prediction.labels
    ]
    truth = tuple(label for label, _ in rows)
    predicted = tuple(best.label for _, best in rows)
    correct = np.array([t == p for t, p in zip(truth, predicted, strict=True)], np.bool_)
    return Answers(truth, predicted, np.array([best.probability for _, best in rows], np.float64), correct)


def confused_pairs(found: Answers, most: int = 15) -> list[Pair]:
    """The wrong (truth, answer) pairs by count, then by name."""
    wrong = Counter(pair for pair in zip(found.truth, found.predicted, strict=True) if pair[0] != pair[1])
    totals = Counter(found.truth)
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [Pair(t, p, count, totals[t], wrong[p, t]) for (t, p), count in ranked]


def confusion_matrix(found: Answers, classes: Sequence[str]) -> Matrix:
    """The confusion matrix of the classes that occur; of more than MOST_MATRIX_CLASSES, those most confused.

    The many are ordered so that classes confused with each other stand together.
    """
    names = tuple(dict.fromkeys((*classes, *sorted(set(found.predicted)))))
    number = {name: i for i, name in enumerate(names)}
    truth = np.array([number.get(name, -1) for name in found.truth], np.int64)
    predicted = np.array([number[name] for name in found.predicted], np.int64)
    counts = confusion(predicted, truth, len(names))
    occurring = np.flatnonzero(counts.sum(0) + counts.sum(1))
    chosen = occurring
    if occurring.size > MOST_MATRIX_CLASSES:
        mutual = counts + counts.T
        np.fill_diagonal(mutual, 0)
        chosen = _neighbours_together(mutual, FEWER_MATRIX_CLASSES)
    shown = counts[np.ix_(chosen, chosen)]
    return Matrix(tuple(names[c] for c in chosen), shown, counts.sum(1)[chosen], int(occurring.size - chosen.size))


def _neighbours_together(mutual: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The `most` classes with the most confusions, each followed by the one most often confused with it."""
    total = mutual.sum(1)
    ranked = [int(c) for c in np.argsort(-total, kind="stable")[:most] if total[c] > 0]
    order: list[int] = []
    while ranked:
        after = mutual[order[-1], ranked] if order else total[ranked]
        order.append(ranked.pop(int(np.argmax(after))))
    return np.array(order, np.int64)


def coverage_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], at_least: int = 1
) -> list[tuple[float, float]]:
    """(share answered, accuracy among them) when only the k most confident of N are answered, k = `at_least` to N.

    Equal confidences cannot be told apart, so k stands only where the confidence falls; the last point is always there.
    """
    n = len(confidence)
    if n == 0:
        return []
    order = np.argsort(-confidence, kind="stable")
    accuracy = np.cumsum(correct[order]) / np.arange(1, n + 1)
    falls = np.append(np.flatnonzero(np.diff(confidence[order]) < 0), n - 1)  # last index of each run of equals
    kept = falls[(falls + 1 >= at_least) | (falls == n - 1)]
    if kept.size > COVERAGE_POINTS:
        kept = kept[np.unique(np.linspace(0, kept.size - 1, COVERAGE_POINTS).round().astype(int))]
    return [(float((k + 1) / n), float(accuracy[k])) for k in kept]


def class_rows(scores: Mapping[str, Any], coarse: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a class of `per_class`: the lowest recall first, classes without pictures last."""
    per_class = scores.get("per_class")
    if not isinstance(per_class, Mapping):
        return []
    rows = [
        {"name": name, "coarse": coarse.get(name, ""), **values}
        for name, values in per_class.items()
        if isinstance(values, Mapping)
    ]
    return sorted(rows, key=lambda r: (not r.get("n"), r.get("recall") or 0.0, -(r.get("n") or 0), r["name"]))


def most_frequent_share(found: Answers) -> float:
    """The share of the most frequent true class: what always naming it would score."""
    return max(Counter(found.truth).values()) / len(found.truth) if found.truth else 0.0
