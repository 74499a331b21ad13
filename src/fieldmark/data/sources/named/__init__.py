"""Public data sets by their names: facts, where they lie, how to get them, and one function that opens each."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fieldmark.data.index import Index

from . import digits, fine, folders, several
from .facts import DataSet, data_set, data_sets
from .kept import kept_crops
from .place import Progress, ready

Opener = Callable[[DataSet, Path, Progress | None], Index]


def _crops(opened: Opener, name: str) -> Opener:
    """The same set, every picture cut to its largest box."""
    return lambda facts, root, progress: kept_crops(name, opened(facts, root, progress), progress)


OPENERS: dict[str, Opener] = {
    "mnist": digits.open_idx,
    "mnist-5k": digits.open_mnist_5k,
    "digits": digits.open_digits,
    "fashion-mnist": digits.open_idx,
    "kmnist": digits.open_idx,
    "cifar10": digits.open_cifar10,
    "cifar100": digits.open_cifar100,
    "svhn": digits.open_svhn,
    "oxford-pets": fine.open_pets,
    "flowers102": fine.open_flowers,
    "stanford-cars": fine.open_cars,
    "stanford-cars-boxes": _crops(fine.open_cars, "stanford-cars-boxes"),
    "stanford-dogs": fine.open_dogs,
    "stanford-dogs-boxes": _crops(fine.open_dogs, "stanford-dogs-boxes"),
    "cub200": fine.open_cub,
    "cub200-boxes": _crops(fine.open_cub, "cub200-boxes"),
    "fgvc-aircraft": fine.open_aircraft,
    "fgvc-aircraft-boxes": _crops(fine.open_aircraft, "fgvc-aircraft-boxes"),
    "food101": fine.open_food,
    "caltech101": folders.open_caltech,
    "eurosat": folders.open_eurosat,
    "imagenet": folders.open_imagenet,
    "lfw": folders.open_lfw,
    **{f"lfw-{least}": partial(folders.open_lfw, least=least) for least in (10, 50, 70, 100)},
    "celeba": several.open_celeba,
    "voc2012": several.open_voc,
    "coco": several.open_coco,
    "ucf101-frames": folders.open_ucf,
}


def open_named(name: str, progress: Progress | None = None) -> Index:
    """The Index of a public data set; DataError that names what is missing and what to do when it is not there."""
    facts = data_set(name)
    return OPENERS[name](facts, ready(facts, progress), progress)


__all__ = ["OPENERS", "DataSet", "data_set", "data_sets", "open_named"]
