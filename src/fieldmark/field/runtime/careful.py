"""Near ties are looked at again in float32.

bfloat16 halves the time of a picture and shifts its logits a little; that changes a decision only where the two best
logits are close. Those few pictures go through a float32 engine as well, so that decisions are float32's.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.runtime.engine import Arrays, Engine, compiling

LOGITS = "logits"


class CarefulEngine:
    """A fast Engine whose near ties, best two logits closer than `margin`, are answered by an exact one.

    `exact` makes the exact engine; it is called once, at the first near tie.
    """

    def __init__(self, fast: Engine, exact: Callable[[], Engine], margin: float) -> None:
        self.name, self.precision, self.micro_batch = fast.name, fast.precision, fast.micro_batch
        self.margin = margin
        self._fast, self._make_exact = fast, exact
        self._exact: Engine | None = None

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        found = self._fast.run(pictures, tuple({*outputs, LOGITS}))
        close = margins(found[LOGITS]) < self.margin
        if close.any():
            again = self._get_exact().run(np.ascontiguousarray(pictures[close]), outputs)
            for name in outputs:
                found[name][close] = again[name]
        return {name: found[name] for name in outputs}

    def _get_exact(self) -> Engine:
        with compiling():
            if self._exact is None:
                self._exact = self._make_exact()
            return self._exact


def margins(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Best minus second-best logit of each row of [N, L]; infinite for one class."""
    if logits.shape[1] < 2:
        return np.full(len(logits), np.inf, np.float32)
    best = np.partition(logits, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def margin_noise(exact: NDArray[np.float32], fast: NDArray[np.float32]) -> float:
    """Root mean square error of the difference between the fast logits' two best classes, from [N, L] of both."""
    if fast.shape[1] < 2 or not len(fast):
        return 0.0
    best = np.argpartition(fast, -2, axis=1)[:, -2:]
    gaps = [np.diff(np.take_along_axis(logits, best, axis=1).astype(np.float64), axis=1) for logits in (exact, fast)]
    return float(np.sqrt(np.mean((gaps[0] - gaps[1]) ** 2)))
