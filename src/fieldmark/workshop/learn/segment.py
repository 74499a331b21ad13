"""Segmentation in the workshop: shares of classes at every position, their losses, and validation by pooled IoU.

N pictures, L classes, h x w positions of the network's answer, H x W pixels of a view.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fieldmark.data.index import Index, class_names
from fieldmark.data.masks import BACKGROUND, IGNORE, load_mask
from fieldmark.errors import DataError, UsageError
from fieldmark.field.evaluate.classmap import class_map, softmax
from fieldmark.field.evaluate.segmentation import iou, measure
from fieldmark.geometry import Geometry, plain
from fieldmark.types import Preprocess, Sample, pack, unpack
from fieldmark.workshop.learn import losses
from fieldmark.workshop.learn.base import Views
from fieldmark.workshop.models import Backbone, BaseNetwork
from fieldmark.workshop.models.segmenter import STRIDES, SegmentNetwork
from fieldmark.workshop.recipe import Recipe

LOSSES = ("cross-entropy", "focal")
STRIDE = STRIDES[0]
TEMPERATURES = np.exp(np.linspace(-1.5, 1.5, 13))
RESAMPLES = 200
TINY = 1e-12


class Segment:
    """Cross-entropy of every position against the shares of classes in it, or "focal", with soft Dice beside it. With a
    background, whether there is a thing and which one are two questions, as they are at prediction."""

    name = "segment"
    located = True
    notes: tuple[str, ...] = ()

    def __init__(self, classes: Sequence[str], recipe: Recipe, shares: NDArray[np.float64] | None = None) -> None:
        self.classes, self.recipe, self.shares = tuple(classes), recipe, shares

    @classmethod
    def of(cls, index: Index, recipe: Recipe) -> "Segment":
        """For this data; DataError when its training part has no two classes, or lacks one that other parts have.
        UsageError for what a recipe may ask of single labels alone."""
        _check(recipe)
        train = index.part("train")
        if not train:
            raise DataError("the training part is empty; move pictures into it")
        classes = tuple(sorted(class_names(train), key=lambda name: name != BACKGROUND))
        if len(classes) < 2:
            only = classes[0] if classes else "ignored"
            raise DataError(f"every pixel of the training part is {only}; add pictures that show something else")
        unseen = sorted({name for s in index.samples for name in s.labels} - set(classes))
        if unseen:
            raise DataError(f"class {unseen[0]!r} is in no mask of the training part; add some, or take the class out")
        weighted = recipe.loss.imbalance in ("weights", "auto")
        return cls(classes, recipe, _shares(train, classes) if weighted and len(classes) > 2 else None)

    def network(self, backbone: Backbone) -> BaseNetwork:
        return SegmentNetwork(backbone, len(self.classes), self.recipe.model.segmenter)

    def targets(self, samples: Sequence[Sample]) -> NDArray[Any]:
        """Class numbers of the pictures' pixels, packed, as objects [N]."""
        found = np.empty(len(samples), object)
        for i, sample in enumerate(samples):
            found[i] = pack(load_mask(sample, self.classes))
        return found

    def stored(self, samples: Sequence[Sample], preprocess: Preprocess) -> NDArray[np.uint8]:
        """Class numbers [N, h, w] at a quarter of the network's input."""
        width, height = preprocess.size_wh
        found = np.empty((len(samples), height // STRIDE, width // STRIDE), np.uint8)
        for i, sample in enumerate(samples):
            numbers = load_mask(sample, self.classes)
            view = seen(numbers, plain(numbers.shape[::-1], preprocess))
            found[i] = view[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
        return found

    def encode(self, targets: NDArray[Any], views: Views = ()) -> Tensor:
        """The share of every class in every position, [N, L, h, w]; nothing of what is ignored or beyond the
        picture."""
        rows = [seen(unpack(packed), view) for packed, view in zip(targets, views, strict=True)]
        return torch.from_numpy(np.stack([class_shares(row, len(self.classes)) for row in rows]))

    def loss(self, outputs: Sequence[Tensor], encoded: Tensor) -> Tensor:
        logits, recipe = outputs[0].float(), self.recipe.loss
        gamma = recipe.gamma if recipe.name == "focal" else 0.0
        if self.classes[0] == BACKGROUND:
            return self._of_things(logits, encoded, gamma)
        loss = losses.pixel_cross_entropy(logits, encoded, self._weights(logits, 0), gamma)
        return loss + recipe.dice * losses.soft_dice(logits, encoded) if recipe.dice else loss

    def _of_things(self, logits: Tensor, encoded: Tensor, gamma: float) -> Tensor:
        """Whether there is a thing, in all positions and in each picture; and which one, where there is."""
        recipe = self.recipe.loss
        loss = losses.thing_cross_entropy(logits, encoded, gamma)
        if recipe.dice:
            loss = loss + recipe.dice * losses.thing_dice(logits, encoded)
        if recipe.presence:
            loss = loss + recipe.presence * losses.presence_cross_entropy(logits, encoded)
        if len(self.classes) == 2 or not recipe.kinds:
            return loss
        weights = self._weights(logits, 1)
        return loss + recipe.kinds * losses.pixel_cross_entropy(logits[:, 1:], encoded[:, 1:], weights, gamma)

    def _weights(self, logits: Tensor, first: int) -> Tensor | None:
        """What each class counts, from number `first` on."""
        if self.shares is None:
            return None
        weights = 1 / np.sqrt(np.maximum(self.shares[first:], TINY))
        return torch.from_numpy(weights / weights.mean()).to(logits)

    def weights(self, targets: NDArray[Any]) -> None:
        return None

    def keep(self, outputs: Sequence[Tensor], targets: NDArray[Any], views: Views) -> NDArray[np.float64]:
        """Of each picture: pixels of the view by class, as `measure` counts them, and the negative log-likelihood of
        its positions at each of `TEMPERATURES`, [N, 4 L + T]."""
        background, found = self.classes[0] == BACKGROUND, []
        for logits, packed, view in zip(outputs[0].float().cpu().numpy(), targets, views, strict=True):
            truth = seen(unpack(packed), view)
            grid = (0.0, 0.0, float(logits.shape[2]), float(logits.shape[1]))
            said = class_map(logits, view.view_wh, grid, background).numbers
            counts = measure(said, truth, len(self.classes), edges=False).pixels[0]
            found.append(np.concatenate([counts.ravel(), _likelihoods(logits, class_shares(truth, len(self.classes)))]))
        return np.stack(found)

    def score(self, kept: NDArray[np.floating], targets: NDArray[Any]) -> dict[str, float]:
        """The mean IoU as the score to raise, its error by resampling the pictures."""
        n = len(self.classes)
        pixels = np.asarray(kept[:, : 4 * n], np.float64).reshape(-1, 4, n)
        rng = np.random.default_rng(0)
        times = rng.multinomial(len(kept), np.full(len(kept), 1 / len(kept)), RESAMPLES)
        spread = np.nanmean(iou((times @ pixels.reshape(len(kept), -1)).reshape(RESAMPLES, 4, n)), 1)
        each = iou(pixels.sum(0))
        found = {"score": float(np.nanmean(each)), "error": float(spread.std()), "miou": float(np.nanmean(each))}
        return found | {"nll": float(kept[:, 4 * n :].mean(0).min())}

    def better(self, new: Mapping[str, float], old: Mapping[str, float], n: int) -> bool:
        """A score higher by half its standard error."""
        return new["score"] > old["score"] + 0.5 * new["error"]

    def settle(self, kept: NDArray[np.floating], targets: NDArray[Any]) -> dict[str, Any]:
        """The temperature at which positions are likeliest."""
        nll = kept[:, 4 * len(self.classes) :].mean(0) if len(kept) else np.zeros(len(TEMPERATURES))
        best = float(TEMPERATURES[int(nll.argmin())]) if len(kept) else 1.0
        return {
            "calibration": {"temperature": best},
            "thresholds": {"unsure_below": self.recipe.decide.unsure_below},
        }


def _check(recipe: Recipe) -> None:
    if recipe.picture.fit == "crop":
        raise UsageError("picture.fit=crop leaves pixels without an answer; take squash or pad for --task segment")
    if recipe.loss.imbalance in ("sampling", "adjust"):
        raise UsageError(f"loss.imbalance={recipe.loss.imbalance} is for single labels; take weights or none")


def seen(numbers: NDArray[np.uint8], view: Geometry) -> NDArray[np.uint8]:
    """Class numbers [H, W] of a picture as a view of it shows them; IGNORE beyond the picture."""
    image = Image.fromarray(numbers)
    moved = image.transform(
        view.view_wh, Image.Transform.AFFINE, view.inverse, Image.Resampling.NEAREST, fillcolor=IGNORE
    )
    return np.asarray(moved)


def class_shares(numbers: NDArray[np.uint8], classes: int) -> NDArray[np.float32]:
    """The share of every class in each cell of `STRIDE` x `STRIDE` pixels, [L, h, w], of class numbers [H, W]."""
    height, width = numbers.shape
    cells = numbers.reshape(height // STRIDE, STRIDE, width // STRIDE, STRIDE)
    found = np.zeros((classes, height // STRIDE, width // STRIDE), np.float32)
    for c in np.unique(numbers):
        if c < classes:
            found[c] = (cells == c).mean((1, 3))
    return found


def _likelihoods(logits: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean negative log-likelihood (nats) of shares [L, h, w] at each temperature."""
    total = max(float(shares.sum()), TINY)
    return np.array([-float((shares * np.log(softmax(logits / t) + TINY)).sum()) / total for t in TEMPERATURES])


def _shares(samples: Sequence[Sample], classes: Sequence[str]) -> NDArray[np.float64]:
    """The share of all pixels that is of each class, [L], relative to their mean."""
    counts = np.zeros(IGNORE + 1)
    for sample in samples:
        counts += np.bincount(load_mask(sample, classes).ravel(), minlength=IGNORE + 1)
    found = counts[: len(classes)]
    return np.asarray(found / max(found.mean(), 1.0))
