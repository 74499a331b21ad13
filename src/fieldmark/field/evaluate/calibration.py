"""What makes probabilities mean what they say: one temperature (Guo et al. 2017), or a line a label (Platt 1999).

N pictures, L classes or labels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LOG_RANGE = (-6.0, 6.0)
GOLDEN = (5**0.5 - 1) / 2
PLATT_RIDGE, LONGEST_MOVE = 1e-3, 4.0


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.int64], steps: int = 60) -> float:
    """The T > 0 that minimises the negative log-likelihood of softmax(logits / T); logits [N, L], targets [N].

    The true class counts (n + 1) / (n + 2) and the others share the rest (the targets of Platt 1999), so that n right
    answers of n do not make every probability 1; a class whose logit is minus infinity was no choice. The loss is
    unimodal in log T, so golden-section search finds its least. 1.0 when no picture has a known class.
    """
    known = np.flatnonzero(targets >= 0)
    if not known.size:
        return 1.0
    # Less the true one's logit, the loss is log sum exp: exact, where a probability is bounded below.
    z = np.asarray(logits, np.float64)[known]
    z = z - z[np.arange(known.size), targets[known], None]
    tops = z.max(1)
    smoothing = 1 / (known.size + 2)
    choices = np.isfinite(z)
    others = (np.where(choices, z, 0).sum(1) / np.maximum(1, choices.sum(1) - 1)).mean()  # the true one's own is 0

    def cost(log_t: float) -> float:
        t = np.exp(log_t)
        return float((tops / t + np.log(np.exp((z - tops[:, None]) / t).sum(1))).mean() - smoothing * others / t)

    return _least(cost, steps)


def fit_label_temperature(logits: NDArray[np.floating], truth: NDArray[np.bool_], steps: int = 60) -> float:
    """The T > 0 that minimises the mean binary cross-entropy of sigmoid(logits / T); logits and truth [N, L], each
    label's truths smoothed as Platt's (1999). 1.0 where there are none."""
    if not truth.size:
        return 1.0
    z, wanted = np.asarray(logits, np.float64), platt_targets(truth)

    def cost(log_t: float) -> float:
        scaled = z / np.exp(log_t)
        return float((np.logaddexp(0, scaled) - wanted * scaled).mean())

    return _least(cost, steps)


def _least(cost: Callable[[float], float], steps: int) -> float:
    """The T at whose logarithm a unimodal cost is least, by golden-section search."""
    low, high = LOG_RANGE
    a, b = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    cost_a, cost_b = cost(a), cost(b)
    for _ in range(steps):
        if cost_a <= cost_b:
            high, b, cost_b = b, a, cost_a
            a = high - GOLDEN * (high - low)
            cost_a = cost(a)
        else:
            low, a, cost_a = a, b, cost_b
            b = low + GOLDEN * (high - low)
            cost_b = cost(b)
    return float(np.exp((low + high) / 2))


def platt_targets(truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Smoothed truths [N, L] (Platt 1999): (n+ + 1) / (n+ + 2) where a label is there, 1 / (n- + 2) where it is not."""
    there = truth.sum(0)
    return np.asarray(np.where(truth, (there + 1) / (there + 2), 1 / (len(truth) - there + 2)), np.float64)


def fit_platt(
    values: NDArray[np.floating], truth: NDArray[np.bool_], steps: int = 50
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and offset [L] with which sigmoid(slope * value + offset) is each label's probability (Platt 1999), by
    damped Newton steps; values and truth [N, L]."""
    x = np.asarray(values, np.float64)
    centre, spread = x.mean(0), np.maximum(x.std(0), 1e-12)
    x, wanted = (x - centre) / spread, platt_targets(truth)
    share = wanted.mean(0)
    slope, offset = np.zeros(x.shape[1]), np.log(share / (1 - share))
    for _ in range(steps):
        p = 0.5 * (1 + np.tanh((slope * x + offset) / 2))
        w, gap = p * (1 - p) + 1e-9, p - wanted
        g0, g1 = gap.sum(0), (gap * x).sum(0) + PLATT_RIDGE * slope
        h00, h01, h11 = w.sum(0), (w * x).sum(0), (w * x * x).sum(0) + PLATT_RIDGE
        determinant = np.maximum(h00 * h11 - h01**2, 1e-12)
        move = np.stack([h00 * g1 - h01 * g0, h11 * g0 - h01 * g1]) / determinant
        move *= np.minimum(1, LONGEST_MOVE / np.maximum(np.abs(move).max(0), 1e-12))
        slope, offset = slope - move[0], offset - move[1]
    return slope / spread, offset - slope * centre / spread
