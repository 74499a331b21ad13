"""Bootstrap intervals (Efron 1979, percentile method)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
CHUNK_VALUES = 4_000_000


def mean_interval(values: ArrayLike, seed: int = 0, level: float = 0.95) -> list[float]:
    """`[low, high]` of the mean of `values` [N] over resamples of them; [nan, nan] when there are none."""
    sample = np.asarray(values, np.float64)
    if sample.size == 0:
        return [float("nan"), float("nan")]
    means = _resampled_means(sample, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def paired_interval(a: ArrayLike, b: ArrayLike, seed: int = 0, level: float = 0.95) -> list[float]:
    """`[low, high]` of mean(a) - mean(b) where `a` [N] and `b` [N] are of the same pictures, resampled together."""
    return mean_interval(np.asarray(a, np.float64) - np.asarray(b, np.float64), seed, level)


def _resampled_means(sample: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    size = sample.size
    rows = max(1, min(RESAMPLES, CHUNK_VALUES // size))
    means: list[NDArray[np.float64]] = []
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        means.append(sample[rng.integers(0, size, (count, size), dtype=np.int32)].mean(1))
    return np.concatenate(means)
