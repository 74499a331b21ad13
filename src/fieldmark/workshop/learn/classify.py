"""Single-label classification in the workshop: its classes, what it refuses, its loss and its validation score.

N pictures, L classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index, class_names
from fieldmark.errors import DataError, UsageError, unknown_name
from fieldmark.field.evaluate.calibration import fit_temperature
from fieldmark.field.evaluate.classification import groups_of, negative_log_likelihood, softmax, threshold_for
from fieldmark.types import Sample
from fieldmark.workshop.learn import losses
from fieldmark.workshop.learn.base import OnLogits, Views
from fieldmark.workshop.learn.discriminant import ClassSums
from fieldmark.workshop.learn.linear import Judged
from fieldmark.workshop.models.network import COSINE_SCALE
from fieldmark.workshop.recipe import Recipe

LOSSES = ("cross-entropy", "focal", "arcface")
UNEVEN = 10  # times as many pictures of the largest class as of the smallest
TREATMENTS = {
    "weights": "each counts alike in the loss",
    "sampling": "each is drawn alike",
    "adjust": "logits are adjusted by how frequent each is",
}


def check_classes(index: Index) -> tuple[str, ...]:
    """The class names of the training part, in order; DataError when there is nothing to tell apart.

    A class that only other parts have is an error: no training could learn it.
    """
    train = index.part("train")
    if not train:
        raise DataError("the training part is empty; move pictures into it")
    classes = class_names(train)
    unseen = sorted({label for s in index.samples for label in s.labels} - set(classes))
    if unseen:
        names = ", ".join(repr(name) for name in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        raise DataError(
            f"class {names} has pictures for validation or test but none to learn from; "
            "add some to the training part or take the class out"
        )
    return classes


class Classify(OnLogits):
    """Cross-entropy on soft targets, or another of `LOSSES`, with the terms that a recipe adds; validation by negative
    log-likelihood at the best temperature, which says more of a few pictures than the share that is right."""

    name = "classify"

    def __init__(
        self,
        classes: Sequence[str],
        recipe: Recipe,
        counts: NDArray[np.int64] | None = None,
        coarse_of: Mapping[str, str] | None = None,
    ) -> None:
        self.classes, self.recipe = tuple(classes), recipe
        self.group_of = torch.from_numpy(groups_of(self.classes, coarse_of)[1]) if coarse_of else None
        self.imbalance = chosen_imbalance(recipe, counts)
        self.counts = np.ones(len(self.classes)) if counts is None else np.maximum(counts, 1).astype(np.float64)

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "Classify":
        """For this data; DataError when there are not two classes to tell apart, UsageError for settings that do not
        fit them."""
        several = next((s for s in index.samples if len(s.labels) != 1), None)
        if several is not None:
            raise UsageError(
                f"{several.name} has {len(several.labels)} labels; give a table whose column label holds one a "
                "picture, or --task multilabel"
            )
        coarse_of = index.coarse_of  # DataError now, not when all is learned
        classes = check_classes(index)
        if len(classes) < 2:
            raise DataError(f"there is only one class ({classes[0]!r}); a recogniser needs at least two to tell apart")
        decide = recipe.decide
        wish = decide.positive or decide.sensitivity or decide.specificity
        if wish and len(classes) != 2:
            raise UsageError(
                f"decide.positive, .sensitivity and .specificity are for two classes; this data has {len(classes)}"
            )
        if decide.positive and decide.positive not in classes:
            raise UsageError(f"decide.positive: {unknown_name('class', decide.positive, classes)}")
        if recipe.loss.imbalance in ("weights", "adjust") and recipe.loss.name not in ("auto", "cross-entropy"):
            raise UsageError(
                f"loss.imbalance={recipe.loss.imbalance} is for cross-entropy; with loss.name={recipe.loss.name} take "
                "sampling or none"
            )
        if recipe.regularise.coarse and not coarse_of:
            raise UsageError("regularise.coarse is the loss of coarse labels; give a table with a column coarse")
        number = {name: i for i, name in enumerate(classes)}
        counts = np.bincount([number[s.label] for s in index.part("train")], minlength=len(classes))
        return cls(classes, recipe, counts, coarse_of)

    @property
    def notes(self) -> tuple[str, ...]:
        if self.imbalance == "none":
            return ()
        largest, smallest = int(self.counts.max()), int(self.counts.min())
        done = TREATMENTS[self.imbalance]
        return (f"classes have {smallest} to {largest} training pictures: {done} (loss.imbalance)",)

    def targets(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """Class numbers [N]."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[s.label] for s in samples], np.int64)

    def encode(self, targets: NDArray[np.int64], views: Views = ()) -> Tensor:
        """Class probabilities [N, L] of the truth."""
        return F.one_hot(torch.from_numpy(targets), len(self.classes)).float()

    def loss(self, outputs: Sequence[Tensor], encoded: Tensor) -> Tensor:
        terms, logits = self.recipe.regularise, outputs[0]
        loss = self._main(logits, encoded) + self.apart(outputs)
        if terms.coarse and self.group_of is not None:
            loss = loss + terms.coarse * losses.coarse_cross_entropy(logits, encoded, self.group_of.to(logits.device))
        return loss

    def _main(self, logits: Tensor, encoded: Tensor) -> Tensor:
        recipe = self.recipe.loss
        if recipe.name == "focal":
            return losses.focal(logits, encoded, recipe.gamma)
        if recipe.name == "arcface":
            return losses.arcface(logits / COSINE_SCALE, encoded, recipe.margin, COSINE_SCALE)
        share = torch.from_numpy(self.counts / self.counts.sum()).float().to(logits.device)
        if self.imbalance == "adjust":
            return losses.logit_adjusted(logits, encoded, share, smoothing=self.recipe.regularise.label_smoothing)
        weights = 1 / (share * len(share)) if self.imbalance == "weights" else None
        return losses.soft_cross_entropy(logits, encoded, self.recipe.regularise.label_smoothing, weights)

    def weights(self, targets: NDArray[np.int64]) -> NDArray[np.float64] | None:
        return 1 / self.counts[targets] if self.imbalance == "sampling" else None

    def score(self, logits: NDArray[np.floating], targets: NDArray[np.int64]) -> dict[str, float]:
        """The negative log-likelihood (nats) as the score to raise, with accuracy."""
        temperature = fit_temperature(logits, targets)
        each = _negative_log_likelihoods(logits / temperature, targets)
        nll = float(each.mean())
        return {
            "score": -nll,
            "error": float(each.std() / np.sqrt(len(each))),
            "nll": nll,
            "accuracy": float((logits.argmax(1) == targets).mean()),
            "temperature": temperature,
        }

    def costs(self, logits: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.float64]:
        """The negative log-likelihood at the best temperature (nats)."""
        return _negative_log_likelihoods(logits / fit_temperature(logits, targets), targets)

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """More of them right, by half a standard error (with one more right and one more wrong), or as many within that
        and a score that is higher by its own standard error (a discriminant estimates poorly even where it names
        well)."""
        p = (n * old["accuracy"] + 1) / (n + 2)
        within = 0.5 * (p * (1 - p) / max(1, n)) ** 0.5
        gain = new["accuracy"] - old["accuracy"]
        return gain > within or (gain >= -within and new["score"] > old["score"] + new["error"])

    def settle(self, logits: NDArray[np.floating], targets: NDArray[np.int64]) -> dict[str, Any]:
        """The temperature, and the operating point that the recipe wishes for."""
        logits, targets = _known(logits, targets)
        temperature, decide = fit_temperature(logits, targets), self.recipe.decide
        thresholds = {"unsure_below": decide.unsure_below}
        facts: dict[str, Any] = {"calibration": {"temperature": temperature}, "thresholds": thresholds}
        if len(self.classes) == 2:
            facts["positive"] = decide.positive or self.classes[1]
            positive = self.classes.index(facts["positive"])
            if decide.sensitivity or decide.specificity:
                p = softmax(logits / temperature)[:, positive]
                at = threshold_for(p, targets == positive, decide.sensitivity, decide.specificity)
                thresholds |= {"positive_at": at} if at is not None else {}
        return facts

    def sums(self, n_features: int) -> ClassSums:
        return ClassSums.zeros(len(self.classes), n_features)

    def rows(self, targets: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(targets)

    def judge(self, outputs: NDArray[np.float64], targets: NDArray[np.int64]) -> Judged:
        """Accuracy, and negative log-likelihood at the best temperature; rows whose class no other fold has are left
        out."""
        kept, truth = _known(outputs, targets)
        nll = negative_log_likelihood(softmax(kept / fit_temperature(kept, truth)), truth)
        return Judged(float((kept.argmax(1) == truth).mean()) if len(truth) else 0.0, nll)


def _negative_log_likelihoods(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    p = softmax(logits)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(targets)), targets], 1e-12)))


def _known(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """The rows whose true class has a logit: a class that the other folds lack has minus infinity."""
    usable = np.isfinite(logits[np.arange(len(targets)), targets])
    return logits[usable], targets[usable]


def chosen_imbalance(recipe: Recipe, counts: NDArray[np.int64] | None) -> str:
    """What is done against classes of very different sizes: as the recipe says, "auto" by their counts."""
    wanted = recipe.loss.imbalance
    if wanted != "auto":
        return wanted
    uneven = counts is not None and counts.max() >= UNEVEN * max(1, counts.min())
    return "adjust" if uneven and recipe.loss.name in ("auto", "cross-entropy") else "none"
