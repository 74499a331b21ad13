"""Temperature scaling (Guo et al. 2017): one number that makes probabilities mean what they say."""

import numpy as np
from numpy.typing import NDArray

LOG_RANGE = (-6.0, 6.0)
GOLDEN = (5**0.5 - 1) / 2


def fit_temperature(logits: NDArray[np.floating], targets: NDArray[np.int64], steps: int = 60) -> float:
    """The T > 0 that minimises the negative log-likelihood of softmax(logits / T); logits [N, L], targets [N].

    The true class counts (n + 1) / (n + 2) and the others share the rest (the targets of Platt 1999), so that n right
    answers of n do not make every probability 1. The loss is unimodal in log T, so golden-section search finds its
    least. 1.0 when no picture has a known class.
    """
    known = np.flatnonzero(targets >= 0)
    if not known.size:
        return 1.0
    # Less the true one's logit, the loss is log sum exp: exact, where a probability is bounded below.
    z = np.asarray(logits, np.float64)[known]
    z = z - z[np.arange(known.size), targets[known], None]
    tops = z.max(1)
    smoothing = 1 / (known.size + 2)
    others = z.sum(1).mean() / max(1, z.shape[1] - 1)  # the true one's own is 0

    def cost(log_t: float) -> float:
        t = np.exp(log_t)
        return float((tops / t + np.log(np.exp((z - tops[:, None]) / t).sum(1))).mean() - smoothing * others / t)

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
