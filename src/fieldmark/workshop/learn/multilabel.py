"""Multi-label classification in the workshop: its labels, loss and validation score. N pictures, L labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index
from fieldmark.errors import DataError
from fieldmark.field.evaluate.calibration import fit_label_temperature, fit_platt
from fieldmark.field.evaluate.multilabel import average_precisions, f1_thresholds, sigmoid
from fieldmark.types import Sample
from fieldmark.workshop.learn import losses
from fieldmark.workshop.learn.base import OnLogits, Views
from fieldmark.workshop.learn.classify import check_classes
from fieldmark.workshop.learn.linear import Judged
from fieldmark.workshop.learn.ridge import TargetSums
from fieldmark.workshop.recipe import Recipe

LOSSES = ("bce", "focal", "asymmetric")


class MultiLabel(OnLogits):
    """Binary cross-entropy for every label, or another of `LOSSES`; validation by the same at the best temperature."""

    name = "multilabel"
    notes: tuple[str, ...] = ()

    def __init__(self, classes: Sequence[str], recipe: Recipe) -> None:
        self.classes, self.recipe = tuple(classes), recipe

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "MultiLabel":
        """For this data; DataError when no training picture has a label."""
        classes = check_classes(index)
        if not classes:
            raise DataError("no training picture has a label; fill in the column labels")
        return cls(classes, recipe)

    def targets(self, samples: Sequence[Sample]) -> NDArray[np.bool_]:
        """Which labels each picture has, [N, L]."""
        number = {name: i for i, name in enumerate(self.classes)}
        found = np.zeros((len(samples), len(self.classes)), bool)
        for row, sample in zip(found, samples, strict=True):
            row[[number[label] for label in sample.labels]] = True
        return found

    def encode(self, targets: NDArray[np.bool_], views: Views = ()) -> Tensor:
        return torch.from_numpy(targets).float()

    def loss(self, outputs: Sequence[Tensor], encoded: Tensor) -> Tensor:
        recipe, logits = self.recipe.loss, outputs[0]
        if recipe.name == "asymmetric":
            loss = losses.asymmetric(logits, encoded)
        elif recipe.name == "focal":
            loss = losses.asymmetric(logits, encoded, recipe.gamma, recipe.gamma, 0.0)
        else:
            loss = losses.binary_cross_entropy(logits, encoded, self.recipe.regularise.label_smoothing)
        return loss + self.apart(outputs)

    def weights(self, targets: NDArray[np.bool_]) -> None:
        return None

    def score(self, logits: NDArray[np.floating], targets: NDArray[np.bool_]) -> dict[str, float]:
        """The negative log-likelihood of a label (nats) as the score to raise, with mean average precision."""
        each = self.costs(logits, targets)
        nll = float(each.mean())
        precisions = average_precisions(np.asarray(logits, np.float64), targets)
        known = precisions[np.isfinite(precisions)]
        return {
            "score": -nll,
            "error": float(each.std() / np.sqrt(len(each))),
            "nll": nll,
            "map": float(known.mean()) if known.size else 0.0,
        }

    def costs(self, logits: NDArray[np.floating], targets: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The negative log-likelihood of a label at the best temperature (nats), on average over labels."""
        p = sigmoid(logits / fit_label_temperature(logits, targets))
        return np.asarray(-np.log(np.maximum(np.where(targets, p, 1 - p), 1e-12)).mean(1))

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """A score higher by half its standard error."""
        return new["score"] > old["score"] + 0.5 * new["error"]

    def settle(self, logits: NDArray[np.floating], targets: NDArray[np.bool_]) -> dict[str, Any]:
        """The temperature, and for each label the threshold with the best F1."""
        temperature = fit_label_temperature(logits, targets)
        p = sigmoid(logits / temperature)
        bounds = f1_thresholds(p, targets) if len(targets) else np.full(len(self.classes), 0.5)
        return {
            "calibration": {"temperature": temperature},
            "thresholds": {"unsure_below": self.recipe.decide.unsure_below},
            "label_thresholds": [round(float(v), 6) for v in bounds],
        }

    def sums(self, n_features: int) -> TargetSums:
        return TargetSums.zeros(len(self.classes), n_features)

    def rows(self, targets: NDArray[np.bool_]) -> Tensor:
        return self.encode(targets)

    def judge(self, outputs: NDArray[np.float64], targets: NDArray[np.bool_]) -> Judged:
        """Mean average precision, and the negative log-likelihood after a line for each label (Platt 1999)."""
        slope, offset = fit_platt(outputs, targets)
        found = self.score(slope * outputs + offset, targets)
        return Judged(found["map"], found["nll"], slope, offset)
