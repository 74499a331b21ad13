"""An interpolated n-gram model of characters with modified Kneser-Ney smoothing (Chen and Goodman 1999).

T characters, V different ones.
"""

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]


def bits_per_character(text: str, learn: int, test: int, order: int) -> float:
    """Mean bits of each character from `test` on, foreseen from the `order` before it; the first `learn` taught it."""
    names = sorted(set(text))
    number = {name: i for i, name in enumerate(names)}
    x = np.array([number[c] for c in text], np.int64)
    p = np.full(len(x) - test, 1 / len(names))
    for k in range(order + 1):
        grams = keys(x[:learn], k + 1, len(names))
        if k < order:  # how many different characters stand before it
            wider = np.unique(keys(x[:learn], k + 2, len(names)))
            grams = wider % len(names) ** (k + 1)
        p = add_order(p, *np.unique(grams, return_counts=True), keys(x[test - k :], k + 1, len(names)), len(names))
    return float(-np.log2(p).mean())


def keys(x: Keys, n: int, v: int) -> Keys:
    """Each run of n characters as a number, the last one lowest: [T - n + 1]."""
    found = np.zeros(len(x) - n + 1, np.int64)
    for j in range(n):
        found = found * v + x[j : len(x) - n + 1 + j]
    return found


def add_order(
    p: NDArray[np.float64], grams: Keys, counts: NDArray[np.int64], asked: Keys, v: int
) -> NDArray[np.float64]:
    """The probabilities of `asked` with one character more of context, from those with one fewer."""
    n = [int((counts == i).sum()) for i in range(1, 5)]
    y = n[0] / max(1, n[0] + 2 * n[1])
    steps = [0.0, *(i + 1 - (i + 2) * y * n[i + 1] / max(1, n[i]) for i in range(3))]
    discount = np.clip(steps, 0, range(4))[np.minimum(counts, 3)]
    contexts, place = np.unique(grams // v, return_inverse=True)
    total, kept = np.bincount(place, counts), np.bincount(place, discount)
    own = look_up(grams, counts - discount, asked)
    whole, rest = look_up(contexts, total, asked // v), look_up(contexts, kept, asked // v)
    return np.where(whole > 0, (own + rest * p) / np.maximum(whole, 1), p)


def look_up(names: Keys, values: NDArray[np.float64], asked: Keys) -> NDArray[np.float64]:
    """The value of each asked name; 0 for others."""
    place = np.searchsorted(names, asked).clip(max=len(names) - 1)
    return np.where(names[place] == asked, values[place], 0.0)
