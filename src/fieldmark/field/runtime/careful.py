"""Near ties are looked at again in float32.

bfloat16 halves the time of a picture and shifts its logits a little; that changes a decision only where another one is
close, of two classes or at a threshold. Those few pictures go through a float32 engine as well, so that decisions are
float32's.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fieldmark.field.runtime.engine import Arrays, Engine, compiling

LOGITS = "logits"
Margins = Callable[[NDArray[np.float32]], NDArray[np.float64]]  # logits [N, L] -> [N]


class CarefulEngine:
    """A fast Engine whose near ties, those with `margins(logits)` below `margin`, are answered by an exact one.

    `exact` makes the exact engine; it is called once, at the first near tie.
    """

    def __init__(self, fast: Engine, exact: Callable[[], Engine], margin: float, margins: Margins) -> None:
        self.name, self.precision, self.micro_batch = fast.name, fast.precision, fast.micro_batch
        self.margin, self.margins = margin, margins
        self._fast, self._make_exact = fast, exact
        self._exact: Engine | None = None

    def run(self, pictures: NDArray[np.uint8], outputs: Sequence[str]) -> Arrays:
        found = self._fast.run(pictures, tuple({*outputs, LOGITS}))
        close = self.margins(found[LOGITS]) < self.margin
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
