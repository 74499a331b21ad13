"""Regression in the workshop: one number a picture, learned in units of the training part's spread. N pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.field.evaluate.regression import error_quantile
from fieldmark.types import Sample
from fieldmark.workshop.learn import losses
from fieldmark.workshop.learn.base import OnLogits, Views
from fieldmark.workshop.learn.linear import Judged
from fieldmark.workshop.learn.ridge import TargetSums
from fieldmark.workshop.recipe import Recipe

LOSSES = ("mse", "huber")
TARGET = "target"  # what the network's one output is called
LEVEL = 0.9  # of true numbers that the stated interval holds


class Regress(OnLogits):
    """Squared error, or Huber's; validation by the mean absolute error, in the data's own units."""

    name = "regress"
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = (TARGET,)

    def __init__(self, mean: float, scale: float, recipe: Recipe) -> None:
        self.mean, self.scale, self.recipe = mean, scale, recipe

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "Regress":
        """For this data; DataError when its training part has no two different numbers."""
        numbers = np.array([s.target for s in index.part("train")], np.float64)
        if not len(numbers) or not numbers.std() > 0:
            raise DataError("the training part needs pictures with different numbers in the column target")
        return cls(float(numbers.mean()), float(numbers.std()), recipe)

    def targets(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """The true numbers [N]."""
        return np.array([s.target for s in samples], np.float64)

    def encode(self, targets: NDArray[np.float64], views: Views = ()) -> Tensor:
        return torch.from_numpy((targets - self.mean) / self.scale).float()[:, None]

    def loss(self, outputs: Sequence[Tensor], encoded: Tensor) -> Tensor:
        recipe = self.recipe.loss
        huber = recipe.name == "huber"
        loss = losses.huber(outputs[0], encoded, recipe.width) if huber else losses.squared_error(outputs[0], encoded)
        return loss + self.apart(outputs)

    def weights(self, targets: NDArray[np.float64]) -> None:
        return None

    def score(self, logits: NDArray[np.floating], targets: NDArray[np.float64]) -> dict[str, float]:
        """The negative mean absolute error as the score to raise."""
        each = self.costs(logits, targets)
        mae, spread = float(each.mean()), float(((targets - targets.mean()) ** 2).sum())
        found = {"score": -mae, "error": float(each.std() / np.sqrt(len(each))), "mae": mae}
        return found | ({"r2": 1 - float((each**2).sum()) / spread} if spread > 0 else {})

    def costs(self, logits: NDArray[np.floating], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """The absolute error."""
        return np.abs(self._errors(logits, targets))

    def _errors(self, logits: NDArray[np.floating], targets: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.mean + self.scale * np.asarray(logits, np.float64)[:, 0] - targets

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """A score higher by half its standard error."""
        return new["score"] > old["score"] + 0.5 * new["error"]

    def settle(self, logits: NDArray[np.floating], targets: NDArray[np.float64]) -> dict[str, Any]:
        """How the number is read from the network, and how far nine of ten held-out ones are from it at most."""
        facts = {"mean": self.mean, "scale": self.scale}
        if len(targets):
            facts["error90"] = error_quantile(self._errors(logits, targets), LEVEL)
        return {"target": facts}

    def sums(self, n_features: int) -> TargetSums:
        return TargetSums.zeros(1, n_features)

    def rows(self, targets: NDArray[np.float64]) -> Tensor:
        return self.encode(targets)

    def judge(self, outputs: NDArray[np.float64], targets: NDArray[np.float64]) -> Judged:
        """The mean absolute error, and the mean squared one."""
        errors = self._errors(outputs, targets)
        return Judged(float(np.abs(errors).mean()), float((errors**2).mean()))
