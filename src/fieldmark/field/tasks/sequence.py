"""Sequences: how well the next character, or the next values, are foreseen. Arrays in, the contract's keys out.

T rows, C columns.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.evaluate.intervals import mean_interval

BLOCK = 1_000  # characters whose surprises are resampled together: neighbours are not independent
FEWEST_BLOCKS = 20
LN2 = float(np.log(2))


def text_scores(nats: NDArray[np.floating], begins: NDArray[np.bool_]) -> dict[str, Any]:
    """`perplexity` and `bits_per_character` with intervals, from the surprise at each code in nats and whether it
    begins a character: one written in several bytes costs all of them."""
    places = np.flatnonzero(begins)
    each = np.add.reduceat(nats.astype(np.float64), places) if places.size else np.zeros(0)
    bits = float(each.mean()) / LN2
    low, high = (value / LN2 for value in mean_interval(_blocks(each)))
    return {
        "n": int(places.size),
        "bits_per_character": bits,
        "bits_per_character_ci": [low, high],
        "perplexity": float(2**bits),
        "perplexity_ci": [float(2**low), float(2**high)],
    }


def series_scores(
    truth: NDArray[np.floating],
    forecast: NDArray[np.floating],
    last: NDArray[np.floating],
    season: NDArray[np.floating],
    columns: Sequence[str],
) -> dict[str, Any]:
    """`mae` of a forecast of each next row, and `baseline_mae`, the lower of the last value's and of the value one
    period before; all are [T, C] in the columns' own units, gaps in the truth are NaN. Means over the columns."""
    errors = {name: np.abs(said - truth) for name, said in (("mae", forecast), ("last", last), ("season", season))}
    means = {name: np.nanmean(error, 0) for name, error in errors.items()}
    best = min(("last", "season"), key=lambda name: float(means[name].mean()))
    result: dict[str, Any] = {"n": int(np.isfinite(truth).any(1).sum())}
    for key, name in (("mae", "mae"), ("baseline_mae", best)):
        result[key] = float(means[name].mean())
        known = np.isfinite(errors[name]).any(1)
        result[f"{key}_ci"] = mean_interval(_blocks(np.nanmean(errors[name][known], 1)))
    result |= {"last_value_mae": float(means["last"].mean()), "seasonal_mae": float(means["season"].mean())}
    if len(columns) > 1:
        result["per_column"] = {
            name: {"mae": float(means["mae"][i]), "baseline_mae": float(means[best][i])}
            for i, name in enumerate(columns)
        }
    return result


def _blocks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means of neighbouring values, at least `FEWEST_BLOCKS` of them where there are as many; what is left over at the
    end is part of no block."""
    size = max(1, min(BLOCK, len(values) // FEWEST_BLOCKS))
    whole = len(values) // size * size
    return np.asarray(values[:whole].reshape(-1, size).mean(1), np.float64)
