"""What the loop teaches in one stage: the tail of a network, on rows of a source, for a task."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fieldmark.errors import DataError
from fieldmark.types import Sample
from fieldmark.workshop.learn.classify import Classify
from fieldmark.workshop.models.cut import Tail
from fieldmark.workshop.models.depthwise import quick_depthwise
from fieldmark.workshop.recipe import Recipe
from fieldmark.workshop.train.mix import mix
from fieldmark.workshop.train.rows import Order, Source

MIX = 3  # what a generator is for
VALIDATION_BATCH = 64
CHECKS_AN_EPOCH = 1
FEWEST_STEPS_BETWEEN_CHECKS = 10
DROP_PATHS = ("drop_path", "drop_path1", "drop_path2")
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Rows(NamedTuple):
    """A batch on its device: rows [N, ...] and soft targets [N, L]."""

    rows: Tensor
    targets: Tensor


class TailLesson:
    """The tail learns on the training samples and is scored on those of validation."""

    def __init__(
        self,
        tail: Tail,
        source: Source,
        samples: Sequence[Sample],
        task: Classify,
        recipe: Recipe,
        device: torch.device,
        autocast: bool,
    ) -> None:
        self.module: nn.Module = tail
        self.channels_last = tail.channels_last
        self.source, self.task, self.recipe, self.device, self.autocast = source, task, recipe, device, autocast
        self.targets = task.targets(samples)
        self.train = np.array([i for i, s in enumerate(samples) if s.split == "train"], np.int64)
        self.val = np.array([i for i, s in enumerate(samples) if s.split == "val"], np.int64)
        self.order = Order(len(self.train), recipe.tune.batch, recipe.seed)
        self.check_every = max(FEWEST_STEPS_BETWEEN_CHECKS, self.steps_of(1.0 / CHECKS_AN_EPOCH))

    def steps_of(self, epochs: float) -> int:
        """Optimiser steps in so many epochs."""
        return max(1, round(epochs * len(self.train) / (self.recipe.tune.batch * self.recipe.tune.accumulate)))

    def places(self, number: int) -> NDArray[np.int64]:
        """The samples of batch `number`."""
        return self.train[self.order.places(number)]

    def batch(self, number: int, done: float) -> Rows:
        rows, used = self.source.batch(number, self.places(number), done)
        if not len(used):
            raise DataError("none of the pictures of a batch can be read any more; bring them back and add --resume")
        if len(used) == 1:  # norms that learn need more than one value
            rows, used = torch.cat([rows, rows]), np.repeat(used, 2)
        targets = self.task.soft(self.targets[used])
        rng = np.random.default_rng([self.recipe.seed, MIX, number])
        rows, targets = mix(
            self._on_device(rows), targets.to(self.device), self.recipe.augment, rng, self.channels_last
        )
        return Rows(rows, targets)

    def loss(self, batch: Rows) -> Tensor:
        return self.task.loss(self.module(batch.rows), batch.targets)

    def score(self) -> dict[str, float] | None:
        if not len(self.val):
            return None
        logits, targets = self.logits(self.val)
        return self.task.score(logits, targets) if len(targets) else None

    def logits(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits [N, L] of these samples as they are at prediction, and their targets [N]."""
        found, targets = [np.zeros((0, len(self.task.classes)), np.float32)], [np.zeros(0, np.int64)]
        self.module.eval()
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, self.autocast):
            for start in range(0, len(places), VALIDATION_BATCH):
                rows, used = self.source.plain(places[start : start + VALIDATION_BATCH])
                if len(used):
                    found.append(self.module(self._on_device(rows))[0].float().cpu().numpy())
                    targets.append(self.targets[used])
        self.begin()
        return np.concatenate(found), np.concatenate(targets)

    def begin(self) -> None:
        """Training mode; batch-norm statistics stay as they are where the recipe says so."""
        self.module.train()
        if self.recipe.regularise.fixed_norms:
            for part in self.module.modules():
                if isinstance(part, NORMS):
                    part.eval()

    def _on_device(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.device, non_blocking=True)
        return (
            rows.contiguous(memory_format=torch.channels_last) if rows.ndim == 4 and rows.is_floating_point() else rows
        )


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
