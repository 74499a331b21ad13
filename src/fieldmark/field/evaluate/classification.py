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


def scores(
    probabilities: Probabilities, targets: Targets, classes: tuple[str, ...], predicted: Targets | None = None
) -> dict[str, Any]:
    """The contract's keys for `classify`; class averages are over those present in `targets` or predicted, the most
    probable class unless `predicted` says otherwise.

    What cannot be told, as `nll` of unknown classes alone, is None: JSON has no NaN.
    """
    metrics = sklearn_metrics()
    predicted = probabilities.argmax(1) if predicted is None else predicted
    correct = predicted == targets
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    labels = np.unique(np.concatenate([targets, predicted]))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=0
    )
    known = labels >= 0
    return {
        "accuracy": float(correct.mean()),
        "accuracy_ci": mean_interval(correct),
        "top5": float((top == targets[:, None]).any(1).mean()),
        "macro_f1": float(f1.mean()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "ece": expected_calibration_error(probabilities.max(1), probabilities.argmax(1) == targets),
        "nll": negative_log_likelihood(probabilities, targets) if (targets >= 0).any() else None,
        "per_class": {
            classes[c]: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(n)}
            for c, p, r, f, n in zip(
                labels[known], precision[known], recall[known], f1[known], support[known], strict=True
            )
        },
    }


def two_class_scores(
    probabilities: NDArray[np.float64], targets: Targets, positive_class: int = 1, threshold: float = 0.5
) -> dict[str, Any]:
    """Areas and rates of the positive class, whose probabilities are [N], said from the threshold on; areas need both
    classes."""
    metrics = sklearn_metrics()
    known = targets >= 0
    positive, score = targets[known] == positive_class, probabilities[known]
    said = score > threshold
    both = bool(positive.any() and not positive.all())
    return {
        "threshold": threshold,
        "roc_auc": float(metrics.roc_auc_score(positive, score)) if both else None,
        "pr_auc": float(metrics.average_precision_score(positive, score)) if both else None,
        "sensitivity": float(said[positive].mean()) if positive.any() else None,
        "specificity": float((~said[~positive]).mean()) if (~positive).any() else None,
    }


def threshold_for(
    probabilities: NDArray[np.float64], positive: NDArray[np.bool_], sensitivity: float = 0.0, specificity: float = 0.0
) -> float | None:
    """The threshold on [N] probabilities of the positive class that gives at least this sensitivity (the highest such
    one) or this specificity (the lowest), half-way to the next picture's; None where no wish is given or can be told
    by pictures."""
    if sensitivity and positive.any():
        ranked = np.sort(probabilities[positive])[::-1]
        last = ranked[max(0, int(np.ceil(sensitivity * len(ranked) - 1e-9)) - 1)]
        below = probabilities[probabilities < last]
        return float((last + (below.max() if below.size else 0.0)) / 2)
    if specificity and not positive.all():
        ranked = np.sort(probabilities[~positive])
        last = ranked[max(0, int(np.ceil(specificity * len(ranked) - 1e-9)) - 1)]
        above = probabilities[probabilities > last]
        return float((last + (above.min() if above.size else 1.0)) / 2)
    return None


def curves(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> dict[str, list[tuple[float, float]]]:
    """The ROC curve (1 - specificity, sensitivity) and the precision-recall curve (recall, precision) of [N] scores;
    empty where one of the two classes is missing."""
    if not positive.any() or positive.all():
        return {"roc": [], "precision_recall": []}
    metrics = sklearn_metrics()
    off, on, _ = metrics.roc_curve(positive, score)
    precision, recall, _ = metrics.precision_recall_curve(positive, score)
    pairs = {"roc": zip(off, on, strict=True), "precision_recall": zip(recall[::-1], precision[::-1], strict=True)}
    return {name: [(float(a), float(b)) for a, b in rows] for name, rows in pairs.items()}


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
