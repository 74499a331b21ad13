"""Single-label classification in the workshop: its classes, what it refuses, its loss and its validation score.

N pictures, L classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.data.index import Index, class_names
from fieldmark.errors import DataError
from fieldmark.field.evaluate.calibration import fit_temperature
from fieldmark.field.evaluate.classification import groups_of, softmax
from fieldmark.types import Sample
from fieldmark.workshop.learn.losses import coarse_cross_entropy, soft_cross_entropy
from fieldmark.workshop.models.attention import overlap
from fieldmark.workshop.recipe import RegulariseRecipe

NO_TERMS = RegulariseRecipe(label_smoothing=0.0)


def check_classes(index: Index) -> tuple[str, ...]:
    """The class names of the training part, in order; DataError when there is nothing to tell apart.

    A class that only other parts have is an error: no training could learn it.
    """
    train = index.part("train")
    if not train:
        raise DataError("the training part is empty; move pictures into it")
    classes = class_names(train)
    unseen = sorted({s.label for s in index.samples} - set(classes))
    if unseen:
        names = ", ".join(repr(name) for name in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        raise DataError(
            f"class {names} has pictures for validation or test but none to learn from; "
            "add some to the training part or take the class out"
        )
    if len(classes) < 2:
        raise DataError(f"there is only one class ({classes[0]!r}); a recogniser needs at least two to tell apart")
    return classes


class Classify:
    """Cross-entropy on soft targets, with the terms that a recipe adds; validation by negative log-likelihood at the
    best temperature, which says more of a few pictures than the share that is right."""

    def __init__(
        self,
        classes: Sequence[str],
        terms: RegulariseRecipe = NO_TERMS,
        coarse_of: Mapping[str, str] | None = None,
    ) -> None:
        self.classes, self.terms = tuple(classes), terms
        self.group_of = torch.from_numpy(groups_of(self.classes, coarse_of)[1]) if coarse_of else None

    def targets(self, samples: Sequence[Sample]) -> NDArray[np.int64]:
        """Class numbers [N]."""
        number = {name: i for i, name in enumerate(self.classes)}
        return np.array([number[s.label] for s in samples], np.int64)

    def soft(self, targets: NDArray[np.int64]) -> Tensor:
        """Class probabilities [N, L] of the truth."""
        return F.one_hot(torch.from_numpy(targets), len(self.classes)).float()

    def loss(self, outputs: Sequence[Tensor], soft_targets: Tensor) -> Tensor:
        """The loss of a network's outputs, logits [N, L] and attention [N, K, h, w] first; a scalar."""
        loss = soft_cross_entropy(outputs[0], soft_targets, self.terms.label_smoothing)
        if self.terms.apart:
            loss = loss + self.terms.apart * overlap(outputs[1])
        if self.terms.coarse and self.group_of is not None:
            group_of = self.group_of.to(soft_targets.device)
            loss = loss + self.terms.coarse * coarse_cross_entropy(outputs[0], soft_targets, group_of)
        return loss

    def score(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, float]:
        """The score to raise and its standard error, with accuracy and negative log-likelihood (nats)."""
        temperature = fit_temperature(logits, targets)
        p = softmax(logits / temperature)
        each = -np.log(np.maximum(p[np.arange(len(targets)), targets], 1e-12))
        nll = float(each.mean())
        return {
            "score": -nll,
            "error": float(each.std() / np.sqrt(len(each))),
            "nll": nll,
            "accuracy": float((logits.argmax(1) == targets).mean()),
            "temperature": temperature,
        }

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """Whether scores of `n` validation pictures speak for a new network: more of them right, by half a standard
        error (with one more right and one more wrong), or as many within that and a score that is higher by its own
        standard error (a discriminant estimates poorly even where it names well)."""
        p = (n * old["accuracy"] + 1) / (n + 2)
        within = 0.5 * (p * (1 - p) / max(1, n)) ** 0.5
        gain = new["accuracy"] - old["accuracy"]
        return gain > within or (gain >= -within and new["score"] > old["score"] + new["error"])
