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
    """`mae` of a forecast of each next row, and `baseline_mae`, for each column the lower of the last value's and of
    the value one period before; all are [T, C] in the columns' own units, gaps in the truth are NaN. Means over the
    columns; `relative_mae` is the mean over columns of the one as a share of the other, where that is not 0. Columns
    that are all gaps in the truth are left out."""
    there = np.isfinite(truth).any(0)  # columns
    columns = [name for name, known in zip(columns, there, strict=True) if known]
    truth = truth[:, there]
    ours, lasts, seasons = (np.abs(said[:, there] - truth) for said in (forecast, last, season))
    means = [np.nanmean(error, 0) for error in (ours, lasts, seasons)]
    baseline = np.where(means[1] <= means[2], lasts, seasons)
    known = np.isfinite(truth).any(1)
    lowest = np.minimum(means[1], means[2])
    result: dict[str, Any] = {"n": int(known.sum())}
    for key, error, mean in (("mae", ours, means[0]), ("baseline_mae", baseline, lowest)):
        result[key] = float(mean.mean())
        result[f"{key}_ci"] = mean_interval(_blocks(np.nanmean(error[known], 1)))
    result |= {"last_value_mae": float(means[1].mean()), "seasonal_mae": float(means[2].mean())}
    if (lowest > 0).any():
        result["relative_mae"] = float((means[0][lowest > 0] / lowest[lowest > 0]).mean())
    if len(columns) > 1:
        result["per_column"] = {
            name: {"mae": float(means[0][i]), "baseline_mae": float(lowest[i])} for i, name in enumerate(columns)
        }
    return result


def _blocks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means of neighbouring values, at least `FEWEST_BLOCKS` of them where there are as many; what is left over at the
    end is part of no block."""
    size = max(1, min(BLOCK, len(values) // FEWEST_BLOCKS))
    whole = len(values) // size * size
    return np.asarray(values[:whole].reshape(-1, size).mean(1), np.float64)
