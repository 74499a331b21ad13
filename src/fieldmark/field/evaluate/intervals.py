"""Bootstrap intervals (Efron 1979, percentile method); where every outcome is the same, Wilson's (1927)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
Z = {0.95: 1.959964, 0.9: 1.644854, 0.99: 2.575829}  # of the normal distribution, two-sided
CHUNK_VALUES = 4_000_000


def mean_interval(values: ArrayLike, seed: int = 0, level: float = 0.95) -> list[float]:
    """`[low, high]` of the mean of `values` [N] over resamples of them; [nan, nan] when there are none.

    Booleans that are all alike, of which resamples tell nothing, get Wilson's interval of a proportion.
    """
    given = np.asarray(values)
    sample = given.astype(np.float64)
    if sample.size == 0:
        return [float("nan"), float("nan")]
    if given.dtype == np.bool_ and level in Z and bool((given == given[0]).all()):
        share = sample.size / (sample.size + Z[level] ** 2)
        return [share, 1.0] if given[0] else [0.0, 1 - share]
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
