"""Small pictures: all decoded once into one array, and the views of a whole batch made at a time.

n pictures kept with a side of K pixels, N views in a batch, S pixels a side of the network's input.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fieldmark import pictures
from fieldmark.errors import PictureError
from fieldmark.field.runtime import cores
from fieldmark.types import Preprocess, Sample
from fieldmark.workshop.models.classic import SMALL
from fieldmark.workshop.recipe import AugmentRecipe, Recipe
from fieldmark.workshop.train.augment import ASPECT, LEAST_SCALED
from fieldmark.workshop.train.cache import Digest, same_bytes
from fieldmark.workshop.train.journal import Journal
from fieldmark.workshop.train.optim import OPTIMISERS, automatic_rate
from fieldmark.workshop.train.probe import Usable
from fieldmark.workshop.train.rows import Shown

MOST_BYTES = 1_000_000_000
LOOKED_AT = 32  # pictures whose size is looked at
FINER = 2  # times the input's side, at most: crops of pictures that are larger shall be sharp
PIECE = 256  # pictures that a thread decodes at a time
FROM_SCRATCH = 3.0  # times the rate that suits pretrained weights (docs/experiments.md)
LEAST_DEVIATION = 1.0  # of 255, where pictures are all alike
VIEWS = 4  # what a generator is for
ONE_BY_ONE = ("rotate", "colour", "blur", "noise", "erase")  # augmentation that no batch is made with here


def side_of(samples: Sequence[Sample]) -> int:
    """The largest side in pixels of some of the pictures, evenly chosen; 0 where none can be read."""
    found = 0
    for sample in samples[:: max(1, len(samples) // LOOKED_AT)]:
        try:
            with Image.open(sample.path, formats=pictures.FORMATS) as image:
                found = max(found, *image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # such are left out, and listed, where they are read
    return found


def batch_of(n_train: int) -> int:
    """Of small pictures, so many to a batch: a power of two, about 60 batches an epoch, 32 to 128."""
    return int(min(128, max(32, 2 ** round(math.log2(max(1, n_train) / 60)))))


def settle(recipe: Recipe, side: int, n_train: int) -> Recipe:
    """The recipe with what it leaves to the size of the input and the number of pictures: of small ones more make up a
    batch, views of them are cropped less and not blended, and random weights learn quicker."""
    tune, augment, optim = recipe.tune, recipe.augment, recipe.optim
    small = side <= SMALL
    batch = tune.batch or (batch_of(n_train) if small else 64)
    crop = augment.crop or (0.7 if small else 0.35)
    mixup = augment.mixup if augment.mixup >= 0 else 0.0 if small else 1.0
    rate = optim.rate
    if not rate and small and recipe.model.weights == "none" and optim.name in OPTIMISERS:
        rate = FROM_SCRATCH * automatic_rate(optim.name, batch)
    return replace(
        recipe,
        tune=replace(tune, batch=batch),
        augment=replace(augment, crop=crop, mixup=mixup),
        optim=replace(optim, rate=rate),
    )


@dataclass(frozen=True)
class Kept:
    """Decoded pictures: those for training, uint8 [n, K, K, 3], the others as they are at prediction, uint8
    [m, S, S, 3], each with the row of its content; `errors`, the sentences for those that cannot be decoded."""

    train: NDArray[np.uint8]
    plain: NDArray[np.uint8]
    train_rows: Mapping[Digest, int]
    plain_rows: Mapping[Digest, int]
    errors: Mapping[Digest, str]

    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel of the training pictures, of 0 to 255; [3] each."""
        seen = self.train if len(self.train_rows) == len(self.train) else self.train[list(self.train_rows.values())]
        counts = np.stack([np.bincount(seen[..., c].ravel(), minlength=256) for c in range(3)]).astype(np.float64)
        shares, values = counts / counts.sum(1, keepdims=True), np.arange(256)
        mean = shares @ values
        return mean, np.sqrt(np.maximum(shares @ values**2 - mean**2, LEAST_DEVIATION**2))


def keep(usable: Usable, preprocess: Preprocess, recipe: AugmentRecipe, journal: Journal) -> Kept | None:
    """All pictures, decoded; None where they are too large for that, or augmented in ways that take one at a time."""
    side = preprocess.size_wh[0]
    kept_side = min(max(side, side_of(usable.samples)), FINER * side)
    slow = recipe.policy != "none" or any(getattr(recipe, name) for name in ONE_BY_ONE)
    if slow or side >= LEAST_SCALED or 3 * kept_side**2 * len(usable.keys) > MOST_BYTES:
        return None
    pairs = list(zip(usable.keys, usable.samples, strict=True))
    parts = [{k: s.path for k, s in pairs if (s.split == "train") == for_training} for for_training in (True, False)]
    whole = Preprocess((kept_side, kept_side), resample=preprocess.resample)
    with journal.step("reading the pictures") as tick:
        train, train_rows, errors = _decoded(parts[0], whole, lambda done: tick(done, len(pairs)))
        plain, plain_rows, more = _decoded(parts[1], preprocess, lambda done: tick(len(parts[0]) + done, len(pairs)))
    return Kept(train, plain, train_rows, plain_rows, errors | more)


def _decoded(
    paths: Mapping[Digest, Path], preprocess: Preprocess, tick: Callable[[int], None]
) -> tuple[NDArray[np.uint8], dict[Digest, int], dict[Digest, str]]:
    """The pictures [n, H, W, 3], which row is whose, and the sentences for those that are none."""
    items, (width, height) = list(paths.items()), preprocess.size_wh
    found = np.zeros((len(items), height, width, 3), np.uint8)
    errors: dict[Digest, str] = {}

    def some(start: int) -> int:
        for row, (key, path) in enumerate(items[start : start + PIECE], start):
            try:
                found[row] = pictures.load(same_bytes(path, key), preprocess)
            except PictureError as error:
                errors[key] = str(error)
        return min(start + PIECE, len(items))

    with ThreadPoolExecutor(cores()) as pool:
        for done in pool.map(some, range(0, len(items), PIECE)):
            tick(done)
    return found, {key: row for row, (key, _) in enumerate(items) if key not in errors}, errors


class SmallPictures:
    """Batches of kept pictures: random crops of them, mirrored, for training, and plain ones for validation."""

    def __init__(
        self,
        kept: Kept,
        keys: Sequence[Digest],
        preprocess: Preprocess,
        recipe: AugmentRecipe,
        seed: int,
        device: torch.device,
    ) -> None:
        self.train, self.plain_ = (torch.from_numpy(part).to(device) for part in (kept.train, kept.plain))
        self.train_rows, self.plain_rows = (
            np.array([rows.get(key, -1) for key in keys], np.int64) for rows in (kept.train_rows, kept.plain_rows)
        )
        self.preprocess, self.recipe, self.seed, self.device = preprocess, recipe, seed, device

    def batch(self, number: int, places: NDArray[np.int64], done: float) -> Shown:
        rng = np.random.default_rng([self.seed, VIEWS, number])
        chosen = _chosen(self.train, self.train_rows[places])
        recipe, side = self.recipe, self.preprocess.size_wh[0]
        if self.train.shape[1] != side or recipe.crop != 1 or recipe.flip or recipe.flip_vertical:
            chosen = _views(chosen, _windows(len(places), recipe, rng), side)
        return Shown(chosen, places, np.full(len(places), number + 1), self.preprocess)

    def plain(self, places: NDArray[np.int64]) -> Shown:
        rows = _chosen(self.plain_, self.plain_rows[places])
        return Shown(rows, places, np.zeros(len(places), np.int64), self.preprocess)


def _chosen(kept: Tensor, rows: NDArray[np.int64]) -> Tensor:
    return kept.index_select(0, torch.from_numpy(rows).to(kept.device))


def _windows(n: int, recipe: AugmentRecipe, rng: np.random.Generator) -> NDArray[np.float32]:
    """Random crops, as in `augment.view`, as affine maps [n, 2, 3] from the view's coordinates to the picture's, both
    of -1 to 1; mirrored ones have a negative scale."""
    narrow, wide = ASPECT
    area, aspect = rng.uniform(recipe.crop, 1.0, n), np.exp(rng.uniform(math.log(narrow), math.log(wide), n))
    maps = np.zeros((n, 2, 3), np.float32)
    axes = ((np.sqrt(area * aspect), recipe.flip), (np.sqrt(area / aspect), recipe.flip_vertical))
    for axis, (size, mirrored) in enumerate(axes):
        share = np.minimum(1.0, size)
        turned = rng.random(n) < (0.5 if mirrored else 0.0)
        maps[:, axis, axis] = np.where(turned, -share, share)
        maps[:, axis, 2] = rng.uniform(-1.0, 1.0, n) * (1 - share)
    return maps


def _views(chosen: Tensor, maps: NDArray[np.float32], side: int) -> Tensor:
    """Views, float [N, S, S, 3] of 0 to 255, of pictures uint8 [N, K, K, 3]: bilinear, edges continued."""
    shape = [len(chosen), 3, side, side]
    where = F.affine_grid(torch.from_numpy(maps).to(chosen.device), shape, align_corners=False)
    values = chosen.permute(0, 3, 1, 2).float()
    return F.grid_sample(values, where, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)
