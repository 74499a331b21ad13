"""What the loop teaches in one stage: the tail of a network, on rows of a source, for a task."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.data.frame import read_frame
from fieldmark.errors import DataError, PictureError
from fieldmark.field.runtime import cores
from fieldmark.geometry import Geometry
from fieldmark.types import Sample
from fieldmark.workshop.learn.base import Kept, Learner, Targets
from fieldmark.workshop.models.cut import Tail
from fieldmark.workshop.models.depthwise import quick_depthwise
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train.augment import view_geometry
from fieldmark.workshop.train.cache import Digest
from fieldmark.workshop.train.mix import mix
from fieldmark.workshop.train.rows import Order, Shown, Source

MIX = 3  # what a generator is for
VALIDATION_BATCH = 64
CHECKS_AN_EPOCH = 1
FEWEST_STEPS_BETWEEN_CHECKS = 10
DROP_PATHS = ("drop_path", "drop_path1", "drop_path2")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Rows(NamedTuple):
    """A batch on its device: rows [N, ...] and the truth as the loss takes it."""

    rows: Tensor
    targets: Any


class TailLesson:
    """The tail learns on the training samples and is scored on those of validation."""

    def __init__(
        self,
        tail: Tail,
        source: Source,
        samples: Sequence[Sample],
        keys: Sequence[Digest],
        learner: Learner,
        recipe: Recipe,
        device: torch.device,
        autocast: bool,
    ) -> None:
        self.module: Tail = tail
        self.channels_last = tail.channels_last
        self.source, self.learner, self.recipe, self.device, self.autocast = source, learner, recipe, device, autocast
        self.keys, self.sizes = keys, sizes_of(samples) if learner.located else []
        self.targets = learner.targets(samples)
        self.train = np.array([i for i, s in enumerate(samples) if s.split == "train"], np.int64)
        self.val = np.array([i for i, s in enumerate(samples) if s.split == "val"], np.int64)
        weights = learner.weights(self.targets[self.train])
        self.order = Order(len(self.train), recipe.tune.batch, recipe.seed, weights)
        self.check_every = max(FEWEST_STEPS_BETWEEN_CHECKS, self.steps_of(1.0 / CHECKS_AN_EPOCH))
        self.begin()

    def steps_of(self, epochs: float) -> int:
        """Optimiser steps in so many epochs."""
        return max(1, round(epochs * len(self.train) / (self.recipe.tune.batch * self.recipe.tune.accumulate)))

    def places(self, number: int) -> NDArray[np.int64]:
        """The samples of batch `number`."""
        return self.train[self.order.places(number)]

    def batch(self, number: int, done: float) -> Rows:
        shown = self.source.batch(number, self.places(number), done)
        if not len(shown.places):
            raise DataError("none of the pictures of a batch can be read any more; bring them back and add --resume")
        if len(shown.places) == 1:  # norms that learn need more than one value
            rows, places, numbers = torch.cat([shown.rows] * 2), np.repeat(shown.places, 2), np.repeat(shown.numbers, 2)
            shown = Shown(rows, places, numbers, shown.preprocess)
        targets = self.learner.encode(self.targets[shown.places], self._views(shown)).to(self.device)
        rows = self._on_device(shown.rows)
        if self.learner.located:
            return Rows(rows, targets)
        rng = np.random.default_rng([self.recipe.seed, MIX, number])
        return Rows(*mix(rows, targets, self.recipe.augment, rng, self.channels_last))

    def _views(self, shown: Shown) -> list[Geometry]:
        """Where each row shows the pixels of its picture, for truth that lies somewhere in it."""
        if not self.learner.located:
            return []
        seed, recipe = self.recipe.seed, self.recipe.augment
        return [
            view_geometry(self.sizes[place], self.keys[place], int(number), seed, shown.preprocess, recipe)
            for place, number in zip(shown.places, shown.numbers, strict=True)
        ]

    def loss(self, batch: Rows) -> Tensor:
        return self.learner.loss(self.module(batch.rows, batch.targets), batch.targets)

    def score(self) -> dict[str, float] | None:
        if not len(self.val):
            return None
        kept, targets = self.seen(self.val)
        return self.learner.score(kept, targets) if len(targets) else None

    def seen(self, places: NDArray[np.int64]) -> tuple[Kept, Targets]:
        """What the learner keeps of the outputs for these samples as they are at prediction, and their targets, [N]."""
        found, used = [], []
        self.module.eval()
        with torch.inference_mode():
            for start in range(0, len(places), VALIDATION_BATCH):
                shown = self.source.plain(places[start : start + VALIDATION_BATCH])
                if len(shown.places):
                    with torch.autocast(self.device.type, torch.bfloat16, self.autocast):
                        outputs = self.module(self._on_device(shown.rows))
                    found.append(self.learner.keep(outputs, self.targets[shown.places], self._views(shown)))
                    used.append(shown.places)
        self.begin()
        if not found:
            return np.zeros((0, len(self.learner.classes)), np.float32), self.targets[:0]
        return np.concatenate(found), self.targets[np.concatenate(used)]

    def begin(self) -> None:
        """Training mode; the backbone's batch-norm statistics stay as they are where the recipe says so."""
        self.module.train()
        if self.recipe.regularise.fixed_norms:
            for part in self.module.network.backbone.modules():
                if isinstance(part, NORMS):
                    part.eval()

    def _on_device(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.device, non_blocking=True)
        return (
            rows.contiguous(memory_format=torch.channels_last) if rows.ndim == 4 and rows.is_floating_point() else rows
        )


def sizes_of(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Width and height of every upright picture; DataError when one has gone."""

    def one(sample: Sample) -> tuple[int, int]:
        try:
            return read_frame(sample.path).size_wh
        except PictureError as error:
            raise DataError(f"{sample.name}: {error}; bring it back and add --resume") from error

    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, samples))


@contextlib.contextmanager
def learning(tail: Tail, recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Within this context the tail's parameters learn, on `device`, with what the recipe says against overfitting."""
    network = tail.network
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.requires_grad_(False)
    for parameter in (*(p for layer in tail.learning() for _, p in layer), *tail.head()):
        parameter.requires_grad_(True)
    network.dropout.p = recipe.regularise.dropout
    try:
        with quick_depthwise(tail), _drop_path(tail, recipe.regularise.drop_path):
            yield
    finally:
        network.dropout.p = 0.0
        network.requires_grad_(False).eval().cpu()


@contextlib.contextmanager
def _drop_path(tail: Tail, rate: float) -> Iterator[None]:
    """Stochastic depth in the blocks that have a place for it, growing from the first block to `rate` at the last."""
    if not rate:
        yield
        return
    from timm.layers import DropPath

    places = [(part, name) for part in tail.modules() for name in DROP_PATHS if hasattr(part, name)]
    before = [getattr(part, name) for part, name in places]
    for i, (part, name) in enumerate(places):
        setattr(part, name, DropPath(rate * (i + 1) / len(places)))
    try:
        yield
    finally:
        for (part, name), old in zip(places, before, strict=True):
            setattr(part, name, old)
