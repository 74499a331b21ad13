"""Multi-label metrics, from probabilities and truths. N pictures, L labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classification import expected_calibration_error
from .intervals import RESAMPLES, mean_interval

Probabilities = NDArray[np.float64]  # [N, L]
Truth = NDArray[np.bool_]  # [N, L]
MAP_RESAMPLES, MOST_CUTS = 500, 500


def sigmoid(logits: NDArray[np.floating]) -> Probabilities:
    """Probabilities, each by itself."""
    z = np.asarray(logits, np.float64)
    return np.asarray(np.exp(-np.logaddexp(0.0, -z)))


def average_precisions(probabilities: Probabilities, truth: Truth) -> NDArray[np.float64]:
    """Area under each label's precision-recall curve [L], as scikit-learn steps it; NaN where no picture has the label.

    Labels are ranked by probability; pictures of equal probability enter together.
    """
    order = np.argsort(-probabilities, axis=0, kind="stable")
    ranked = np.take_along_axis(probabilities, order, 0)
    hits = np.take_along_axis(truth, order, 0).cumsum(0)
    precision = hits / np.arange(1, len(truth) + 1)[:, None]
    last = np.vstack([ranked[1:] != ranked[:-1], np.ones((1, truth.shape[1]), bool)])  # of pictures that tie
    found = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(truth.any(0)):
        kept = last[:, label]
        gained = np.diff(hits[kept, label], prepend=0)
        found[label] = (precision[kept, label] * gained).sum() / hits[-1, label]
    return found


def f1_thresholds(probabilities: Probabilities, truth: Truth, prior: float = 1.0) -> NDArray[np.float64]:
    """For each label the threshold t [L] with the highest F1 - prior * |t - 0.5| / n, n pictures having the label: one
    of few pictures stays near 0.5; 0.5 where no picture has the label."""
    found = np.full(truth.shape[1], 0.5)
    for label in np.flatnonzero(truth.any(0)):
        p, t = probabilities[:, label], truth[:, label]
        values = np.unique(np.quantile(p, np.linspace(0, 1, min(len(p), MOST_CUTS))))
        cuts = np.unique(np.concatenate([(values[1:] + values[:-1]) / 2, [0.5]]))
        said = p[None] >= cuts[:, None]
        right = (said & t).sum(1)
        f1 = 2 * right / (said.sum(1) + t.sum())
        shrunk = (f1 * t.sum() - prior * np.abs(cuts - 0.5)) / t.sum()
        best = np.flatnonzero(shrunk >= shrunk.max() - 1e-12)
        found[label] = cuts[best[np.abs(cuts[best] - 0.5).argmin()]]
    return found


def scores(probabilities: Probabilities, said: Truth, truth: Truth, labels: Sequence[str]) -> dict[str, Any]:
    """The contract's keys for `multilabel`; averages are over labels that occur in `truth`, so `map` is None where none
    does."""
    right, called, there = (said & truth).sum(0), said.sum(0), truth.sum(0)
    occurs = there > 0
    precisions = average_precisions(probabilities, truth)
    each = (_share(right, called), _share(right, there), _share(2 * right, called + there), there)
    exact = (said == truth).all(1)
    sure = np.maximum(probabilities, 1 - probabilities).ravel()
    result: dict[str, Any] = {
        "map": float(np.nanmean(precisions)) if occurs.any() else None,
        "map_ci": _map_interval(probabilities, truth) if occurs.any() else None,
        "micro_f1": float(_share(2 * right.sum(), (called + there).sum())),
        "macro_f1": float(each[2][occurs].mean()) if occurs.any() else None,
        "subset_accuracy": float(exact.mean()),
        "subset_accuracy_ci": mean_interval(exact),
        "ece": expected_calibration_error(sure, ((probabilities >= 0.5) == truth).ravel()),
        "nll": float(-np.log(np.maximum(np.where(truth, probabilities, 1 - probabilities), 1e-12)).mean()),
    }
    result["per_class"] = {
        name: {
            "precision": float(p),
            "recall": float(r),
            "f1": float(f),
            "average_precision": float(a) if np.isfinite(a) else None,
            "n": int(n),
        }
        for name, p, r, f, n, a in zip(labels, *each, precisions, strict=True)
    }
    return result


def _share(part: Any, whole: Any) -> Any:
    """part / whole; 0 of nothing."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)


def _map_interval(probabilities: Probabilities, truth: Truth) -> list[float]:
    """`[low, high]` of the mean average precision over resamples of the pictures."""
    rng, n = np.random.default_rng(0), len(truth)
    found = []
    for _ in range(min(RESAMPLES, MAP_RESAMPLES)):
        chosen = rng.integers(0, n, n)
        if truth[chosen].any():
            found.append(float(np.nanmean(average_precisions(probabilities[chosen], truth[chosen]))))
    low, high = np.quantile(found, [0.025, 0.975])
    return [float(low), float(high)]
