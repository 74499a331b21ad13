"""Metrics of a predicted number. N pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .intervals import RESAMPLES, mean_interval

Numbers = NDArray[np.float64]  # [N]


def scores(values: Numbers, truth: Numbers) -> dict[str, Any]:
    """The contract's keys for `regress`, with intervals; `r2` is None where the truth does not vary.

    `r2` is the share of the truth's variation that is explained: 1 - sum (truth - value)² / sum (truth - its mean)².
    """
    errors = values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    varies = spread > 0
    result: dict[str, Any] = {
        "mae": float(np.abs(errors).mean()),
        "mae_ci": mean_interval(np.abs(errors)),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1 - float((errors**2).sum()) / spread if varies else None,
    }
    if varies:
        result["r2_ci"] = _r2_interval(errors, truth)
    return result


def _r2_interval(errors: Numbers, truth: Numbers) -> list[float]:
    """`[low, high]` over resamples of the pictures."""
    chosen = np.random.default_rng(0).integers(0, len(truth), (RESAMPLES // 2, len(truth)))
    picked = truth[chosen]
    spread = ((picked - picked.mean(1, keepdims=True)) ** 2).sum(1)
    found = 1 - (errors[chosen] ** 2).sum(1) / np.where(spread > 0, spread, np.nan)
    low, high = np.nanquantile(found, [0.025, 0.975])
    return [float(low), float(high)]


def error_quantile(errors: Numbers, level: float) -> float:
    """The half-width that holds a share `level` of new absolute errors, from N held-out ones: their
    ⌈(N + 1) level⌉-th smallest (split conformal prediction, Lei et al. 2018), or the largest where N is too small."""
    ranked = np.sort(np.abs(errors))
    return float(ranked[min(len(ranked), int(np.ceil((len(ranked) + 1) * level))) - 1]) if len(ranked) else 0.0
