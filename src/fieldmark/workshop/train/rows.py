"""Where a stage's batches come from: kept rows of a frozen prefix, or pictures read as they are needed.

Batch `number` holds the same pictures and views whenever it is asked for.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

AHEAD = 2  # batches of pictures on their way
ORDER, VIEW = 1, 2  # what a generator is for
PLAIN_BATCH = augment.PLAIN - 1


class Order:
    """Which of `n` pictures make up batch `number`: every one once an epoch, in an order of the seed's."""

    def __init__(self, n: int, batch: int, seed: int) -> None:
        self.n, self.batch, self.seed = n, batch, seed
        self._epochs: OrderedDict[int, NDArray[np.int64]] = OrderedDict()

    def places(self, number: int) -> NDArray[np.int64]:
        """The places [batch] of batch `number`."""
        at = np.arange(number * self.batch, (number + 1) * self.batch)
        epochs = np.unique(at // self.n)
        return np.concatenate([self._epoch(int(e))[at[at // self.n == e] % self.n] for e in epochs])

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs[epoch] = np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.n)
            if len(self._epochs) > 4:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]


class Follow(Protocol):
    """Whatever knows the places of a batch."""

    def places(self, number: int) -> NDArray[np.int64]: ...


class Source(Protocol):
    """Batches of rows for training, and plain rows for validation."""

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> tuple[Tensor, NDArray[np.int64]]:
        """Rows of the pictures at `places` for batch `number`, with so much of the training (0..1) done, and the places
        that could be used."""
        ...

    def plain(self, places: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Rows of the pictures as they are at prediction, and the places that could be used."""
        ...


class KeptRows:
    """Rows of a frozen prefix, one cache for each view; view 0 is the plain one.

    Views of one size make up a batch: those of other sizes have their turn, in their order, as training goes on. Where
    the plain one has a size of its own it is for validation alone.
    """

    def __init__(
        self,
        caches: Sequence[FeatureCache],
        sides: Sequence[int],
        keys: Sequence[Digest],
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        self.caches, self.keys, self.seed, self.dtype = tuple(caches), tuple(keys), seed, dtype
        groups: dict[int, list[FeatureCache]] = {}
        for cache, side in zip(caches[1:], sides[1:], strict=True):
            groups.setdefault(side, []).append(cache)
        if not groups or sides[0] in groups:
            groups.setdefault(sides[0], []).insert(0, caches[0])
        self.groups = tuple(groups.values())

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> tuple[Tensor, NDArray[np.int64]]:
        group = self.groups[min(int(done * len(self.groups)), len(self.groups) - 1)]
        views = np.random.default_rng([self.seed, VIEW, number]).integers(0, len(group), len(places))
        rows = [group[v].row(self.keys[i]) for v, i in zip(views, places, strict=True)]
        return self._tensor(np.stack(rows)), places

    def plain(self, places: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        return self._tensor(self.caches[0].rows([self.keys[i] for i in places])), places

    def _tensor(self, rows: NDArray[np.float16]) -> Tensor:
        return torch.from_numpy(rows).to(self.dtype)


class FreshRows:
    """Rows of a frozen prefix for pictures that are read as they are needed: nothing is kept, nothing repeats."""

    def __init__(
        self, pictures: "Pictures", engine_for: Callable[[int], Engine], output: str, dtype: torch.dtype
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

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> tuple[Tensor, NDArray[np.int64]]:
        return self._rows(*self.pictures.batch(number, places, done))

    def plain(self, places: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        return self._rows(*self.pictures.plain(places))

    def _rows(self, pictures: Tensor, used: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        engine = self.engine_for(pictures.shape[1])
        parts = [p.numpy() for p in torch.split(pictures, engine.micro_batch)] if len(used) else []
        found = list(self._pool.map(lambda part: engine.run(part, (self.output,))[self.output], parts))
        return torch.from_numpy(np.concatenate(found)).to(self.dtype) if found else torch.zeros(0), used


@dataclass(frozen=True)
class _Wanted:
    preprocess: Preprocess
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
    ) -> None:
        self.paths, self.keys, self.seed, self.recipe = paths, keys, seed, recipe
        self.plain_preprocess, self.preprocess_at = plain, preprocess_at
        self.errors: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(cores(), thread_name_prefix="fieldmark")
        self._order: Follow | None = None
        self._coming: dict[int, _Wanted] = {}

    def follow(self, order: Follow) -> "Pictures":
        """Read ahead in this order."""
        self._order = order
        return self

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> tuple[Tensor, NDArray[np.int64]]:
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

    def plain(self, places: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        return self._gather(self._start(PLAIN_BATCH, places, self.plain_preprocess))

    def _start(self, number: int, places: NDArray[np.int64], preprocess: Preprocess) -> _Wanted:
        loading = tuple(self._pool.submit(self._load, int(i), number, preprocess) for i in places)
        return _Wanted(preprocess, places, loading)

    def _load(self, place: int, number: int, preprocess: Preprocess) -> Picture | None:
        try:
            data = read_bytes(self.paths[place])
            return augment.view(data, self.keys[place], number + 1, self.seed, preprocess, self.recipe)
        except PictureError as error:
            self.errors[place] = str(error)
            return None

    def _gather(self, wanted: _Wanted) -> tuple[Tensor, NDArray[np.int64]]:
        loaded = [f.result() for f in wanted.pictures]
        used = np.array([i for i, p in zip(wanted.places, loaded, strict=True) if p is not None], np.int64)
        width, height = wanted.preprocess.size_wh
        stack = np.array([p for p in loaded if p is not None], np.uint8).reshape(-1, height, width, 3)
        return torch.from_numpy(stack), used
