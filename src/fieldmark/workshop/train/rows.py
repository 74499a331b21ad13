"""Where a stage's batches come from: kept rows of a frozen prefix, or pictures read as they are needed.

Batch `number` holds the same pictures and views whenever it is asked for.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldmark.errors import PictureError
from fieldmark.field.runtime import Engine, cores
from fieldmark.pictures import read_bytes
from fieldmark.types import Picture, Preprocess
from fieldmark.workshop.recipe import AugmentRecipe
from fieldmark.workshop.train import augment
from fieldmark.workshop.train.cache import Digest, FeatureCache
from fieldmark.workshop.train.guide import NO_GUIDE, Guide

AHEAD = 2  # batches of pictures on their way
ORDER, VIEW = 1, 2  # what a generator is for
PLAIN_BATCH = augment.PLAIN - 1


class Order:
    """Which of `n` pictures make up batch `number`: every one once an epoch, in an order of the seed's, or drawn by
    `weights` [n]."""

    def __init__(self, n: int, batch: int, seed: int, weights: NDArray[np.float64] | None = None) -> None:
        self.n, self.batch, self.seed = n, batch, seed
        self.shares = None if weights is None else weights / weights.sum()
        self._epochs: OrderedDict[int, NDArray[np.int64]] = OrderedDict()

    def places(self, number: int) -> NDArray[np.int64]:
        """The places [batch] of batch `number`."""
        at = np.arange(number * self.batch, (number + 1) * self.batch)
        epochs = np.unique(at // self.n)
        return np.concatenate([self._epoch(int(e))[at[at // self.n == e] % self.n] for e in epochs])

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            rng = np.random.default_rng([self.seed, ORDER, epoch])
            drawn = rng.permutation(self.n) if self.shares is None else rng.choice(self.n, self.n, p=self.shares)
            self._epochs[epoch] = drawn
            if len(self._epochs) > 4:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]


class Follow(Protocol):
    """Whatever knows the places of a batch."""

    def places(self, number: int) -> NDArray[np.int64]: ...


class Shown(NamedTuple):
    """Rows [N, ...] of views of pictures, the places of these, the numbers of the views, and how they were made."""

    rows: Tensor
    places: NDArray[np.int64]
    numbers: NDArray[np.int64]
    preprocess: Preprocess


class Source(Protocol):
    """Batches of rows for training, and plain rows for validation."""

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> Shown:
        """Views of those of the pictures at `places` that can be used, for batch `number`, with so much of the training
        (0..1) done."""
        ...

    def plain(self, places: NDArray[np.int64]) -> Shown:
        """Those of the pictures that can be used as they are at prediction."""
        ...


class KeptRows:
    """Rows of a frozen prefix, one cache for each view; view 0 is the plain one.

    Views of one size make up a batch: those of other sizes have their turn, in their order, as training goes on. Where
    the plain one has a size of its own it is for validation alone.
    """

    def __init__(
        self,
        caches: Sequence[FeatureCache],
        preprocesses: Sequence[Preprocess],
        keys: Sequence[Digest],
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        self.caches, self.keys, self.seed, self.dtype = tuple(caches), tuple(keys), seed, dtype
        self.preprocesses = tuple(preprocesses)
        groups: dict[Preprocess, list[int]] = {}
        for number, preprocess in enumerate(preprocesses[1:], start=1):
            groups.setdefault(preprocess, []).append(number)
        if not groups or preprocesses[0] in groups:
            groups.setdefault(preprocesses[0], []).insert(0, augment.PLAIN)
        self.groups = tuple(tuple(numbers) for numbers in groups.values())

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> Shown:
        group = self.groups[min(int(done * len(self.groups)), len(self.groups) - 1)]
        drawn = np.random.default_rng([self.seed, VIEW, number]).integers(0, len(group), len(places))
        views = np.array(group, np.int64)[drawn]
        rows = [self.caches[v].row(self.keys[i]) for v, i in zip(views, places, strict=True)]
        return Shown(self._tensor(np.stack(rows)), places, views, self.preprocesses[group[0]])

    def plain(self, places: NDArray[np.int64]) -> Shown:
        rows = self._tensor(self.caches[0].rows([self.keys[i] for i in places]))
        return Shown(rows, places, np.zeros(len(places), np.int64), self.preprocesses[0])

    def _tensor(self, rows: NDArray[np.float16]) -> Tensor:
        return torch.from_numpy(rows).to(self.dtype)


class FreshRows:
    """Rows of a frozen prefix for pictures that are read as they are needed: nothing is kept, nothing repeats."""

    def __init__(
        self, pictures: "Pictures", engine_for: Callable[[tuple[int, int]], Engine], output: str, dtype: torch.dtype
    ) -> None:
        self.pictures, self.engine_for, self.output, self.dtype = pictures, engine_for, output, dtype
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="fieldmark")

    @property
    def errors(self) -> dict[int, str]:
        """Why pictures were left out, by place."""
        return self.pictures.errors

    def follow(self, order: Follow) -> None:
        """Read pictures ahead in this order."""
        self.pictures.follow(order)

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> Shown:
        return self._rows(self.pictures.batch(number, places, done))

    def plain(self, places: NDArray[np.int64]) -> Shown:
        return self._rows(self.pictures.plain(places))

    def _rows(self, shown: Shown) -> Shown:
        engine = self.engine_for(shown.preprocess.size_wh)
        parts = [p.numpy() for p in torch.split(shown.rows, engine.micro_batch)] if len(shown.places) else []
        found = list(self._pool.map(lambda part: engine.run(part, (self.output,))[self.output], parts))
        rows = torch.from_numpy(np.concatenate(found)).to(self.dtype) if found else torch.zeros(0)
        return shown._replace(rows=rows)


@dataclass(frozen=True)
class _Wanted:
    preprocess: Preprocess
    number: int
    places: NDArray[np.int64]
    pictures: tuple["Future[Picture | None]", ...]


class Pictures:
    """Pictures uint8 [N, H, W, 3], decoded and augmented as they are needed, a fresh view each time.

    One that cannot be read is left out of its batch and listed in `errors`.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        keys: Sequence[Digest],
        seed: int,
        plain: Preprocess,
        preprocess_at: Callable[[float], Preprocess],
        recipe: AugmentRecipe,
        guide: Guide = NO_GUIDE,
    ) -> None:
        self.paths, self.keys, self.seed, self.recipe, self.guide = paths, keys, seed, recipe, guide
        self.plain_preprocess, self.preprocess_at = plain, preprocess_at
        self.errors: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="fieldmark")
        self._order: Follow | None = None
        self._coming: dict[int, _Wanted] = {}

    def follow(self, order: Follow) -> "Pictures":
        """Read ahead in this order."""
        self._order = order
        return self

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> Shown:
        preprocess = self.preprocess_at(done)
        wanted = self._coming.pop(number, None)
        if wanted is None or wanted.preprocess != preprocess:
            wanted = self._start(number, places, preprocess)
        if self._order is not None:
            self._coming = {n: w for n, w in self._coming.items() if n > number}
            for n in range(number + 1, number + 1 + AHEAD):
                if n not in self._coming:
                    self._coming[n] = self._start(n, self._order.places(n), preprocess)
        return self._gather(wanted)

    def plain(self, places: NDArray[np.int64]) -> Shown:
        return self._gather(self._start(PLAIN_BATCH, places, self.plain_preprocess))

    def _start(self, number: int, places: NDArray[np.int64], preprocess: Preprocess) -> _Wanted:
        loading = tuple(self._pool.submit(self._load, int(i), number + 1, preprocess) for i in places)
        return _Wanted(preprocess, number + 1, places, loading)

    def _load(self, place: int, number: int, preprocess: Preprocess) -> Picture | None:
        try:
            data, key = read_bytes(self.paths[place]), self.keys[place]
            return augment.view(data, key, number, self.seed, preprocess, self.recipe, self.guide.get(key))
        except PictureError as error:
            self.errors[place] = str(error)
            return None

    def _gather(self, wanted: _Wanted) -> Shown:
        loaded = [f.result() for f in wanted.pictures]
        used = np.array([i for i, p in zip(wanted.places, loaded, strict=True) if p is not None], np.int64)
        width, height = wanted.preprocess.size_wh
        stack = np.array([p for p in loaded if p is not None], np.uint8).reshape(-1, height, width, 3)
        return Shown(torch.from_numpy(stack), used, np.full(len(used), wanted.number), wanted.preprocess)
