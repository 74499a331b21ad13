"""What a task brings to training: its truth as tensors, its loss, and what validation decides.

N pictures, L classes (or labels, or the one number of a regression).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index
from fieldmark.types import Sample
from fieldmark.workshop.learn.linear import Judged, Sums
from fieldmark.workshop.recipe import Recipe

Logits = NDArray[np.floating]  # [N, L]
Targets = NDArray[Any]  # [N, ...]


class Learner(Protocol):
    """One kind of truth; made by `of(index, recipe)`, which raises DataError or UsageError when there is nothing to
    learn."""

    classes: tuple[str, ...]

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how this data is learned, a sentence each."""
        ...

    def targets(self, samples: Sequence[Sample]) -> Targets:
        """The truth of samples, [N, ...], as it is kept."""
        ...

    def encode(self, targets: Targets) -> Tensor:
        """The truth as the loss takes it, floats [N, L]: what mixed pictures share."""
        ...

    def loss(self, outputs: Sequence[Tensor], encoded: Tensor) -> Tensor:
        """The loss of a network's outputs, logits [N, L] and attention [N, K, h, w] first; a scalar."""
        ...

    def weights(self, targets: Targets) -> NDArray[np.float64] | None:
        """How often each training picture is drawn, [N]; None for once an epoch."""
        ...

    def score(self, logits: Logits, targets: Targets) -> dict[str, float]:
        """Validation: "score", to raise, and its standard error, "error"; beside them what people read."""
        ...

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """Whether scores of `n` validation pictures speak for the network of `new`."""
        ...

    def settle(self, logits: Logits, targets: Targets) -> dict[str, Any]:
        """What held-out pictures decide, as facts of the bundle: calibration, thresholds."""
        ...

    def sums(self, n_features: int) -> Sums:
        """Empty statistics of a linear head."""
        ...

    def rows(self, targets: Targets) -> Tensor:
        """The truth as those statistics take it."""
        ...

    def judge(self, outputs: NDArray[np.float64], targets: Targets) -> Judged:
        """What held-out outputs of linear heads are worth."""
        ...


class MakeLearner(Protocol):
    """How a learner is made."""

    def __call__(self, index: Index, recipe: Recipe) -> Learner: ...
