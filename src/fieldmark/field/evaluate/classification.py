"""Single-label classification metrics, from probabilities and targets.

N pictures, L classes. A target of -1 is a class that the recogniser does not know: always wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.errors import MissingExtraError

from .intervals import mean_interval

Probabilities = NDArray[np.float64]  # [N, L]
Targets = NDArray[np.int64]  # [N]
ECE_BINS = 15


def softmax(logits: NDArray[np.floating]) -> Probabilities:
    """Probabilities over the last axis."""
    z = np.asarray(logits, np.float64)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def groups_of(classes: Sequence[str], coarse_of: Mapping[str, str]) -> tuple[list[str], NDArray[np.int64]]:
    """The coarse classes by name, and the number [L] of each class's own; a class without one is its own."""
    of = [coarse_of.get(c, c) for c in classes]
    names = sorted(set(of))
    return names, np.array([names.index(group) for group in of], np.int64)


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = ECE_BINS
) -> float:
    """Mean gap between confidence [N] and accuracy over equal-width bins, weighted by count (Guo et al. 2017)."""
    rows = reliability(confidence, correct, bins)
    return float(sum(n * abs(c - a) for n, c, a in rows) / max(1, len(confidence)))


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = ECE_BINS
) -> list[tuple[int, float, float]]:
    """(count, mean confidence, accuracy) of each bin of (0, 1] that is not empty."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for b in np.unique(place):
        inside = place == b
        found.append((int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean())))
    return found


def negative_log_likelihood(probabilities: Probabilities, targets: Targets) -> float:
    """Mean -log p(target) in nats over pictures of known classes, p bounded below by 1e-12."""
    known = targets >= 0
    p = probabilities[np.flatnonzero(known), targets[known]]
    return float(-np.log(np.maximum(p, 1e-12)).mean()) if known.any() else float("nan")


def scores(probabilities: Probabilities, targets: Targets, classes: tuple[str, ...]) -> dict[str, Any]:
    """The contract's keys for `classify`; class averages are over those present in `targets` or predicted.

    What cannot be told, as `nll` of unknown classes alone, is None: JSON has no NaN.
    """
    metrics = sklearn_metrics()
    predicted = probabilities.argmax(1)
    correct = predicted == targets
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    labels = np.unique(np.concatenate([targets, predicted]))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=0
    )
    known = labels >= 0
    result: dict[str, Any] = {
        "accuracy": float(correct.mean()),
        "accuracy_ci": mean_interval(correct),
        "top5": float((top == targets[:, None]).any(1).mean()),
        "macro_f1": float(f1.mean()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "ece": expected_calibration_error(probabilities.max(1), correct),
        "nll": negative_log_likelihood(probabilities, targets) if (targets >= 0).any() else None,
        "per_class": {
            classes[c]: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for c, p, r, f, n in zip(
                labels[known], precision[known], recall[known], f1[known], support[known], strict=True
            )
        },
    }
    if len(classes) == 2:
        result |= two_class_scores(probabilities, targets, classes)
    return result


def two_class_scores(probabilities: Probabilities, targets: Targets, classes: tuple[str, ...]) -> dict[str, Any]:
    """Areas and rates with the second class as the positive one, at the threshold 0.5; areas need both classes."""
    metrics = sklearn_metrics()
    known = targets >= 0
    positive, score = targets[known] == 1, probabilities[known, 1]
    said = score > 0.5
    both = bool(positive.any() and not positive.all())
    return {
        "positive": classes[1],
        "threshold": 0.5,
        "roc_auc": float(metrics.roc_auc_score(positive, score)) if both else None,
        "pr_auc": float(metrics.average_precision_score(positive, score)) if both else None,
        "sensitivity": float(said[positive].mean()) if positive.any() else None,
        "specificity": float((~said[~positive]).mean()) if (~positive).any() else None,
    }


def confusion(predicted: Targets, targets: Targets, n_classes: int) -> NDArray[np.int64]:
    """Counts [L, L]: row = true class, column = predicted class; pictures of unknown classes are left out."""
    known = targets >= 0
    table = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(table, (targets[known], predicted[known]), 1)
    return table


def sklearn_metrics() -> Any:
    """scikit-learn's metrics; MissingExtraError when it is not installed."""
    try:
        from sklearn import metrics
    except ImportError:
        raise MissingExtraError("scoring", "report") from None
    return metrics
