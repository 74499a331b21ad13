"""What a task brings to training: its truth as tensors, its loss, and what validation decides.

N pictures, L classes (or labels, or the one number of a regression).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index
from fieldmark.geometry import Geometry
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.learn.linear import Judged, Sums
from fieldmark.workshop.models import Backbone, BaseNetwork, Network
from fieldmark.workshop.models.attention import overlap
from fieldmark.workshop.recipe import Recipe

Kept = NDArray[np.floating]  # [N, ...], of each picture what validation needs; logits [N, L] for classes
Targets = NDArray[Any]  # [N, ...], or objects [N]
Views = Sequence[Geometry]  # of each row where it shows the pixels of its picture; empty where nobody asks


class Encoded(Protocol):
    """The truth of a batch as a loss takes it: a tensor, or several together."""

    def to(self, device: Any) -> Any: ...


class Learner(Protocol):
    """One kind of truth; made by `of(index, recipe)`, which raises DataError or UsageError when there is nothing to
    learn. `located`: its truth lies somewhere in the picture, so that it depends on the view as well."""

    classes: tuple[str, ...]

    @property
    def name(self) -> str: ...

    @property
    def located(self) -> bool: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how this data is learned, a sentence each."""
        ...

    def network(self, backbone: Backbone) -> BaseNetwork:
        """The network that answers, untrained but for its backbone."""
        ...

    def targets(self, samples: Sequence[Sample]) -> Targets:
        """The truth of samples, [N, ...], as it is kept."""
        ...

    def stored(self, samples: Sequence[Sample], preprocess: Preprocess) -> NDArray[Any]:
        """The truth of samples as numbers that a file can hold; places in pixels of the network's input."""
        ...

    def encode(self, targets: Targets, views: Views = ()) -> Encoded:
        """The truth of a batch as the loss takes it; floats [N, L], which mixed pictures share, where it is not
        `located`."""
        ...

    def loss(self, outputs: Sequence[Tensor], encoded: Any) -> Tensor:
        """The loss of what a network's `learn` gives: its outputs in their order, or its own loss; a scalar."""
        ...

    def keep(self, outputs: Sequence[Tensor], targets: Targets, views: Views) -> Kept:
        """What `score` and `settle` take of the outputs for a batch of plain views, [N, ...]."""
        ...

    def weights(self, targets: Targets) -> NDArray[np.float64] | None:
        """How often each training picture is drawn, [N]; None for once an epoch."""
        ...

    def score(self, kept: Kept, targets: Targets) -> dict[str, float]:
        """Validation: "score", to raise, and its standard error, "error"; beside them what people read."""
        ...

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """Whether scores of `n` validation pictures speak for the network of `new`."""
        ...

    def settle(self, kept: Kept, targets: Targets) -> dict[str, Any]:
        """What held-out pictures decide, as facts of the bundle: calibration, thresholds."""
        ...


class OnLogits:
    """What learners have in common whose network gives logits [N, L], one row a picture, so that a linear head on
    frozen features serves them as well."""

    classes: tuple[str, ...]
    recipe: Recipe
    located = False

    def apart(self, outputs: Sequence[Tensor]) -> Tensor | float:
        """The recipe's term that keeps attended maps apart; the average's, joined to them, is none of these."""
        weight, join = self.recipe.regularise.apart, self.recipe.model.join
        return weight * overlap(outputs[1][:, 1:] if join else outputs[1]) if weight else 0.0

    def network(self, backbone: Backbone) -> BaseNetwork:
        return Network(backbone, len(self.classes))

    def targets(self, samples: Sequence[Sample]) -> Targets:
        raise NotImplementedError

    def stored(self, samples: Sequence[Sample], preprocess: Preprocess) -> NDArray[Any]:
        """The targets themselves."""
        return self.targets(samples)

    def keep(self, outputs: Sequence[Tensor], targets: Targets, views: Views) -> Kept:
        """Logits [N, L]."""
        return np.asarray(outputs[0].float().cpu().numpy())

    def score(self, kept: Kept, targets: Targets) -> dict[str, float]:
        raise NotImplementedError

    def costs(self, logits: NDArray[np.floating], targets: Targets) -> NDArray[np.float64]:
        """What each picture [N] costs by its logits, to lower; the score is its negative mean."""
        raise NotImplementedError

    def gains(self, new: NDArray[np.floating], old: NDArray[np.floating], targets: Targets) -> bool:
        """Whether `new` logits [N, L] cost the same pictures less than `old` ones, by more than the standard error of
        the difference, which one picture alone does not tell."""
        saved = self.costs(old, targets) - self.costs(new, targets)
        return len(saved) > 1 and bool(saved.mean() > saved.std(ddof=1) / np.sqrt(len(saved)))

    def sums(self, n_features: int) -> Sums:
        """Empty statistics of a linear head."""
        raise NotImplementedError

    def rows(self, targets: Targets) -> Tensor:
        """The truth as those statistics take it."""
        raise NotImplementedError

    def judge(self, outputs: NDArray[np.float64], targets: Targets) -> Judged:
        """What held-out outputs of linear heads are worth."""
        raise NotImplementedError


class MakeLearner(Protocol):
    """How a learner is made."""

    def __call__(self, index: Index, recipe: Recipe) -> Learner: ...
